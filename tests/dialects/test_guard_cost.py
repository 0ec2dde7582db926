"""What the guard at the exit costs, per event that leaves: less than a microsecond, and about as much as writing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time_ns
from typing import Final

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Finish,
    Reason,
    Start,
    TextDelta,
    Usage,
)
from tests.dialects.cases import STAMP, asked
from tests.measured import measure

EVENTS: Final = 4000
RUNS: Final = 15
LIMIT_NS: Final = 1000
"""Above it the guard would have to become an option."""

Batches = list[list[Event]]


def text(per_read: int) -> Batches:
    """An answer of short tokens."""
    return answer(BlockKind.TEXT, [TextDelta(0, " token") for _ in range(EVENTS)], per_read)


def arguments(per_read: int) -> Batches:
    """One long tool call."""
    return answer(BlockKind.TOOL, [ArgsDelta(0, '"a": 1, ') for _ in range(EVENTS)], per_read)


def answer(kind: BlockKind, deltas: Sequence[Event], per_read: int) -> Batches:
    reads = [list(deltas[at : at + per_read]) for at in range(0, EVENTS, per_read)]
    opening: list[Event] = [Start(), BlockStart(0, kind, id="call_1", name="get_weather")]
    return [opening, *reads, [BlockStop(0), Finish(Reason.STOP), Usage(3, EVENTS), End()]]


@pytest.mark.slow
@pytest.mark.parametrize("per_read", [1, 10])
@pytest.mark.parametrize("content", [text, arguments])
@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_the_guard_costs_less_than_a_microsecond_an_event(
    client: str,
    content: Callable[[int], Batches],
    per_read: int,
) -> None:
    """CPU time, the least of several runs: other processes lengthen it too, by the caches they take."""
    runs = [timed(DIALECTS[client], content(per_read)) for _ in range(RUNS)]
    encoding, guarding = (min(run[i] for run in runs) for i in (0, 1))
    what = f"{client}, {content.__name__}, events per read: {per_read}"
    measure(f"ns of the guard an event ({what})", guarding)
    measure(f"ns of the encoder an event ({what})", encoding)
    assert guarding < min(LIMIT_NS, 1.25 * encoding)


def timed(dialect: Dialect, batches: Batches) -> tuple[float, float]:
    """Nanoseconds an event: of the encoder, and of its guard."""
    encoder, guard = dialect.encoder(asked(dialect.name), STAMP), dialect.guard(asked(dialect.name))
    assert guard is not None
    begun = process_time_ns()
    writes = [encoder.encode(batch) for batch in batches]
    encoded = process_time_ns()
    faults = [guard.check(data) for data in writes]
    guarded = process_time_ns()
    assert not any(faults)
    assert guard.end() is None
    return (encoded - begun) / EVENTS, (guarded - encoded) / EVENTS
