"""Recognition of pictures that are all but one tone, such as blank scans."""

import numpy as np

_LEVELS = 24  # that such a picture spans; each of 3,159 reproductions of art spans over 100
_REST = 0.002  # share of other pixels, such as dust; the lines of a drawing take more
_DARK = 16  # levels of 12-bit numbers whose file promises 16 bits


def one_tone(counts: np.ndarray) -> str:
    """Returns in words the levels of a picture of one tone; "" for any other picture.

    That is a picture of which all but few pixels differ little in each channel.

    Args:
        counts: number of pixels of each level in each channel, (3, 256).
    """
    below = counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
    darkest, lightest = ((below > edge).argmax(axis=1) for edge in (_REST / 2, 1 - _REST / 2))
    if (lightest - darkest).max() >= _LEVELS:
        return ""
    words = f"its levels are {darkest.min()} to {lightest.max()} of 255"
    if lightest.max() < _DARK:
        words += "; if they are numbers of 10 or 12 bits in a file of 16, scale them to 16"
    return words
