"""Chooses the tests that may notice a mutant, from what `run.py measure` has found."""

import json
from pathlib import Path


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
        sharers: dict[str, list[int]] = {}
        for number, test in self.tests.items():
            test["starts"] |= any(self.units[n]["starts"] for n in test["needs"])
            own = [name for name in test["fixtures"] if name.split("::")[0].endswith(".py")]
            test["chain"] = [*sorted({n for name in own for n in sharers.get(name, [])}), number]
            for name in own:
                sharers.setdefault(name, []).append(number)

    def _reaching(self, file: str, lines: range) -> set[int]:
        units = {unit for line in lines for unit in self.hits.get(f"{file}:{line}", [])}
        return {n for n, test in self.tests.items() if units & {n, *test["needs"]}}

    def chosen(
        self, file: str, line: int, span: tuple[int, int], starts: bool, cap: float
    ) -> list[str]:
        """Returns the tests of a stage in order: those that start processes, or the others."""
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
        numbers: list[int] = []
        for number in sorted(weights, key=lambda n: (self._cost([n]) + 0.2) * weights[n]):
            if not numbers or self._cost([*numbers, number]) <= cap:
                numbers += [n for n in self.tests[number]["chain"] if n not in numbers]
        return [self.tests[number]["test"] for number in numbers]

    def _cost(self, numbers: list[int]) -> float:
        """Seconds of tests, of those before them, and of their fixtures."""
        tests = {n for number in numbers for n in self.tests[number]["chain"]}
        fixtures = {n for number in tests for n in self.tests[number]["needs"]}
        return sum(self.units[n]["seconds"] for n in tests | fixtures)

    def seconds(self, names: list[str]) -> float:
        chosen = set(names)
        return self._cost([n for n, test in self.tests.items() if test["test"] in chosen])
