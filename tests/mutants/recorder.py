"""A pytest plugin for run.py: records which test executes which line, or runs chosen tests.

`MUTANTS_RECORD` is a folder: one file of executed lines for each test and each fixture of a wider
scope, and units.json with their seconds (of wall or of processor, whichever are fewer: a busy
machine must not make a test seem slow). Lines are written as they are executed, also by processes
that a test starts (through a sitecustomize module on their PYTHONPATH), so that a killed process
has left its lines too. A jitted function that an earlier test has traced is not executed again;
run.py therefore also takes tests of the same files.

`MUTANTS_CHOSEN` is a JSON file with the names of the tests to run, in this order.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TRACER = '''
import os, sys
def trace():
    """Writes each executed line of the package to the file $MUTANTS_UNIT, once a process."""
    root, unit = os.environ["MUTANTS_ROOT"], os.environ["MUTANTS_UNIT"]
    file = os.open(unit, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def on_line(code, line):
        if code.co_filename.startswith(root):
            try:
                os.write(file, f"child {code.co_filename[len(root):]}:{line}\\n".encode())
            except OSError:  # a test allows no larger files
                pass
        return sys.monitoring.DISABLE
    sys.monitoring.use_tool_id(4, "mutants")
    sys.monitoring.register_callback(4, sys.monitoring.events.LINE, on_line)
    sys.monitoring.set_events(4, sys.monitoring.events.LINE)
if "MUTANTS_UNIT" in os.environ and not sys.monitoring.get_tool(4):
    trace()
'''


class Recorder:
    """Keeps the file of the unit that is running: a test, or a fixture while it is set up."""

    def __init__(self, folder: Path, root: Path):
        self.folder, self.package = folder, f"{root}/dkse_jax/"
        self.root = f"{root}/"
        self.units: list[dict] = []
        self.file = -1
        self.pid = os.getpid()
        (folder / "site").mkdir(parents=True)
        (folder / "site/sitecustomize.py").write_text(TRACER)
        os.environ["MUTANTS_ROOT"] = self.root
        os.environ["PYTHONPATH"] = f"{folder}/site:{os.environ['PYTHONPATH']}"
        events = sys.monitoring.events
        sys.monitoring.use_tool_id(4, "mutants")
        sys.monitoring.register_callback(4, events.LINE, self.on_line)
        sys.monitoring.set_events(4, events.LINE)

    def on_line(self, code, line):
        if self.file >= 0 and code.co_filename.startswith(self.package):
            who = "" if os.getpid() == self.pid else "child "
            with contextlib.suppress(OSError):  # a test allows no larger files
                os.write(self.file, f"{who}{code.co_filename[len(self.root) :]}:{line}\n".encode())
        return sys.monitoring.DISABLE

    def open(self, number: int) -> None:
        if self.file >= 0:
            os.close(self.file)
        path = str(self.folder / f"{number}.lines")
        os.environ["MUTANTS_UNIT"] = path
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        sys.monitoring.restart_events()

    def begin(self, **unit) -> int:
        self.units.append({"seconds": 0.0, **unit})
        self.open(len(self.units) - 1)
        return len(self.units) - 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        definitions = item._fixtureinfo.name2fixturedefs.values()
        wide = [_name(d[-1]) for d in definitions if d[-1].scope != "function"]
        self.running = self.begin(test=item.nodeid, fixtures=wide, outcome="passed")
        start, self.elsewhere = _clocks(), np.zeros(2)
        try:
            return (yield)
        finally:
            seconds = _clocks() - start - self.elsewhere
            self.units[self.running]["seconds"] = float(seconds.min())

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        outer, start, before = os.environ["MUTANTS_UNIT"], _clocks(), self.elsewhere
        number = self.begin(fixture=_name(fixturedef))
        try:
            return (yield)
        finally:
            own = _clocks() - start
            self.units[number]["seconds"] = float((own - (self.elsewhere - before)).min())
            self.elsewhere = before + own
            self.open(int(Path(outer).stem))

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed":
            self.units[self.running]["outcome"] = report.outcome

    def pytest_sessionfinish(self):
        (self.folder / "units.json").write_text(json.dumps(self.units))


def _clocks() -> np.ndarray:
    """Seconds of wall, and of processor with those of ended child processes."""
    return np.array([time.monotonic(), sum(os.times()[:4])])


def _name(definition) -> str:
    return f"{definition.baseid}::{definition.argname}"


def pytest_configure(config):
    if "MUTANTS_RECORD" in os.environ:
        recorder = Recorder(Path(os.environ["MUTANTS_RECORD"]), config.rootpath)
        config.pluginmanager.register(recorder, "mutants-recorder")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    if "MUTANTS_CHOSEN" in os.environ:
        chosen = json.loads(Path(os.environ["MUTANTS_CHOSEN"]).read_text())
        order = {name: number for number, name in enumerate(chosen)}
        items[:] = sorted(
            (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
        )
