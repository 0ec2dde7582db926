"""A request body: bytes → one JSON object, or a sentence about what is wrong with it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, Kind
from gateway.wire.json_body import MAX_CONTAINERS, MAX_DEPTH, decode, is_deeper

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "body: not valid JSON: Input is a zero-length, empty document at character 0"),
    "NaN": (b'{"a": NaN}', "body: not valid JSON: unexpected character, expected a JSON value at character 6"),
    "Infinity": (b'{"a":Infinity}', "body: not valid JSON: unexpected character, expected a JSON value at character 5"),
    "a number no double holds": (
        b'{"a":1e400}',
        "body: not valid JSON: number is infinity when parsed as double at character 5",
    ),
    "invalid UTF-8": (b'{"a":"\xff"}', "body: not valid JSON: str is not valid UTF-8: surrogates not allowed"),
    "an encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "body: not valid JSON: str is not valid UTF-8"),
    "a lone surrogate": (b'{"a":"\\ud800"}', "body: not valid JSON: no low surrogate in string at character 6"),
    "a bare control character": (b'{"a":"\t"}', "body: not valid JSON: unexpected control character in string"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "body: not valid JSON: UTF-8 byte order mark (BOM) is not supported"),
    "the place, counted in characters": (
        '{"é": x}'.encode(),
        "body: not valid JSON: unexpected character, expected a JSON value at character 6",
    ),
    "two values": (b"{}{}", "body: not valid JSON: unexpected content after document at character 2"),
    "an array": (b"[{}]", "body: expected an object, got an array"),
    "a string": (b'"{}"', "body: expected an object, got a string"),
    "null": (b"null", "body: expected an object, got null"),
    "a number": (b"1", "body: expected an object, got an integer"),
    "true": (b"true", "body: expected an object, got a boolean"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_refused_with_a_reason(case: str) -> None:
    body, message = REFUSED[case]
    with pytest.raises(BadRequest) as caught:
        decode(body)
    assert caught.value.message.startswith(message)
    assert (caught.value.param, caught.value.kind) == (None, Kind.INVALID_REQUEST)


def test_a_reason_never_repeats_the_body() -> None:
    """Messages hold no prompt text."""
    with pytest.raises(BadRequest) as caught:
        decode(b'{"content": "CANARY", CANARY}')
    assert "CANARY" not in caught.value.message


def test_the_last_of_two_equal_keys_wins() -> None:
    """As in every common parser, so that we and the upstream read the same."""
    assert decode(b'{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}


def test_integers_of_64_bits_are_exact() -> None:
    assert decode(b'{"a":18446744073709551615,"b":-9223372036854775808}') == {"a": 2**64 - 1, "b": -(2**63)}


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    """An object that nests `levels` deep, itself counted."""
    return b'{"a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"


SHAPES = pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])


@SHAPES
def test_a_hundred_levels_are_deep_enough(opening: bytes, closing: bytes) -> None:
    """What is read can be written again: orjson writes 254 levels."""
    step = opening.count(b"[") + opening.count(b"{")
    deepest = nested(1 + (MAX_DEPTH - 1) // step, opening, closing)
    assert orjson.dumps(decode(deepest))
    with pytest.raises(BadRequest, match=f"^body: nested deeper than {MAX_DEPTH} levels$"):
        decode(nested(2 + (MAX_DEPTH - 1) // step + (step > 1), opening, closing))


def test_one_level_more_than_a_hundred_is_refused() -> None:
    assert MAX_DEPTH == 100
    decode(nested(100, b"[", b"]"))
    with pytest.raises(BadRequest, match="nested deeper than 100 levels"):
        decode(nested(101, b"[", b"]"))


def test_depth_is_found_beside_wide_neighbours() -> None:
    """Level by level: the deep branch need not be the first."""
    deep: Any = 0
    for _ in range(5):
        deep = [deep]
    value = {"wide": [{}, [], 1, "[[[[[["], "deep": deep}
    assert is_deeper(value, 5)
    assert not is_deeper(value, 6)


@pytest.mark.parametrize("bracket", [b"[", b"{", b'{"a":'])
def test_a_body_of_brackets_is_refused_without_being_parsed(bracket: bytes) -> None:
    """HARDENING.md 1.8: 32 MiB of brackets are counted, in some milliseconds, before any of them costs memory.

    None of these bodies is JSON, which is what a parser would have said of them.
    """
    body = bracket * (32 * 1024 * 1024 // len(bracket))
    with pytest.raises(BadRequest, match=f"^body: more than {MAX_CONTAINERS} arrays and objects$"):
        decode(body)


def test_the_container_limit_is_exact() -> None:
    at_limit = b'{"a":[' + b"[]," * (MAX_CONTAINERS - 3) + b"[]]}"
    assert len(decode(at_limit)["a"]) == MAX_CONTAINERS - 2
    with pytest.raises(BadRequest, match="arrays and objects"):
        decode(at_limit.replace(b"[[]", b"[[],{}", 1))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES | st.text(), max_size=4))
def test_an_object_comes_out_as_it_was_written(body: dict[str, Any]) -> None:
    assert decode(orjson.dumps(body)) == body


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_but_a_bad_request(body: bytes) -> None:
    with suppress(BadRequest):
        assert isinstance(decode(body), dict)
