"""The first two layers in one convolution, against the two."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.ops.stem import conv_then_depthwise, merge_depthwise


@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 3), (2, 2), (3, 1)])
def test_forms_are_equal_in_float64(dilation, stride, noise, assert_forms_equal):
    op = partial(conv_then_depthwise, dilation=dilation, stride=stride)
    sizes = [(9, 12, 3, 3), (11, 8, 3, 2), (7, 7, 1, 3)]
    cases = [
        (noise(2, height, width, 3), noise(k, k, 3, 2), noise(j, j, 1, 2))
        for height, width, k, j in sizes
    ]
    assert_forms_equal(op, cases)


def test_the_paper_s_stem_becomes_7_by_7_taps_and_99_pixels():
    shape = jax.eval_shape(
        lambda k, d: merge_depthwise(k, d, 2), jnp.ones((3, 3, 3, 32)), jnp.ones((3, 3, 1, 32))
    ).shape
    assert shape == (7, 7, 3, 32)
    images = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
    op = partial(conv_then_depthwise, dilation=2, stride=3)
    y = jax.eval_shape(op, images, jnp.ones((3, 3, 3, 32)), jnp.ones((3, 3, 1, 32)))
    assert y.shape == (1, 99, 99, 32)


def test_an_unknown_form_is_a_user_error():
    x, kernel, depthwise = jnp.ones((1, 9, 9, 1)), jnp.ones((3, 3, 1, 1)), jnp.ones((3, 3, 1, 1))
    with pytest.raises(UserError, match='no form "one" of conv_then_depthwise'):
        conv_then_depthwise(x, kernel, depthwise, dilation=1, stride=1, form="one")
