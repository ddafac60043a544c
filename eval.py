"""Evaluates a trained network: python eval.py --workdir=DIR

The best checkpoint on the test split, by default. Metrics and pictures go to DIR/eval/SPLIT.
With --root=IMAGES --split=all the weights are judged on all images of another folder, whose
class folders have the names of the classes that the weights know. --gradcam=N adds pictures of what
the network looked at, for N examples of each class.
"""

from pathlib import Path

from absl import flags

from dkse_jax import cli
from dkse_jax.distributed import flags as hosts_flags
from dkse_jax.workdir import description

WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the training run.", required=True)
SPLIT = flags.DEFINE_string("split", "test", "train, val or test; all, with --root.")
ROOT = flags.DEFINE_string("root", None, "Another folder of images, instead of the run's data.")
GRADCAM = flags.DEFINE_integer("gradcam", None, "Examples of each class to explain by Grad-CAM.")
STAGE = flags.DEFINE_string("stage", None, "What Grad-CAM looks at; by default the last map.")

flags.adopt_module_key_flags(hosts_flags)


def main() -> None:
    """Evaluates; what is slow to import waits until the workdir is known to be one."""
    workdir = Path(WORKDIR.value)
    description.load_config(workdir)

    with hosts_flags.joined_by_flags():
        from dkse_jax.evaluation.run import evaluate_run

        evaluate_run(
            workdir,
            SPLIT.value,
            Path(ROOT.value) if ROOT.value else None,
            gradcam=GRADCAM.value,
            stage=STAGE.value,
        )


if __name__ == "__main__":
    cli.run(main)
