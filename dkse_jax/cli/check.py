"""Checks a folder of images before anything is trained on it: dkse-check IMAGES

Reads every image once and reports all problems: mistakes in the folder or in its metadata, files
that look like pictures and are not read, images that cannot be read, and exact or near duplicates
in two splits or two classes. Exits with code 0 without a problem, 1 otherwise. Several folders with
commas between them, A,B, are checked as one data set.
"""

import sys

from absl import flags

from dkse_jax import cli
from dkse_jax.errors import UserError

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
_ROOT = cli.define_path(
    "root", None, "The folder of the images, or several: A,B.", flag_values=FLAGS
)
_SEED = cli.define_field("seed", FLAGS, "of the splits that the folder does not give")
_VAL_PERCENT = cli.define_field("data.folder.val_percent", FLAGS)
_TEST_PERCENT = cli.define_field("data.folder.test_percent", FLAGS)
_IMAGE_SIZE = cli.define_field("data.image_size", FLAGS, "smaller pictures are counted")


def main() -> None:
    """Prints the report; exits with code 1 if there is a problem."""
    if not _ROOT.value:
        raise UserError("name the folder of the images: dkse-check IMAGES")
    from dkse_jax.data.tools.check import check

    problems = check(
        _ROOT.value,
        seed=_SEED.value,
        val_percent=_VAL_PERCENT.value,
        test_percent=_TEST_PERCENT.value,
        image_size=_IMAGE_SIZE.value,
    )
    sys.exit(1 if problems else 0)


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS, positional=("root",))


if __name__ == "__main__":
    run()
