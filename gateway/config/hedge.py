"""When a second target is asked before the first one has answered."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.config.complaints import flaw
from gateway.config.section import Section, default
from gateway.config.units import DURATION, Unit, seconds

P95: Final = "p95"


def _after(value: object) -> object:
    if value == P95:
        return value
    spelled = seconds(value)
    if isinstance(spelled, float | int) and spelled <= 0:
        raise flaw("must be above 0")
    return spelled


After = Annotated[
    float | Literal["p95"],
    BeforeValidator(_after),
    Unit.TIME,
    WithJsonSchema({"type": "string", "pattern": rf"^{DURATION.pattern}$|^{P95}$|\$\{{"}),
]
"""Seconds, or the target's own 95th percentile."""


class Hedge(Section):
    """A second try against slow answers: the first to yield content wins, the other is hung up on at once.

    Requests that do more than ask are never sent twice: with tools that run at the vendor, or with an answer to be kept
    there.
    """

    after: After = default(
        P95,
        "How late the first content is, or all of an answer that comes whole, when the next target is asked too: a "
        "duration, or p95 of what the target took for its last 128 answers, so that one in twenty is late, whatever "
        "the model's speed; before 20 are known, none is.",
    )
    max_ratio: Annotated[float, Field(gt=0, le=1)] = default(
        0.1,
        "Most second tries, as a share of the route's requests within a minute, and one more. Twice what p95 asks for "
        "in calm weather; when everything is slow, more calls would make it slower.",
    )
