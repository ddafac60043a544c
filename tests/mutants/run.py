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
nearest-named and quickest come first. A stage ends at its first failure. Tests that failed or were
skipped in `measure` are left out. A stage that takes ten times its measured seconds and five
minutes more hangs, which counts as caught.

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


def pytest(root: Path, log: Path, *arguments: str, limit: float | None = None, **more: str) -> int:
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
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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


class Map:
    """What `measure` has found."""

    def __init__(self, path: Path):
        content = json.loads(path.read_text())
        self.hits = content["hits"]
        self.units = content["units"]
        self.fixtures: dict[str, list[int]] = {}
        for number, unit in enumerate(self.units):
            if "fixture" in unit:
                self.fixtures.setdefault(unit["fixture"], []).append(number)
        self.tests = {
            number: {
                **unit,
                "needs": [n for name in unit["fixtures"] for n in self.fixtures.get(name, [])],
            }
            for number, unit in enumerate(self.units)
            if unit.get("outcome") == "passed"
        }
        for test in self.tests.values():
            test["starts"] |= any(self.units[n]["starts"] for n in test["needs"])

    def _reaching(self, file: str, lines: range) -> set[int]:
        units = {unit for line in lines for unit in self.hits.get(f"{file}:{line}", [])}
        return {n for n, test in self.tests.items() if units & {n, *test["needs"]}}

    def chosen(self, file: str, line: int, span: tuple[int, int], starts: bool) -> list[str]:
        """Returns the tests of a stage in order, see the module's docstring."""
        first, last = span
        at_line = self._reaching(file, range(line, line + 1)) if line > first else set()
        in_function = self._reaching(file, range(first + 1, last + 1))
        stem, room = Path(file).stem, Path(file).parent.name
        files = {self.tests[n]["test"].split("::")[0] for n in in_function | at_line}
        weights: dict[int, float] = {}
        for number, test in self.tests.items():
            name = test["test"].split("::")[0]
            named = Path(name).stem in (f"test_{stem}", f"test_{stem}s", f"test_{room}")
            reach = 1 if number in at_line else 3 if number in in_function else 10
            if reach == 10 and (starts or not (named or name in files)):
                continue
            near = 1 if named else 2 if Path(name).parent.name == room else 4
            if test["starts"] == starts:
                weights[number] = reach * near
        names, paid, total = [], set(), 0.0
        for number in sorted(weights, key=lambda n: (self._cost(n, set()) + 0.2) * weights[n]):
            cost = self._cost(number, paid)
            if not names or total + cost <= (FAR if starts else NEAR):
                names.append(self.tests[number]["test"])
                paid |= set(self.tests[number]["needs"])
                total += cost
        return names

    def _cost(self, number: int, paid: set[int]) -> float:
        test = self.tests[number]
        needs = set(test["needs"]) - paid
        return test["seconds"] + sum(self.units[n]["seconds"] for n in needs)

    def seconds(self, names: list[str]) -> float:
        numbers = [n for n, test in self.tests.items() if test["test"] in set(names)]
        needs = {need for n in numbers for need in self.tests[n]["needs"]}
        return sum(self.units[n]["seconds"] for n in [*numbers, *needs])


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
            names = tests.chosen(file, index + 1, span, starts)
            if not names:
                continue
            ran += len(names)
            chosen = logs / f"{mutant['id']}.chosen"
            chosen.write_text(json.dumps(names))
            limit = 300 + 10 * tests.seconds(names)
            files = dict.fromkeys(name.split("::")[0] for name in names)
            code = pytest(root, log, "-x", "-v", *files, limit=limit, MUTANTS_CHOSEN=str(chosen))
            if code:
                failed = [
                    line.split(" ", 1)[1]
                    for line in log.read_text(errors="replace").splitlines()
                    if line.startswith(("FAILED ", "ERROR "))
                ]
                kind = {1: "caught", 2: "caught", 124: "caught"}.get(code, f"exit code {code}")
                by = f"hangs after {limit:.0f} s" if code == 124 else (failed or ["collection"])[0]
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
