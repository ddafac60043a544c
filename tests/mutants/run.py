"""Measures how many of the mutants of mutants.json the tests catch.

    python tests/mutants/run.py measure --map=M          # once for a state of the code, all tests
    python tests/mutants/run.py check                    # does every mutant still have its line?
    python tests/mutants/run.py run --map=M --out=O.json [--only=3,17] [--jobs=1]

All of it works on a clone of HEAD in a temporary folder, with the Python that runs this script:
commit first. The output of each mutant's tests is in the folder O.json.logs. A second `run` with
the same --out goes on where the first one ended.

`measure` runs the whole suite under recorder.py and keeps for each test its seconds and the lines
that it executes, in its own process and in those it starts. For each mutant, `run` then chooses
tests in two stages: first those that start no process, up to `NEAR` seconds as measured; if none
fails, those that start processes which execute the mutated function, up to `FAR` seconds. Tests of
the mutated line come before those of its function, and those before the others of the same files;
nearest-named and quickest come first. A test that shares a fixture of its file with tests before
it is run after those, since it may go on from what they left. A stage ends at its first failure.
A failure of the second stage must not be there without the mutant, or the outcome is "unclear": a
process that a busy machine starves may miss a time limit. Tests that failed or were skipped in
`measure` are left out. A stage that takes ten times its measured seconds and two minutes more
hangs, which counts as caught; seconds in which it waits for a processor do not count.

A mutant of code that has changed since the draw gets an entry "now" beside its other fields, which
are kept as they were drawn: an object with those of "file", "function", "before", "after" and "nth"
that differ today ("before" and "after" are lines without their indentation; "nth" counts the equal
lines of the function from 0, and is 0 if "before" is given without it). The change must be the same
one in meaning. A mutant whose code is gone altogether gets "gone" with the reason, a text; it is
reported as gone, neither as caught nor as survived.
"""

import argparse
import ast
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import draw
from choice import Map

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEAR, FAR = 40.0, 45.0  # seconds of chosen tests, as measured


def located(mutant: dict, root: Path) -> tuple[Path, int, tuple[int, int]]:
    """Returns the file, the index of the mutant's line, and the function's first and last line."""
    now = mutant.get("now", {})
    place = {**mutant, **({"nth": 0} if "before" in now else {}), **now}
    path = root / place["file"]
    if not path.exists():
        raise LookupError(f"mutant {mutant['id']}: {place['file']} is not there")
    text = path.read_text()
    functions = dict(draw.functions(ast.parse(text)))
    if place["function"] not in functions:
        raise LookupError(f"mutant {mutant['id']}: {place['file']} has no {place['function']}")
    function = functions[place["function"]]
    lines = draw.lines_of(function, text.splitlines())
    at = [i for i, line in enumerate(lines) if line == place["before"]]
    if len(at) <= place["nth"]:
        raise LookupError(f"mutant {mutant['id']}: {place['function']} has no {place['before']!r}")
    span = (function.lineno, function.end_lineno)
    return path, function.lineno - 1 + at[place["nth"]], span


def mutated(mutant: dict, root: Path) -> tuple[Path, str]:
    """Returns the file of a mutant and its whole changed text."""
    path, index, _ = located(mutant, root)
    lines = path.read_text().splitlines(keepends=True)
    after = mutant.get("now", {}).get("after", mutant["after"])
    indent = lines[index][: len(lines[index]) - len(lines[index].lstrip())]
    lines[index] = f"{indent}{after}\n"
    ast.parse("".join(lines))
    return path, "".join(lines)


def clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def pytest(root: Path, log: Path, *arguments: str, limit: float = math.inf, **more: str) -> int:
    """Runs pytest in a clone; returns its exit code, 124 after `limit` seconds."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root}:{HERE}",
        "PYTHONDONTWRITEBYTECODE": "1",  # the time stamp of a mutant may be that of the original
        **more,
    }
    command = ["nice", "-n", "19", sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "-p", "recorder", "-rf", "--tb=short", *arguments]
    with log.open("a") as output:
        files = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(
            command, cwd=root, env=environment, start_new_session=True, **files
        )
        try:
            idle = 0
            while (code := process.poll()) is None:
                time.sleep(1)
                used, wants = _group(process.pid)
                idle += not wants
                if used + idle > limit:
                    return 124
            return code
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _group(leader: int) -> tuple[float, bool]:
    """Seconds of processor that the live processes of a group had; whether one wants more now."""
    used, wants = 0, False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                used += sum(map(int, fields[11:15]))
                threads = [t.read_text() for t in stat.parent.glob("task/*/stat")]
                wants |= any(t.rpartition(")")[2].split()[0] in "RD" for t in threads)
    return used / os.sysconf("SC_CLK_TCK"), wants


def measure(path: Path, tests: list[str]) -> None:
    """Writes the map: tests with their seconds and fixtures, and the units that execute a line."""
    with tempfile.TemporaryDirectory() as folder:
        root, record = clone(Path(folder) / "clone"), Path(folder) / "record"
        log = path.with_suffix(".log")
        log.unlink(missing_ok=True)
        pytest(root, log, "--durations=30", *tests, MUTANTS_RECORD=str(record))
        units = json.loads((record / "units.json").read_text())
        hits: dict[str, list[int]] = {}
        for number, unit in enumerate(units):
            lines = set((record / f"{number}.lines").read_text().split("\n")) - {""}
            unit["starts"] = any(line.startswith("child ") for line in lines)
            for line in sorted({line.removeprefix("child ") for line in lines}):
                hits.setdefault(line, []).append(number)
        path.write_text(json.dumps({"units": units, "hits": hits}))
    failed = [unit["test"] for unit in units if unit.get("outcome") == "failed"]
    print(f"{len(units)} units, {sum(u['seconds'] for u in units):.0f} s; failed: {failed}")


def outcome(mutant: dict, root: Path, tests: Map, logs: Path) -> dict:
    """Runs the tests of one mutant in a clone; returns what is reported of it."""
    start = time.monotonic()
    if "gone" in mutant:
        return {"outcome": "gone", "by": mutant["gone"]}
    path, index, span = located(mutant, root)
    file = path.relative_to(root).as_posix()
    original, (_, text) = path.read_text(), mutated(mutant, root)
    log = logs / f"{mutant['id']}.log"
    log.unlink(missing_ok=True)
    found, ran = {"outcome": "survived"}, 0
    path.write_text(text)
    try:
        for starts in (False, True):
            names = tests.chosen(file, index + 1, span, starts, FAR if starts else NEAR)
            if not names:
                continue
            ran += len(names)
            chosen = logs / f"{mutant['id']}.chosen"
            chosen.write_text(json.dumps(names))
            limit = 120 + 10 * tests.seconds(names)
            files = dict.fromkeys(name.split("::")[0] for name in names)
            code = pytest(root, log, "-x", "-v", *files, limit=limit, MUTANTS_CHOSEN=str(chosen))
            if code:
                failed = [
                    line.split(" ", 1)[1].split(" - ")[0]
                    for line in log.read_text(errors="replace").splitlines()
                    if line.startswith(("FAILED ", "ERROR "))
                ]
                kind = {1: "caught", 2: "caught", 124: "caught"}.get(code, f"exit code {code}")
                by = f"hangs after {limit:.0f} s" if code == 124 else (failed or ["collection"])[0]
                if starts and failed:
                    path.write_text(original)
                    again = pytest(root, log, failed[0].split("::")[0], MUTANTS_CHOSEN=str(chosen))
                    kind = "unclear" if again else kind
                found = {"outcome": kind, "by": by}
                break
    finally:
        path.write_text(original)
    return {**found, "tests": ran, "seconds": round(time.monotonic() - start)}


def run(path: Path, out: Path, only: set[int], jobs: int) -> None:
    tests = Map(path)
    results = json.loads(out.read_text())["mutants"] if out.exists() else {}
    mutants = [m for m in _mutants() if not only or m["id"] in only]
    mutants = [m for m in mutants if only or str(m["id"]) not in results]
    logs = Path(f"{out}.logs")
    logs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())

    def work(share: int) -> None:
        root = clone(folder / str(share))
        for mutant in mutants[share::jobs]:
            results[str(mutant["id"])] = outcome(mutant, root, tests, logs)
            print(mutant["id"], mutant["function"], results[str(mutant["id"])], flush=True)
            _write(out, results)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(work, range(jobs)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _write(out, results)


def _write(out: Path, results: dict) -> None:
    ids = sorted(results, key=int)
    count = [results[i]["outcome"] for i in ids].count
    survived = [int(i) for i in ids if results[i]["outcome"] == "survived"]
    summary = {"caught": count("caught"), "gone": count("gone"), "survived": survived}
    caps = {"near_seconds": NEAR, "far_seconds": FAR}
    content = {**summary, "caps": caps, "mutants": {i: results[i] for i in ids}}
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _mutants() -> list[dict]:
    return json.loads((HERE / "mutants.json").read_text())


def check() -> int:
    lost = 0
    for mutant in _mutants():
        try:
            if "gone" not in mutant:
                mutated(mutant, ROOT)
        except (LookupError, SyntaxError) as error:
            lost += 1
            print(error)
    print(f'{lost} of {len(_mutants())} mutants need an entry "now"')
    return bool(lost)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("measure", "check", "run"))
    parser.add_argument("--map", type=Path, default=Path("mutants-map.json"))
    parser.add_argument("--out", type=Path, default=Path("mutants-out.json"))
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--tests", nargs="*", default=[], help="of measure; all if not given")
    given = parser.parse_args()
    if given.what == "check":
        sys.exit(check())
    if given.what == "measure":
        measure(given.map.resolve(), given.tests)
    else:
        only = {int(number) for number in given.only.split(",") if number}
        run(given.map.resolve(), given.out.resolve(), only, given.jobs)
