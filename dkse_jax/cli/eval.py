"""Evaluates a trained network: python eval.py --workdir=DIR

Installed as dkse-eval. Evaluates the best checkpoint, on the test split by default, and writes
metrics and figures to DIR/eval/SPLIT. --root=IMAGES --split=all evaluates on all images of another
folder, whose classes have the names of the training classes, with a report for each folder (A,B are
two folders as one);
--root=NEW --split=test on the test split of data that were moved. --on_bad_image=skip leaves out
images that cannot be read, and lists them. --gradcam=N adds Grad-CAM overlays of N examples of each
class. --calibrate first fits the calibration on val, as a training does at its end.
"""

from pathlib import Path

from absl import flags

from dkse_jax import cli
from dkse_jax.distributed import flags as distributed_flags
from dkse_jax.workdir import description

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
WORKDIR = cli.define_path(
    "workdir", None, "The workdir of the training run.", required=True, flag_values=FLAGS
)
SPLIT = flags.DEFINE_string(
    "split", "test", "train, val or test; all, with --root.", flag_values=FLAGS
)
ROOT = cli.define_path(
    "root", None, "Another folder of images, or the new place of the run's.", flag_values=FLAGS
)
GRADCAM = flags.DEFINE_integer(
    "gradcam", None, "Examples of each class to explain by Grad-CAM.", flag_values=FLAGS
)
STAGE = flags.DEFINE_string(
    "stage", None, "The stage that Grad-CAM explains; by default the last map.", flag_values=FLAGS
)
ON_BAD_IMAGE = flags.DEFINE_string(
    "on_bad_image",
    None,
    "error or skip: what an unreadable image does; by default as in the training.",
    flag_values=FLAGS,
)
CALIBRATE = flags.DEFINE_bool(
    "calibrate", False, "Whether to fit the calibration on val first.", flag_values=FLAGS
)
distributed_flags.define(FLAGS)
flags.adopt_module_key_flags(distributed_flags, FLAGS)


def main() -> None:
    """Evaluates; checks the workdir before slow imports."""
    workdir = Path(WORKDIR.value)
    description.load_config(workdir)

    with distributed_flags.join_by_flags(FLAGS):
        from dkse_jax import runtime
        from dkse_jax.evaluation.run import calibrate_again, evaluate

        runtime.configure()
        root = Path(ROOT.value) if ROOT.value else None
        if CALIBRATE.value:
            calibrate_again(workdir, None if SPLIT.value == "all" else root)
        evaluate(
            workdir,
            SPLIT.value,
            root,
            gradcam=GRADCAM.value,
            stage=STAGE.value,
            on_bad_image=ON_BAD_IMAGE.value,
        )


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS)


if __name__ == "__main__":
    run()
