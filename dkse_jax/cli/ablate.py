"""Regenerates a table of the paper: python ablate.py --table=counts

--table=counts counts parameters and operations, without training or other flags. The other tables
(1, 2, 3, attention, augmentation, classes, baselines) train every row:
python ablate.py --config=configs/art5.py --table=attention --seeds=3 --workdir=DIR
Installed as dkse-ablate. Started again with the same --workdir, it skips finished rows.
"""

import shlex
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dkse_jax import cli
from dkse_jax.configs.dkse import get_config
from dkse_jax.errors import UserError, nearest
from dkse_jax.variants import VARIANTS

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What all rows share, as in configs/art5.py; each row's changes come on top.",
    flag_values=FLAGS,
)
TABLE = flags.DEFINE_string(
    "table",
    None,
    "counts, 1, 2, 3, attention, augmentation, classes or baselines.",
    required=True,
    flag_values=FLAGS,
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each row: the seeds 0, 1, ...", flag_values=FLAGS)
ROWS = flags.DEFINE_list("rows", [], "Only these rows of the table are run.", flag_values=FLAGS)
WORKDIR = cli.define_path("workdir", None, "Where the runs and the table go.", flag_values=FLAGS)


def main() -> None:
    """Prints and writes the table."""
    from dkse_jax.experiments import tables

    if TABLE.value not in tables.NAMES:
        raise UserError(f'--table is "{TABLE.value}"{nearest(TABLE.value, tables.NAMES)}')
    if TABLE.value == "counts":
        counts()
        return
    if CONFIG.value is None:
        raise UserError(f"--table={TABLE.value} trains: give --config=FILE, as in configs/art5.py")
    if WORKDIR.value is None:
        raise UserError(f"--table={TABLE.value} trains: give --workdir=DIR, where its runs go")
    if SEEDS.value < 1:
        raise UserError(f"--seeds is {SEEDS.value}, but must be at least 1")

    from dkse_jax import runtime
    from dkse_jax.experiments.ablation import run_table

    runtime.configure()
    without_rows = [text for text in sys.argv[1:] if not text.lstrip("-").startswith("rows=")]
    run_table(
        TABLE.value,
        CONFIG.value,
        VARIANTS,
        seeds=SEEDS.value,
        only=ROWS.value,
        workdir=Path(WORKDIR.value),
        command=shlex.join([*_program(), *without_rows]),
    )


def _program() -> list[str]:
    """Returns the words that start this command, as a script or as installed."""
    name = Path(sys.argv[0]).name
    return ["python", name] if name.endswith(".py") else [name]


def counts() -> None:
    """Prints the ledger of counts, and writes it to --workdir if given."""
    from dkse_jax.console import say
    from dkse_jax.experiments import ledger
    from dkse_jax.files import check_room, explain_disk_errors, write_atomically
    from dkse_jax.models import configured_model

    if WORKDIR.value:
        with explain_disk_errors("cannot write a table to", Path(WORKDIR.value)):
            check_room(Path(WORKDIR.value), 100_000)
    entries = ledger.ledger(
        VARIANTS, lambda name: configured_model(get_config(name).model, ledger.CLASSES)
    )
    text = ledger.as_markdown(entries)
    say(text, end="")
    if WORKDIR.value:
        folder = Path(WORKDIR.value)
        with explain_disk_errors("cannot write a table to", folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "table-counts.md", text)
            write_atomically(folder / "table-counts.csv", ledger.as_csv(entries))


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS)


if __name__ == "__main__":
    run()
