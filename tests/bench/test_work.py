"""No event and no request costs more than it did: a tenth more work fails. Counted, never timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.bench import figures
from tests.bench.figures import DONE, TRANSLATED, Figures
from tests.measured import notes

ROOT: Final = Path(__file__).parents[2]
SAMPLE: Final = "anthropic to openai"
ALL: Final = [(done, between) for done, pairs in DONE.items() for between in pairs]


def measured_apart(*options: str) -> Figures:
    """In a process of its own, where no other test has filled a cache, and hashes are the same each time."""
    command = [sys.executable, "-m", "tests.bench", *options]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    measured: Figures = yaml.safe_load(run.stdout)
    return measured


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Figures:
    now = measured_apart()
    if request.config.getoption("--regenerate"):
        figures.save(now)
    return now


@pytest.fixture(scope="session")
def written_down(measured: Figures) -> Figures:
    """After `measured`, which may have written it."""
    if (known := figures.load()) is None:
        pytest.skip(f"there are no figures for Python {figures.PYTHON}: `make figures` writes them")
    return known


@pytest.mark.parametrize(("done", "between"), ALL, ids=map(" ".join, ALL))
def test_nothing_costs_a_tenth_more_than_it_did(
    done: str, between: str, measured: Figures, written_down: Figures
) -> None:
    """`make figures` writes new figures; who makes it dearer has to give the reason in the commit."""
    if done != "carrier" and (then := figures.libraries_then()) != (now := figures.libraries()):
        pytest.skip(f"the figures are for {then}, installed are {now}: `make figures` writes new ones")
    figure, found = written_down[done][between], measured[done][between]
    assert not figures.excess(figure, found), f"{done}, {between}, compared with {figures.FILE.name}"
    if figures.is_outdated(figure, found):
        notes.append(f"{done}, {between}: a tenth cheaper than {figures.FILE.name} says; `make figures` lowers it")


def test_a_tenth_more_work_is_noticed(measured: Figures) -> None:
    """And a twentieth is not: the guard is neither blind nor nervous."""
    known = measured["carrier"][SAMPLE]
    for burden, is_noticed in ((0.105, True), (0.05, False)):
        found = measured_apart("--only", f"carrier {SAMPLE}", "--burden", str(burden))["carrier"][SAMPLE]
        assert bool(figures.excess(known, found)) is is_noticed


@pytest.mark.parametrize("asked", ["wakes", "tasks", "timers"])
def test_one_more_task_timer_or_wake_per_event_is_noticed(asked: str) -> None:
    """None of them is needed, so there is no tenth of it."""
    assert figures.excess({asked: 0}, {asked: 0.1})


def test_counting_twice_gives_the_same(measured: Figures) -> None:
    """Else a tolerance would mean nothing."""
    assert measured_apart("--only", f"carrier {SAMPLE}")["carrier"][SAMPLE] == measured["carrier"][SAMPLE]


@pytest.mark.parametrize("between", TRANSLATED)
def test_an_event_asks_nothing_of_the_loop(between: str, measured: Figures) -> None:
    """It is written to the client in the same call by which it was received: no task wakes, none is made, no timer."""
    found = measured["event"][between]
    assert (found["wakes"], found["tasks"], found["timers"]) == (0, 0, 0)
