"""One structured line per request. No prompt text, no keys: only what is listed here can be said."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final

import orjson

ACCESS: Final = "triglot.access"
"""The logger whose messages are records."""
logger = logging.getLogger(ACCESS)


@dataclass(slots=True)
class Tried:
    """One try of a request: whom it went to, how long it was put off, what it ended with and after how long.

    `end`: complete, the word of an error, or left for one that was called off.
    """

    upstream: str
    model: str
    delay_ms: float = 0.0
    end: str = "left"
    ms: float | None = None


@dataclass(slots=True)
class Record:
    """What is known of a request when it ends. Times in ms; `None` is unknown, not zero.

    `end`: complete, refused (an error instead of an answer), broken (an error after the head), client_left,
    client_stalled (it took nothing of its answer for too long),
    drained (the process ended first: a 503, with no attempt where the request came too late, or an answer broken off).
    """

    request_id: str
    client_dialect: str
    key_id: str | None = None
    """The id of the client's key, never the key."""
    route: str | None = None
    upstream: str | None = None
    upstream_dialect: str | None = None
    status: int | None = None
    stream: bool | None = None
    attempts: int = 0
    tries: list[Tried] | None = None
    """Each of several tries; None where there was one."""
    queue_ms: float | None = None
    """Of the last try: how long it waited for its turn at the upstream, where it had to."""
    left_ms: float | None = None
    """When the client left, where the answer was read on without it."""
    hedge: str | None = None
    """What came of a second target that was asked while the first was late: won, lost, or failed like the first."""
    cut_by: str | None = None
    """The upstream whose answer broke where another one could have gone on with it."""
    continued: str | None = None
    """The upstream that went on with it."""
    ttft_ms: float | None = None
    duration_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None
    is_certain: bool | None = None
    finish_inferred: bool | None = None
    """The upstream ended properly and never said why."""
    end: str = "complete"
    error: str | None = None
    dropped: int | None = None
    """Fields of the request that its last target has no place for; `x-gateway-dropped` names them to the client."""
    adapted: int | None = None
    """Fields of it that mean something else there; `x-gateway-adapted` names them."""
    dropped_fragments: int | None = None
    grammar_fault: str | None = None
    """Which frame of ours its dialect's grammar forbids, and in which state: a defect of the gateway."""
    trace_id: str | None = None
    """Of the trace that the client's `traceparent` belongs to."""

    def __str__(self) -> str:
        return line(self)


NAMES: Final = tuple(field.name for field in fields(Record))
"""In the order of the line."""
_values: Final = attrgetter(*NAMES)


def line(record: Record) -> str:
    """The record as one line of JSON, unknowns left out. orjson escapes whatever could break a line."""
    known = {name: value for name, value in zip(NAMES, _values(record), strict=True) if value is not None}
    return orjson.dumps(known).decode()


def write(record: Record) -> None:
    """Has it written: as an error for defects of ours, a warning for an operator's business, or information.

    As `Logger.log` does, which would look for its caller first: that is always this line. How it is spelled is for who
    writes it to say.
    """
    level = _level(record)
    if logger.isEnabledFor(level):
        logger.handle(logger.makeRecord(logger.name, level, __file__, 0, record, (), None, write.__name__))


def _level(record: Record) -> int:
    if record.grammar_fault is not None:
        return logging.ERROR
    return logging.WARNING if record.end == "broken" or (record.status or 0) >= 500 else logging.INFO
