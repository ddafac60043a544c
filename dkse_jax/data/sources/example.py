"""An example of a folder of images."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """An image file with its label, group and split; the file itself is not read.

    Attributes:
        id: the path relative to the root, with "/" between its parts, in NFC; with several roots,
            the name of the root comes first.
        path: of the file.
        label: the name of its class.
        group: of examples that are not independent; "" while none is given.
        split: train, val or test; "" where none is given.
    """

    id: str
    path: str
    label: str
    group: str
    split: str
