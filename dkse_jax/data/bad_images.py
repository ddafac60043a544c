"""What becomes of images that cannot be read, where config.data.on_bad_image is skip."""

import threading

import numpy as np
from ml_collections import ConfigDict

from dkse_jax.console import log
from dkse_jax.data.decode import BadImage
from dkse_jax.data.sources import Source
from dkse_jax.errors import UserError


class BadImages:
    """The unreadable images of a split that were met so far.

    Each is told once, on a line. Which ones they are depends on the files alone, so that a run that
    is resumed skips the same ones.

    Args:
        source: the split.
        max_percent: of its images that may be unreadable.
    """

    def __init__(self, source: Source, max_percent: float):
        self._source = source
        self._max_percent = max_percent
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()

    def add(self, index: int, error: BadImage) -> None:
        """Takes in an image that was met; one that is known already changes nothing.

        Raises:
            UserError: more than max_percent of the split are unreadable.
        """
        with self._lock:
            if index in self._reasons:
                return
            self._reasons[index] = str(error)
            found, all_images = len(self._reasons), len(self._source)
        log(f"skipped: {error}")
        if found > self._max_percent / 100 * all_images:
            raise UserError(
                f"{found} of {all_images} images cannot be read, more than"
                f" config.data.max_bad_percent={self._max_percent:g}; the last one: {error}"
            )

    def read_or_replace(self, index: int, min_side: int | None) -> np.ndarray:
        """The image; if it cannot be read, the next one of its class that can.

        Args:
            index: of the image in the split.
            min_side: as of `Source.read`.

        Raises:
            UserError: as `add`, or no image of the class can be read.
        """
        labels = self._source.labels
        places = np.flatnonzero(labels == labels[index])
        start = int(np.searchsorted(places, index))
        for place in np.roll(places, -start).tolist():
            try:
                return self._source.read(place, min_side)
            except BadImage as error:
                self.add(place, error)
        name = self._source.class_names[labels[index]]
        raise UserError(f'no image of the class "{name}" can be read')

    def readable(self) -> np.ndarray:
        """The indices of the images that are not known to be bad, once all of them were read."""
        return np.array([i for i in range(len(self._source)) if i not in self._reasons], np.int64)

    def rows(self) -> list[tuple[str, str, str]]:
        """The id, class and reason of each, in the order of the split."""
        source = self._source
        with self._lock:
            reasons = sorted(self._reasons.items())
        return [(source.ids[i], source.class_names[source.labels[i]], why) for i, why in reasons]

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._reasons)


def bad_images(source: Source, data_config: ConfigDict) -> BadImages | None:
    """Where those of a split are gathered; None where the first one is to end the program."""
    if data_config.on_bad_image == "error":
        return None
    return BadImages(source, data_config.max_bad_percent)
