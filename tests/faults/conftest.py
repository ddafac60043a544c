"""The faults' markers, the baseline that they are compared with, and the table of verdicts."""

import pytest

from tests.faults import runs, table, thin

FULL = runs.FULL


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(row, what): a row of the table of faults")


@pytest.fixture(autouse=True, scope="module")
def as_launched(short):
    """Shortens the network in this process, as launch.py does in others."""


@pytest.fixture(scope="session")
def baseline(tmp_path_factory):
    """The workdir of a thin run that nothing disturbed; to be read, not written."""
    workdir = tmp_path_factory.mktemp("baseline") / "run"
    process = runs.train(workdir)
    assert process.end() == 0, process.output
    assert "done: " in process.output
    return workdir


@pytest.fixture
def assert_as_undisturbed(baseline):
    """Asserts that a finished run is bit for bit the baseline: its journal, every array."""

    def check(workdir):
        assert runs.journal(workdir) == runs.journal(baseline)
        step, found = runs.arrays(workdir)
        expected_step, expected = runs.arrays(baseline)
        assert step == expected_step == thin.STEPS
        assert found.keys() == expected.keys()
        assert all(found[name] == expected[name] for name in expected)

    return check


@pytest.fixture(autouse=True)
def row(request, record_property):
    """Tells the table to which rows a test belongs."""
    callspec = getattr(request.node, "callspec", None)
    saboteur = bool(callspec) and callspec.params.get("saboteur", "-") != "-"
    for marker in request.node.iter_markers("fault"):
        record_property("fault", (*marker.args, saboteur))


_outcomes: list[table.Outcome] = []


def pytest_runtest_logreport(report):
    if report.when == "call" or report.skipped or report.failed:
        for name, value in report.user_properties:
            if name == "fault":
                number, what, saboteur = value
                outcome = table.Outcome(number, what, report.outcome, saboteur, report.duration)
                _outcomes.append(outcome)


def pytest_terminal_summary(terminalreporter):
    if _outcomes and FULL:
        text = table.as_markdown(_outcomes)
        terminalreporter.write(f"\n{text}")
        table.write(text)
