"""Metrics cost a token nothing, and a request little. Counted, never timed."""

from __future__ import annotations

from typing import Final

import pytest

from tests.bench.figures import Figures
from tests.bench.test_work import measured_apart
from tests.measured import measure

BETWEEN: Final = "openai to openai"
"""Passed through: the least work, so that more of it weighs most."""
EVENTS: Final = 100
"""Of a stream: few, so that what its request costs weighs much."""
MOST: Final = 0.03
"""What metrics may add to the CPU of an event, its share of the request's included."""


@pytest.fixture(scope="module")
def both() -> tuple[Figures, Figures]:
    """With metrics and without."""
    return measured_apart("--only", BETWEEN), measured_apart("--only", BETWEEN, "--no-metrics")


def test_an_event_is_not_counted(both: tuple[Figures, Figures]) -> None:
    """Not one instruction, call, object, task or timer more."""
    on, off = both
    assert on["event"][BETWEEN] == off["event"][BETWEEN]


def test_all_that_metrics_do_for_a_stream_is_less_than_three_percent_of_it(both: tuple[Figures, Figures]) -> None:
    (on, event), (off, _) = ((found["stream"][BETWEEN], found["event"][BETWEEN]) for found in both)
    more = on["instructions"] - off["instructions"]
    stream = off["instructions"] + EVENTS * event["instructions"]
    measure("instructions that metrics add to a request for a stream", more)
    measure(f"metrics' share of a stream of {EVENTS} events, in percent", 100 * more / stream)
    assert more > 0, "something is measured"
    assert more / stream < MOST


def test_a_request_asks_the_loop_for_no_more(both: tuple[Figures, Figures]) -> None:
    """No task, timer or wake-up of its own."""
    asked = ("wakes", "tasks", "timers")
    on, off = (found["whole"][BETWEEN] for found in both)
    assert [on[name] for name in asked] == [off[name] for name in asked]
