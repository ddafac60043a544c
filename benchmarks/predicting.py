"""Times prediction from a folder to a table: python -m benchmarks.predicting --torch-python=PATH

`best` at 144 pixels, with the weights of one step, on painted JPEGs of 320 pixels: the whole
command against timm's way in the interpreter of --torch-python, in interleaved rounds, programs
cached. Beside it the decoding alone and the network alone, the time to the first row, and the peak
memory with few and with many files. Prints a table, and writes results.json to --out.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from benchmarks.machine import describe
from benchmarks.startup import COMMAND
from benchmarks.workers import ROOT, ratios
from dkse_jax import cli, markdown
from dkse_jax.console import with_progress
from dkse_jax.data.sources.painting import KINDS, paint
from dkse_jax.errors import UserError

SIZE, PICTURE_SIZE, QUALITY = 144, 320, 90
CLASSES = 5
IN_FOLDER = 1000  # files
ROWS = Path("state", "rows.jsonl")  # of the folder of predictions
BOUNDS = "bounds"  # the word by which the process that measures them is started

TORCH = cli.define_path("torch-python", None, "A Python interpreter that has PyTorch and timm.")
FILES = flags.DEFINE_integer("files", 5000, "Pictures that are predicted.")
FEW = flags.DEFINE_integer("few", 1000, "Files of the first peak of memory.")
MANY = flags.DEFINE_integer("many", 100_000, "Files of the second one; 0 for none.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "Interleaved rounds.")
OUT = cli.define_path("out", "runs/bench-predict", "The folder for pictures, runs and results.")


def main() -> None:
    """Measures everything and prints it."""
    if min(FILES.value, FEW.value, ROUNDS.value) < 1:
        raise UserError("--files, --few and --rounds must be at least 1")
    out = Path(OUT.value).resolve()
    out.mkdir(parents=True, exist_ok=True)
    results = measure(out, FILES.value)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(page(results))


def measure(out: Path, files: int) -> dict[str, Any]:
    """Returns the JSON tree of all results."""
    pictures, workdir = painted(out, files), trained(out)
    run(predicting(workdir, out / "first", pictures))  # compiles
    shutil.rmtree(out / "first")
    bounds = json.loads(run([sys.executable, "-m", __spec__.name, BOUNDS, workdir, pictures]))
    results: dict[str, Any] = {"machine": describe(), "files": files, **bounds}
    other = ask_nearest(bounds["macs"]) if TORCH.value else None
    ours, theirs, firsts = [], [], []
    for _ in range(ROUNDS.value):
        seconds, first, _ = one_run(predicting(workdir, out / "ours", pictures), out / "ours")
        ours.append(seconds)
        firsts.append(first)
        if other:
            command = [TORCH.value, "-m", "benchmarks.timm_side", "predict", other["model"]]
            began = time.monotonic()
            run([*command, str(SIZE), pictures, out / "theirs.csv"])
            theirs.append(time.monotonic() - began)
    results |= {"ours_s": ours, "first_row_s": firsts}
    if other:
        results |= {"other": other, "theirs_s": theirs, "ratios": ratios(ours, theirs)}
    peaks = {n: peak(out, workdir, pictures, n) for n in (FEW.value, MANY.value) if n}
    return results | {"peak_bytes": peaks}


def painted(out: Path, files: int) -> Path:
    """Returns a folder with `files` painted JPEGs; those of an earlier call are kept."""
    folder, kinds = out / f"painted-{files}", list(KINDS)[:CLASSES]
    for i in with_progress(range(files), files, "painting pictures"):
        path = folder / kinds[i % CLASSES] / f"{i:06}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = paint(kinds[i % CLASSES], PICTURE_SIZE, np.random.default_rng(i))
            Image.fromarray(picture).save(
                draft := path.with_suffix(".tmp"), "JPEG", quality=QUALITY
            )
            draft.rename(path)
    return folder


def trained(out: Path) -> Path:
    """Returns the workdir of one step of `best`, which is made once."""
    workdir = out / "run"
    if not any((workdir / "checkpoints").glob("*.json")):
        fields = [f"--config.data.image_size={SIZE}", f"--config.data.synthetic.kinds={CLASSES}"]
        run([sys.executable, *COMMAND, *fields, f"--workdir={workdir}"])
    return workdir


def predicting(workdir: Path, out: Path, pictures: Path) -> list[str | Path]:
    """Returns our command from a folder to a table."""
    return [sys.executable, "predict.py", f"--workdir={workdir}", f"--out={out}", pictures]


def run(command: Sequence[str | Path]) -> str:
    """Runs a command in the repository's root and returns what it prints last.

    Raises:
        UserError: it fails.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(map(str, command))} failed: {done.stderr[-500:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


def one_run(command: Sequence[str | Path], out: Path) -> tuple[float, float, int]:
    """Runs our command into a new folder.

    Returns:
        Seconds of the whole command, seconds to its first row on disk, and bytes of its peak of
        resident memory.
    """
    shutil.rmtree(out, ignore_errors=True)
    began, first = time.monotonic(), 0.0
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    status = ended = 0
    while not ended:
        if not first and (out / ROWS).exists() and (out / ROWS).stat().st_size:
            first = time.monotonic() - began
        ended, status, used = os.wait4(process.pid, os.WNOHANG if not first else 0)
        time.sleep(0 if ended or first else 0.01)
    if status:
        raise UserError(f"{' '.join(map(str, command))} failed")
    seconds = time.monotonic() - began
    process.returncode = status  # it was waited for
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, first or seconds, used.ru_maxrss * unit


def peak(out: Path, workdir: Path, pictures: Path, files: int) -> int:
    """Returns the peak memory of a prediction of `files` files: hard links of the pictures."""
    folder, sources = out / f"links-{files}", sorted(pictures.rglob("*.jpg"))
    for i in range(files):
        path = folder / f"{i // IN_FOLDER:04}" / f"{i:06}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(sources[i % len(sources)])
    bytes_ = one_run(predicting(workdir, out / "linked", folder), out / "linked")[2]
    shutil.rmtree(folder)
    shutil.rmtree(out / "linked")
    return bytes_


def ask_nearest(macs: int) -> dict[str, Any]:
    """Returns the network of timm with as many MACs."""
    return json.loads(
        run([TORCH.value, "-m", "benchmarks.timm_side", "nearest", str(SIZE), str(macs)])
    )


def bounds(workdir: str, pictures: str) -> dict[str, Any]:
    """Returns seconds of the decoding alone and of the network alone, and MACs of an image."""
    from dkse_jax import runtime
    from dkse_jax.models.counts import count, totals
    from dkse_jax.prediction.inputs import list_items
    from dkse_jax.prediction.reading import read_ahead
    from dkse_jax.trained import BATCH, load

    runtime.configure()
    net = load(workdir)
    items = list_items([pictures], [], print).items
    threads, began = os.cpu_count() or 1, time.monotonic()
    for _ in read_ahead(items, net.transform, threads=threads, ahead=BATCH + threads):
        pass
    decoding = time.monotonic() - began
    images = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)
    np.asarray(net.answers(images)[0])  # compiles
    began = time.monotonic()
    for _ in range(-(-len(items) // BATCH)):
        np.asarray(net.answers(images)[0])
    network = time.monotonic() - began
    macs = totals(count(net.network, SIZE))[1]
    return {"decoding_s": decoding, "network_s": network, "macs": macs}


def page(results: dict[str, Any]) -> str:
    """Formats the results as a Markdown table."""
    files, ours = results["files"], median(results["ours_s"])
    slower = max(results["decoding_s"], results["network_s"])
    first = median(results["first_row_s"])
    rows = [
        ("dkse-predict, folder to table", f"{ours:.1f} s", f"{files / ours:.1f} pictures/s"),
        *(
            (f"{name} alone", f"{seconds:.1f} s", f"{files / seconds:.1f} pictures/s")
            for name in ("decoding", "network")
            if (seconds := results[f"{name}_s"])
        ),
        ("share of the slower of these that dkse-predict reaches", f"{slower / ours:.2f}", ""),
        ("the same from the first row on", f"{slower / max(ours - first, 1e-9):.2f}", ""),
        ("command to first row, programs cached", f"{first:.1f} s", ""),
    ]
    if "other" in results:
        theirs, other, of_rounds = median(results["theirs_s"]), results["other"], results["ratios"]
        name = f"timm {other['versions']['timm']}, {other['model']}, folder to table"
        more = f"{median(of_rounds):.2f} ({min(of_rounds):.2f}–{max(of_rounds):.2f})"
        rows += [
            (name, f"{theirs:.1f} s", f"{files / theirs:.1f} pictures/s"),
            ("our pictures a second / timm's", more, ""),
            ("MACs of an image, ours and timm's", f"{results['macs']:,}", f"{other['macs']:,}"),
        ]
    rows += [
        (f"peak memory, {int(n):,} files", f"{size / 1e6:,.0f} MB", "")
        for n, size in results["peak_bytes"].items()
    ]
    return markdown.table(("case", "median", "rate"), rows, numbers=(1, 2))


if __name__ == "__main__":
    if sys.argv[1:2] == [BOUNDS]:
        print(json.dumps(bounds(*sys.argv[2:])))
    else:
        cli.run(main)
