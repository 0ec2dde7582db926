"""Options of the test run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from tests import measured


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate", action="store_true", help="write the expected files of the transcripts anew; review them by eye"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Properties try the same examples each time, so that a run says something of the code and not of chance.

    `--hypothesis-profile=default` tries others.
    """
    settings.register_profile("repeatable", derandomize=True)
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("repeatable")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes tells the one that prints what it has measured."""
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["figures"], told["notes"] = measured.figures, measured.notes


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes is done; it has told nothing if it was killed."""
    told: dict[str, Any] = getattr(node, "workeroutput", {})
    for what, values in told.get("figures", {}).items():
        measured.figures.setdefault(what, []).extend(values)
    measured.notes.extend(told.get("notes", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what was measured: the median and the worst of each."""
    if measured.figures or measured.notes:
        terminalreporter.section("measured")
    for what, values in sorted(measured.figures.items()):
        ordered = sorted(values)
        line = f"{what}: median {ordered[len(ordered) // 2]:.4g}, worst {ordered[-1]:.4g}, of {len(ordered)}"
        terminalreporter.write_line(line)
    for note in measured.notes:
        terminalreporter.write_line(note)
