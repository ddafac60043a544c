"""Predicts every file of a collection: python predict.py --workdir=W --out=OUT IMAGES ...

Installed as dkse-predict. Writes OUT/predictions.csv: one row for every file, in listed order, with
the columns file, status (ok or failed), class, p (of that class), p_<class> for each class, known,
prediction_set and note (remarks, or why a file failed). A file that failed has no probabilities.

IMAGES are folders, files, ZIP archives, IIIF manifests, or - for names on stdin; --list=FILE names
the files that a text file lists, --list=FILE:COLUMN those in a column of a table.

The same command goes on where an earlier one was ended, and takes only files that are new or
changed. Until every file has its row, the table is OUT/predictions.partial.csv.

--format=csv,jsonl,parquet,xlsx writes several formats; --decimal-comma writes numbers such as 0,25
in the CSV, and semicolons between its cells.

On several machines with a common OUT, --part=I/N predicts the files I, I+N, I+2N, ... of the list,
I from 1 to N; once all parts are done, the same command without --part writes the table. An array
job of Slurm, --array=1-N, has --part=$SLURM_ARRAY_TASK_ID/N; an indexed job of Kubernetes with N
completions, whose indices count from 0, --part=$((JOB_COMPLETION_INDEX + 1))/N.
"""

from pathlib import Path

from absl import flags

from dkse_jax import cli
from dkse_jax.errors import UserError
from dkse_jax.workdir import checkpoint_digest, description

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
WORKDIR = cli.define_path(
    "workdir", None, "The workdir of the training run.", required=True, flag_values=FLAGS
)
OUT = cli.define_path(
    "out", None, "The folder of the tables; a new one to begin.", required=True, flag_values=FLAGS
)
INPUTS = flags.DEFINE_multi_string(
    "inputs", [], "Folders, files, archives; also without a name.", flag_values=FLAGS
)
LIST = flags.DEFINE_multi_string(
    "list", [], "FILE or FILE:COLUMN that names files; may be repeated.", flag_values=FLAGS
)
FORMAT = flags.DEFINE_string(
    "format", "csv", "Any of csv, jsonl, parquet and xlsx, with commas.", flag_values=FLAGS
)
DECIMAL_COMMA = flags.DEFINE_bool(
    "decimal-comma", False, "Numbers such as 0,25 and semicolons in the CSV.", flag_values=FLAGS
)
PART = flags.DEFINE_string("part", None, "I/N: the part of one of N machines.", flag_values=FLAGS)


FLAGS.set_gnu_getopt()  # flags may follow the inputs


def main() -> None:
    """Predicts; checks the flags and the workdir before slow imports."""
    from dkse_jax.prediction import formats, state

    names = formats.parse_formats(FORMAT.value, decimal_comma=DECIMAL_COMMA.value)
    part = state.parse_part(PART.value)
    if part and FORMAT.present:
        raise UserError("--part writes no table: give --format to the command that merges")
    if not INPUTS.value and not LIST.value:
        raise UserError("name what to predict: folders, files, archives or --list=FILE")
    workdir = Path(WORKDIR.value)
    description.load_config(workdir)
    if not any((workdir / checkpoint_digest.FOLDER).glob("*.json")):
        raise UserError(f"{workdir} has no evaluated checkpoint yet; train it first")
    state.check_out(Path(OUT.value))

    from dkse_jax import runtime
    from dkse_jax.prediction.run import predict
    from dkse_jax.prediction.writing import Format

    runtime.configure()
    predict(
        workdir,
        OUT.value,
        INPUTS.value,
        LIST.value,
        form=Format(names, DECIMAL_COMMA.value),
        part=part,
    )


def run() -> None:
    """Runs the command."""
    cli.run(main, FLAGS, positional=("inputs",))


if __name__ == "__main__":
    run()
