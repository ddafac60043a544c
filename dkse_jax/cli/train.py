"""Trains a network: python train.py --config=configs/dkse.py [--workdir=DIR]

Installed as dkse-train, where --config=dkse:figure10 names a config of the package. The same
command with the same --workdir continues where it stopped. Every field of the config can be set by
flag: --config.train.epochs=60 --config.model.positions=6,9 (dkse_jax/config.py lists them).
On several hosts the same command with --distributed runs on each: docs/scaling.md.
"""

import datetime
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dkse_jax import cli
from dkse_jax.distributed import flags as distributed_flags

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The config: a file, as in configs/dkse.py or configs/dkse.py:figure10.",
    flag_values=FLAGS,
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where everything the run makes goes; a new folder in runs/ by default.",
    flag_values=FLAGS,
)
flags.mark_flag_as_required("config", FLAGS)
distributed_flags.define(FLAGS)
flags.adopt_module_key_flags(distributed_flags, FLAGS)


def main() -> None:
    """Trains; checks the flags before slow imports."""
    with distributed_flags.join_by_flags(FLAGS):
        from dkse_jax import runtime
        from dkse_jax.distributed.processes import broadcast
        from dkse_jax.training.loop import train

        runtime.configure()
        own = own_workdir(FLAGS["config"])
        train(CONFIG.value, Path(WORKDIR.value or broadcast(lambda: str(own))))


def own_workdir(config_flag: flags.Flag) -> Path:
    """Returns the name of a new folder, such as runs/dkse-figure10-20260131-235959."""
    file, _, variant = config_flags.get_config_filename(config_flag).partition(":")
    name = "-".join(filter(None, (Path(file).stem, variant)))
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS)


if __name__ == "__main__":
    run()
