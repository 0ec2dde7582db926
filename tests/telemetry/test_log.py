"""One line per request, and nothing in it that a user wrote."""

from __future__ import annotations

import logging
from dataclasses import fields

import orjson
import pytest

from gateway.telemetry.log import Record, Tried, line, write

KNOWN = {
    "request_id": "req_1",
    "client_dialect": "openai",
    "key_id": "checkout",
    "route": "demo",
    "upstream": "u",
    "upstream_dialect": "anthropic",
    "status": 200,
    "stream": True,
    "attempts": 2,
    "tries": [
        {"upstream": "t", "model": "m", "delay_ms": 0.0, "end": "rate_limit", "ms": 7.5},
        {"upstream": "u", "model": "m", "delay_ms": 120.0, "end": "complete", "ms": 12.5},
    ],
    "queue_ms": 1.5,
    "left_ms": 9.0,
    "hedge": "won",
    "cut_by": "t",
    "continued": "u",
    "ttft_ms": 1.5,
    "duration_ms": 20.0,
    "input_tokens": 3,
    "output_tokens": 0,
    "finish_reason": "stop",
    "is_certain": False,
    "finish_inferred": True,
    "end": "complete",
    "error": "timeout",
    "dropped": 2,
    "adapted": 3,
    "dropped_fragments": 1,
    "grammar_fault": "stray in state text",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}


def test_the_line_says_all_that_is_known() -> None:
    """In the order of the fields; false and zero are known."""
    text = line(Record(**KNOWN))  # type: ignore[arg-type]
    assert list(orjson.loads(text).items()) == list(KNOWN.items())


def test_each_try_is_told_by_its_target_and_its_end() -> None:
    """Names from the configuration, words of ours and times: nothing a client or an upstream wrote."""
    assert [field.name for field in fields(Tried)] == ["upstream", "model", "delay_ms", "end", "ms"]
    record = Record("req_1", "openai", attempts=2, tries=[Tried("t", "m"), Tried("u", "m", 120.0, "complete", 12.5)])
    assert orjson.loads(line(record))["tries"] == [
        {"upstream": "t", "model": "m", "delay_ms": 0.0, "end": "left", "ms": None},
        {"upstream": "u", "model": "m", "delay_ms": 120.0, "end": "complete", "ms": 12.5},
    ]


def test_unknowns_are_left_out() -> None:
    """Unknown is absent, never zero."""
    assert orjson.loads(line(Record("req_1", "openai"))) == {
        "request_id": "req_1",
        "client_dialect": "openai",
        "attempts": 0,
        "end": "complete",
    }


def test_a_record_has_no_room_for_prompts_answers_or_keys() -> None:
    """The canary: a further field has to be named here, by someone who asked whether it may hold a user's text."""
    assert [field.name for field in fields(Record)] == list(KNOWN)
    record = Record("req_1", "openai")
    assert not hasattr(record, "__dict__")
    for name in ("message", "prompt", "body", "key", "headers"):
        with pytest.raises(AttributeError):
            setattr(record, name, "CANARY")


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", 'a"}\n{"status":200', "a\x00\x1b[31m", "a\x7f"])
def test_a_record_is_one_line_whatever_a_client_sends(evil: str) -> None:
    """A route's name comes from a configuration, an id from us; still, nothing may forge a second line."""
    text = line(Record("req_1", "openai", route=evil))
    assert len(text.splitlines()) == 1
    assert not [character for character in text if ord(character) < 0x20]
    assert orjson.loads(text)["route"] == evil


@pytest.mark.parametrize(
    ("end", "status", "level"),
    [
        ("complete", 200, logging.INFO),
        ("refused", 429, logging.INFO),
        ("client_left", None, logging.INFO),
        ("refused", 500, logging.WARNING),
        ("refused", 502, logging.WARNING),
        ("broken", 200, logging.WARNING),
    ],
)
def test_what_an_operator_must_see_is_a_warning(
    end: str, status: int | None, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures of ours and of upstreams; what a client did wrong, or that it left, is not."""
    record = Record("req_1", "openai", status=status, end=end)
    with caplog.at_level(logging.INFO, "triglot.access"):
        write(record)
    assert [(found.name, found.levelno, found.getMessage()) for found in caplog.records] == [
        ("triglot.access", level, line(record))
    ]


@pytest.mark.parametrize(("end", "status"), [("broken", 200), ("refused", 500)])
def test_a_defect_of_ours_is_an_error_in_the_log(end: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads only errors hears of it, once."""
    write(Record("req_1", "openai", status=status, end=end, grammar_fault="stray in state text"))
    assert [(found.levelno, orjson.loads(found.getMessage())["grammar_fault"]) for found in caplog.records] == [
        (logging.ERROR, "stray in state text")
    ]


def test_nothing_is_written_below_the_operators_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "triglot.access"):
        write(Record("req_1", "openai", status=200))
    assert caplog.records == []
