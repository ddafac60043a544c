"""Packs a folder of images into record files: dkse-pack IMAGES OUT

Writes OUT, a new folder that data.source=records and TensorFlow Datasets can read: the unchanged
files of the images, with label, group, id and split, in shards of about 256 MiB. IMAGES is a folder
or several, with commas between them. If it gives no splits, they are those of a training with the
same --seed, --val_percent and --test_percent. Started again, the command resumes without packing
finished shards; once all are packed, it verifies every checksum and packs missing and damaged
shards again. Equal images give equal bytes.
"""

from absl import flags

from dkse_jax import cli
from dkse_jax.errors import UserError

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
_ROOT = cli.define_path(
    "root", None, "The folder of the images, or several: A,B.", flag_values=FLAGS
)
_OUT = cli.define_path("out", None, "A new folder for the records.", flag_values=FLAGS)
_SEED = cli.define_field("seed", FLAGS, "of the splits that the folder does not give")
_VAL_PERCENT = cli.define_field("data.folder.val_percent", FLAGS)
_TEST_PERCENT = cli.define_field("data.folder.test_percent", FLAGS)


def main() -> None:
    """Packs the folder, or verifies a packed one."""
    if not _ROOT.value or not _OUT.value:
        raise UserError(
            "name the folder of the images and a new one for the records: dkse-pack IMAGES OUT"
        )
    from dkse_jax.data.tools.pack import pack

    pack(
        _ROOT.value,
        _OUT.value,
        seed=_SEED.value,
        val_percent=_VAL_PERCENT.value,
        test_percent=_TEST_PERCENT.value,
    )


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS, positional=("root", "out"))


if __name__ == "__main__":
    run()
