"""Folders of empty files, for checks that precede decoding."""


def touch(root, *names):
    """Writes empty files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def classes(count=4, names=("ink", "oil"), above=""):
    """Returns the names of `count` files in each class folder."""
    return [f"{above}{name}/{i:02}.jpg" for name in names for i in range(count)]
