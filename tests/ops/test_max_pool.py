"""Max pooling: the fast form against lax, with equal pixels in most windows."""

from functools import partial

import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.ops.max_pool import max_pool

SHAPES = [  # side, size, stride, padding
    (13, 3, 2, 1),
    (13, 3, 2, 0),
    (12, 2, 2, 0),
    (13, 2, 2, 0),
    (11, 3, 3, 1),
    (9, 3, 1, 1),
    (14, 5, 3, 2),
    (10, 2, 3, 0),
    (3, 3, 2, 0),
]


@pytest.mark.parametrize(("size", "stride", "padding"), sorted({shape[1:] for shape in SHAPES}))
def test_forms_are_equal_for_equal_pixels_too(size, stride, padding, assert_forms_equal):
    sides = [side for side, *window in SHAPES if tuple(window) == (size, stride, padding)]
    rng = np.random.default_rng(size)
    cases = [(rng.integers(-2, 2, (2, side, side + 1, 3)).astype(np.float64),) for side in sides]
    pool = partial(max_pool, size=size, stride=stride, padding=padding)
    assert_forms_equal(pool, cases)


def test_an_unknown_form_is_refused():
    with pytest.raises(UserError, match='no form "quick" of max_pool'):
        max_pool(np.zeros((1, 4, 4, 1)), 2, 2, form="quick")
