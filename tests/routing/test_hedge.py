"""How long a target is waited for alone."""

from __future__ import annotations

from gateway.config import Hedge
from gateway.routing.hedge import patience
from gateway.routing.quantile import LEAST, Recent


def known(*values: float) -> Recent:
    recent = Recent()
    for value in values:
        recent.note(value)
    return recent


def test_a_fixed_delay_needs_no_experience() -> None:
    assert patience(Hedge(after=0.5), known(), 60) == 0.5


def test_p95_is_the_targets_own() -> None:
    """One answer in twenty is later, however fast or slow the model is."""
    assert patience(Hedge(), known(*[0.05] * 95, *[5.0] * 5), 60) == 0.05
    assert patience(Hedge(), known(*[3.0] * LEAST), 60) == 3.0


def test_without_experience_nobody_knows_what_is_late() -> None:
    assert patience(Hedge(), known(*[0.05] * (LEAST - 1)), 60) is None


def test_nothing_is_asked_after_the_wait_is_over_anyway() -> None:
    assert patience(Hedge(), known(*[61.0] * LEAST), 60) is None
    assert patience(Hedge(after=70.0), known(), 60) is None


def test_a_route_that_does_not_ask_for_it_never_hedges() -> None:
    assert patience(None, known(*[0.05] * LEAST), 60) is None
