"""Trains a network: python train.py --config=configs/dkse.py [--workdir=DIR]

Starting it again with the same --workdir goes on where it stopped. Every field of the config can
be set by flag: --config.train.epochs=60 --config.model.positions=6,9 (configs/base.py has them).
On several hosts the same command with --distributed runs on each: docs/scaling.md.
"""

import datetime
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dkse_jax import cli
from dkse_jax.distributed import flags as hosts_flags

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config, as in configs/dkse.py or configs/dkse.py:figure10."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where everything the run makes goes; a new folder in runs/ by default."
)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(hosts_flags)


def main() -> None:
    """Trains; what is slow to import waits until the flags are known to be right."""
    with hosts_flags.joined_by_flags():
        from dkse_jax.distributed.store import decided_by_first
        from dkse_jax.training.loop import train

        own = own_workdir(flags.FLAGS["config"])
        train(CONFIG.value, Path(WORKDIR.value or decided_by_first(lambda: str(own))))


def own_workdir(config_flag) -> Path:
    """Such as runs/dkse-figure10-20260131-235959."""
    file, _, variant = config_flags.get_config_filename(config_flag).partition(":")
    name = "-".join(filter(None, (Path(file).stem, variant)))
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


if __name__ == "__main__":
    cli.run(main)
