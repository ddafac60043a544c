import numpy as np
import pytest
from ml_collections import ConfigDict

from dkse_jax.data.bad_images import BadImages, bad_images
from dkse_jax.data.decode import BadImage
from dkse_jax.data.sources import Source
from dkse_jax.errors import UserError

LABELS = [0, 1, 0, 1, 0, 1, 0, 1]


def source(bad):
    """Makes eight images of two classes, each filled with its index; `bad` ones are unreadable."""

    def read(index, min_side):
        if index in bad:
            raise BadImage(f'the image "{index}.png" cannot be read: it is empty')
        return np.full((4, 4, 3), index, np.uint8)

    ids = tuple(f"{index}.png" for index in range(8))
    return Source(("a", "b"), ids, np.array(LABELS, np.int32), ids, read)


@pytest.mark.parametrize(
    ("bad", "index", "taken"),
    [
        ({2}, 0, 0),
        ({2}, 2, 4),  # the next one of its class
        ({2, 4}, 2, 6),
        ({6}, 6, 0),  # the search wraps around
        ({1, 3, 7}, 7, 5),
    ],
)
def test_a_bad_image_is_replaced_by_the_next_of_its_class(bad, index, taken):
    images = BadImages(source(bad), max_percent=100.0)
    for _ in range(2):
        assert (images.read_or_replace(index, None) == taken).all()


def test_each_is_told_once_and_listed_in_order(capsys):
    images = BadImages(source({4, 1}), max_percent=100.0)
    for index in (4, 1, 4, 2):
        images.read_or_replace(index, None)
    reasons = [f'the image "{index}.png" cannot be read: it is empty' for index in (4, 1)]
    assert capsys.readouterr().out.splitlines() == [f"skipped: {reason}" for reason in reasons]
    assert images.rows() == [("1.png", "b", reasons[1]), ("4.png", "a", reasons[0])]
    assert images.count == 2
    assert images.readable().tolist() == [0, 2, 3, 5, 6, 7]


def test_more_than_the_share_is_refused():
    images = BadImages(source({0, 1, 6}), max_percent=25.0)
    images.read_or_replace(0, None)
    images.read_or_replace(1, None)
    with pytest.raises(
        UserError, match=r"^3 of 8 images .* config.data.max_bad_percent=25; .*6\.p"
    ):
        images.read_or_replace(6, None)


def test_a_class_without_a_readable_image_is_refused():
    images = BadImages(source({0, 2, 4, 6}), max_percent=100.0)
    with pytest.raises(UserError, match='no image of the class "a" can be read'):
        images.read_or_replace(4, None)


def test_the_config_decides():
    fields = {"on_bad_image": "skip", "max_bad_percent": 20.0}
    assert bad_images(source({0}), ConfigDict(fields | {"on_bad_image": "error"})) is None
    images = bad_images(source({0}), ConfigDict(fields))
    assert images is not None
    assert (images.read_or_replace(0, None) == 2).all()
