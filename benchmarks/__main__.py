"""Times the package on this machine: python -m benchmarks [--torch-python=PATH]

Measures train step, inference, input pipeline, start-up and peak memory, against PyTorch if
--torch-python names an interpreter with it, else against our own plain form. Writes results.json
to --out; python -m benchmarks.report runs/bench/results.json > BENCHMARKS.md formats it.
"""

from pathlib import Path

from absl import flags

from dkse_jax import cli
from dkse_jax.errors import UserError, nearest

NAMES = ("train", "inference", "input", "startup", "memory")
DTYPES = ("float32", "bfloat16")

CASES = flags.DEFINE_list("cases", list(NAMES), "What to measure.")
TORCH = cli.define_path("torch-python", None, "A Python interpreter that has PyTorch.")
ROUNDS = flags.DEFINE_integer("rounds", 7, "Interleaved rounds; long cases may get fewer, min. 3.")
DATA_ROOT = cli.define_path("data-root", None, "The images of configs/art5.py, to time input.")
OUT = cli.define_path("out", "runs/bench", "The folder for results.json and worker.log.")
DTYPE = flags.DEFINE_string("dtype", "float32", "Of the activations; bfloat16 for accelerators.")


def main() -> None:
    """Measures; checks the flags before slow imports."""
    check_flags()
    from benchmarks.run import run

    run(
        tuple(name for name in NAMES if name in CASES.value),
        torch_python=TORCH.value,
        rounds=ROUNDS.value,
        data_root=DATA_ROOT.value,
        out=Path(OUT.value),
        dtype=DTYPE.value,
    )


def check_flags() -> None:
    """Raises UserError for an invalid value."""
    for name in CASES.value:
        if name not in NAMES:
            raise UserError(f'--cases has no "{name}"{nearest(name, NAMES)}')
    if not CASES.value:
        raise UserError(f"--cases is empty{nearest('', NAMES)}")
    if ROUNDS.value < 1:
        raise UserError(f"--rounds is {ROUNDS.value}, but must be at least 1")
    if DTYPE.value not in DTYPES:
        raise UserError(f'--dtype has no "{DTYPE.value}"{nearest(DTYPE.value, DTYPES)}')


if __name__ == "__main__":
    cli.run(main)
