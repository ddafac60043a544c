"""Trains a network: python train.py --config=configs/dkse.py [--workdir=DIR]

Installed as dkse-train, where --config=dkse:figure10 names a config of the package. The same
command with the same --workdir continues where it stopped. Every field of the config can be set by
flag: --config.train.epochs=60 --config.model.positions=6,9 (dkse_jax/config.py lists them).
On several hosts the same command with --distributed runs on each: docs/scaling.md.
"""

import datetime
import re
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dkse_jax import cli
from dkse_jax.distributed import flags as distributed_flags
from dkse_jax.errors import UserError

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The config: a file, as in configs/dkse.py or configs/dkse.py:figure10.",
    flag_values=FLAGS,
)
WORKDIR = cli.define_path(
    "workdir",
    None,
    "Where everything the run makes goes; a new folder in runs/ by default.",
    flag_values=FLAGS,
)
PROFILE = flags.DEFINE_string(
    "profile",
    None,
    "Writes a profiler trace of the steps FROM-TO, such as 20-30, to WORKDIR/profile.",
    flag_values=FLAGS,
)
flags.mark_flag_as_required("config", FLAGS)
distributed_flags.define(FLAGS)
flags.adopt_module_key_flags(distributed_flags, FLAGS)


def main() -> None:
    """Trains; checks the flags before slow imports."""
    profile = profiled_steps(PROFILE.value)
    with distributed_flags.join_by_flags(FLAGS):
        from dkse_jax import runtime
        from dkse_jax.distributed.processes import broadcast
        from dkse_jax.training.loop import train

        runtime.configure()
        own = own_workdir(FLAGS["config"])
        workdir = WORKDIR.value or broadcast(lambda: str(own))
        train(CONFIG.value, workdir, profile=profile)


def profiled_steps(text: str | None) -> tuple[int, int] | None:
    """Returns (FROM, TO) of "FROM-TO". Raises UserError for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    steps = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= steps[0] <= steps[1]:
        raise UserError(f"--profile is {text}, but must be FROM-TO, two steps such as 20-30")
    return steps


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
