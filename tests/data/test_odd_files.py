"""Odd files of other libraries: each is decoded right, or refused by a sentence."""

import re

import numpy as np
import pytest

from dkse_jax.data.decode import BadImage, decode_image
from tests.data.odd import CASES, difference, make
from tests.short import FULL

SIDE = 40  # of the reduced pictures
REDUCED = 4  # levels more: libraries reduce by other filters than an average
EVERY = 1 if FULL else 4


def test_there_are_many_of_them():
    assert len(CASES) >= 300


@pytest.mark.parametrize("name", list(CASES)[::EVERY])
def test_an_odd_file_is_read_right_or_named(name, tmp_path):
    odd = make(name)
    path = tmp_path / "picture.jpg"  # the name of most is wrong
    path.write_bytes(odd.content)
    for min_side in (None, SIDE):
        if odd.pixels is None:
            with pytest.raises(BadImage) as caught:
                decode_image(path, min_side, page=odd.page)
            sentence = str(caught.value)
            assert sentence.isprintable()
            assert re.search(f'^the image ".*picture.jpg" cannot be read: {odd.sentence}', sentence)
            continue
        decoded = decode_image(path, min_side, page=odd.page)
        assert min(decoded.shape[:2]) >= (SIDE if min_side else min(odd.pixels.shape[:2]))
        reduced = decoded.shape != odd.pixels.shape
        assert difference(decoded, odd.pixels) <= odd.bound + (REDUCED if reduced else 0)


def test_they_are_the_same_on_every_call():
    name = "tiff rgb-16 0"
    assert make(name).content == make(name).content
    np.testing.assert_array_equal(make(name).pixels, make(name).pixels)
