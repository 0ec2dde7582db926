"""How lines of the log look, for machines and for people."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import orjson
import pytest

from gateway.telemetry.log import ACCESS, NAMES, Record, Tried
from gateway.telemetry.spelling import AsJson, AsText

WHOLE = Record(
    "req_1",
    "anthropic",
    route="demo",
    upstream="gpu-1",
    upstream_dialect="openai",
    status=200,
    stream=True,
    attempts=1,
    ttft_ms=203.4,
    duration_ms=1021.0,
    input_tokens=6,
    output_tokens=17,
    finish_reason="stop",
    is_certain=True,
)
EVIL = "a\x1b[2Jb\nc\r\x07\u202e"


def made(message: object, *args: object, level: int = logging.INFO, exc_info: Any = None) -> logging.LogRecord:
    record = logging.LogRecord(ACCESS, level, __file__, 1, message, args, exc_info)
    record.created = 1_700_000_000.0425
    return record


def failed() -> logging.LogRecord:
    try:
        raise ValueError(f"no {EVIL}")
    except ValueError:
        return made("request %s failed", "req_1", level=logging.ERROR, exc_info=sys.exc_info())


def test_a_request_is_its_fields_behind_time_and_level() -> None:
    told = orjson.loads(AsJson()(made(WHOLE)))
    assert list(told)[:3] == ["time", "level", "request_id"]
    assert (told["time"], told["level"]) == ("2023-11-14T22:13:20.042Z", "info")
    assert set(told) - {"time", "level"} == {name for name in NAMES if getattr(WHOLE, name) is not None}


def test_moments_of_other_seconds_are_told_anew() -> None:
    spell, later = AsJson(), made("x")
    spell(made("x"))
    later.created += 61
    assert orjson.loads(spell(later))["time"] == "2023-11-14T22:14:21.042Z"


def test_an_exception_is_one_line_of_json() -> None:
    text = AsJson(worker=2)(failed())
    assert "\n" not in text
    told = orjson.loads(text)
    assert (told["message"], told["level"], told["worker"]) == ("request req_1 failed", "error", 2)
    assert told["exception"].endswith("\nValueError")


def test_a_request_is_one_line_for_people() -> None:
    text = AsText()(made(WHOLE))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d 200  demo → gpu-1  anthropic → openai  6 \+ 17 tokens  "
        r"first after 203 ms  1\.02 s  stop  req_1",
        text,
    )


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (Record("r", "openai"), "---  openai  r"),
        (Record("r", "openai", status=404, end="refused", error="no_route"), "404  refused: no_route  openai  r"),
        (Record("r", "openai", route="a", end="client_left"), "---  client_left  a  openai  r"),
        (Record("r", "openai", output_tokens=3, is_certain=False), "---  openai  ? + 3 tokens  end unproven  r"),
        (
            Record("r", "openai", tries=[Tried("a", "m", 0.0, "timeout", 7.5), Tried("b", "m")], attempts=2),
            "---  openai  2 tries: a timeout 8 ms, b left  r",
        ),
        (Record("r", "openai", hedge="won", queue_ms=1.5), "---  openai  queue_ms=1.5  hedge=won  r"),
        (Record("r", "openai", trace_id="0af7"), "---  openai  trace_id=0af7  r"),
    ],
)
def test_what_is_unusual_of_a_request_is_told(told: Record, text: str) -> None:
    assert AsText()(made(told))[9:] == text


@pytest.mark.parametrize(
    ("status", "end", "colour"),
    [(200, "complete", 32), (429, "refused", 33), (502, "refused", 31), (200, "broken", 31)],
)
def test_colours_tell_how_it_went(status: int, end: str, colour: int) -> None:
    assert f"\x1b[{colour}m" in AsText(is_coloured=True)(made(Record("r", "openai", status=status, end=end)))


@pytest.mark.parametrize("record", [made(Record("r", "openai", route=EVIL, upstream=EVIL)), made(EVIL), failed()])
@pytest.mark.parametrize("is_coloured", [True, False])
def test_nothing_in_a_line_can_steer_a_terminal(record: logging.LogRecord, *, is_coloured: bool) -> None:
    """Names come from a configuration; still, what stands in them is shown and never done."""
    for line in AsText(is_coloured=is_coloured)(record).split("\n"):
        assert re.sub(r"\x1b\[\d+m", "", line).isprintable()


def test_an_exception_is_told_to_people_too() -> None:
    first, second, *_, last = AsText()(failed()).split("\n")
    assert first.endswith("request req_1 failed")
    assert second == "Traceback (most recent call last):"
    assert last == "ValueError"
