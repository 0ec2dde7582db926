"""How a line of the log is spelled: as JSON for machines, or for people at a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import orjson

from gateway.telemetry.log import NAMES, Record, Tried, line
from gateway.telemetry.traces import trace_of

Spell = Callable[[logging.LogRecord], str]

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_COLOURS: Final[Mapping[int, str]] = {logging.WARNING: _YELLOW, logging.ERROR: _RED, logging.CRITICAL: _RED}
_STATUS: Final[Mapping[int, str]] = {2: _GREEN, 4: _YELLOW, 5: _RED}
"""By its first digit."""
_PLACED: Final = (
    *("request_id", "client_dialect", "route", "upstream", "upstream_dialect", "status", "stream", "attempts", "tries"),
    *("ttft_ms", "duration_ms", "input_tokens", "output_tokens", "finish_reason", "is_certain", "end", "error"),
)
"""What has its own place in a line for people; whatever else is known follows by its name."""


class AsJson:
    """One object a line, with its `time` and `level`: a request's own fields, or a `message`.

    `worker` says which of several processes it is from.
    """

    def __init__(self, worker: int | None = None) -> None:
        self._end = "}" if worker is None else f',"worker":{worker}}}'
        self._second = 0
        self._spelled = ""

    def __call__(self, record: logging.LogRecord) -> str:
        told = record.msg
        body = line(told) if isinstance(told, Record) else _said(record)
        time, level = self._moment(record.created), record.levelname.lower()
        return f'{{"time":"{time}","level":"{level}",{body[1:-1]}{self._end}'

    def _moment(self, created: float) -> str:
        """As RFC 3339 has it, to the millisecond. A second is spelled once."""
        second = int(created)
        if second != self._second:
            self._second, self._spelled = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._spelled}.{int((created - second) * 1000):03d}Z"


def _said(record: logging.LogRecord) -> str:
    said = {"message": record.getMessage()}
    if trace := _trace(record):
        said["exception"] = trace
    return orjson.dumps(said, default=str).decode()


class AsText:
    """One line, in colours if it `is_coloured`; an exception takes some more. Nothing in it can steer a terminal."""

    def __init__(self, worker: int | None = None, *, is_coloured: bool = False) -> None:
        self._worker = "" if worker is None else f"worker {worker}: "
        self._is_coloured = is_coloured

    def __call__(self, record: logging.LogRecord) -> str:
        at = self._in(time.strftime("%H:%M:%S", time.localtime(record.created)), _DIM)
        told = record.msg
        if isinstance(told, Record):
            return f"{at} {self._worker}{'  '.join(self._in(text, colour) for text, colour in _parts(told) if text)}"
        text = self._in(self._worker + _harmless(record.getMessage()), _COLOURS.get(record.levelno, ""))
        if trace := _trace(record):
            text += "\n" + "\n".join(map(_harmless, trace.split("\n")))
        return f"{at} {text}"

    def _in(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._is_coloured else text


def _trace(record: logging.LogRecord) -> str:
    """Where an exception came from, and what kind it is."""
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else trace_of(error)


def _parts(record: Record) -> Iterator[tuple[str, str]]:
    """The pieces of a request's line, each with its colour."""
    colour = _STATUS.get((record.status or 0) // 100, _YELLOW)
    yield str(record.status or "---"), colour
    if record.end != "complete":
        yield record.end + (f": {record.error}" if record.error else ""), _RED if record.end == "broken" else colour
    way = f"{record.route or '?'} → {record.upstream}" if record.upstream else record.route or ""
    yield _harmless(way), _BOLD
    spoken = (record.client_dialect, record.upstream_dialect or record.client_dialect)
    yield " → ".join(dict.fromkeys(spoken)), _CYAN
    yield _figures(record), ""
    yield _harmless(_rest(record)), _YELLOW
    yield record.request_id, _DIM


def _figures(record: Record) -> str:
    tokens = " + ".join(str("?" if count is None else count) for count in (record.input_tokens, record.output_tokens))
    figures = (
        f"{tokens} tokens" if tokens != "? + ?" else "",
        f"first after {_time(record.ttft_ms)}" if record.stream and record.ttft_ms is not None else "",
        "" if record.duration_ms is None else _time(record.duration_ms),
        record.finish_reason or "",
        "" if record.is_certain is not False else "end unproven",
    )
    return "  ".join(filter(None, figures))


def _rest(record: Record) -> str:
    """Several tries, and what is known only of unusual requests."""
    tries = [_tried(tried) for tried in record.tries or ()]
    others = [
        f"{name}={value}" for name in NAMES if name not in _PLACED and (value := getattr(record, name)) is not None
    ]
    return "  ".join([*([f"{len(tries)} tries: {', '.join(tries)}"] if tries else []), *others])


def _tried(tried: Tried) -> str:
    return f"{tried.upstream} {tried.end}" + ("" if tried.ms is None else f" {_time(tried.ms)}")


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def _harmless(text: str) -> str:
    """Characters that would move a cursor, ring a bell or begin another line are no text."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
