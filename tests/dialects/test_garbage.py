"""Frames that parse as JSON and are wrong in one place: whatever comes, an end comes of it, and no exception."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from sys import getrefcount
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.neutral.events import End, Failed
from gateway.neutral.grammar import Grammar
from tests.dialects.cases import CASES, Case, encode, sequence
from tests.dialects.wire_grammar import check_anthropic, check_openai


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


GARBAGE: tuple[Any, ...] = (None, 7, -1.5, True, "", "x", [], {}, [7], {"x": 7}, ["x"], [{}], nested(300))


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from paths(value[key], (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    changed = deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = by
    return changed


def spoiled(case: Case) -> Iterator[bytes]:
    """The input with one value of one frame replaced, for every value and every kind of garbage."""
    frames = case.input.split(b"\n\n")
    for i, frame in enumerate(frames):
        head, mark, data = frame.partition(b"data: ")
        if not data.startswith(b"{"):
            continue
        body = orjson.loads(data)
        for path in paths(body):
            for garbage in GARBAGE:
                try:
                    changed = orjson.dumps(replaced(body, path, garbage))
                except TypeError:  # deeper than orjson writes: brackets by hand
                    changed = orjson.dumps(replaced(body, path, "@")).replace(b'"@"', b"[" * 300 + b"]" * 300)
                yield b"\n\n".join([*frames[:i], head + mark + changed, *frames[i + 1 :]])


SPOILED = [
    case
    for case in CASES
    if str(case)
    in (
        "openai-parallel_tools_interleaved",
        "openai-refusal",
        "openai-stop_string",
        "openai-usage_after_finish",
        "openai-error_frame",
        "anthropic-server_tool",
        "anthropic-pings_and_late_usage",
        "anthropic-input_in_start",
        "anthropic-no_signature",
        "anthropic-redacted_thinking",
        "anthropic-refusal",
        "anthropic-error_event",
    )
]


@pytest.mark.parametrize("case", SPOILED, ids=str)
def test_garbage_in_any_place_ends_in_an_end_or_a_failure(case: Case) -> None:
    for data in spoiled(case):
        told = case.decode(data)
        grammar = Grammar()
        for event in told:
            grammar.check(event)
        assert isinstance(told[-1], End | Failed)
        end = "done" if isinstance(told[-1], End) else "error"
        assert check_openai(encode("openai", told), include_usage=True) == end
        assert check_anthropic(encode("anthropic", told)) == end
        encode("truss", told)


@pytest.mark.parametrize("case", [case for case in CASES if case.is_whole], ids=str)
def test_garbage_in_a_whole_answer_ends_in_an_end_or_a_failure(case: Case) -> None:
    body = orjson.loads(case.input)
    for path in paths(body):
        for garbage in GARBAGE[:-1]:
            told = sequence(case.load(orjson.dumps(replaced(body, path, garbage))))
            assert isinstance(told[-1], End | Failed)
            encode("openai", told)
            encode("anthropic", told)


def test_what_decided_what_a_stream_is_is_let_go() -> None:
    """A decoder that finds out what it reads keeps nothing of the first read, which may be large."""
    dialect = DIALECTS["truss"]
    decoder, first = dialect.decoder(dialect.options()), b"some text " * 6553
    before = getrefcount(first)
    decoder.feed(first)
    assert getrefcount(first) == before
