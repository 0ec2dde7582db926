"""A request body: bytes → one JSON object, or a sentence about what is wrong with it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, Kind
from gateway.wire.json_body import MAX_DEPTH, MAX_NODES, MAX_VALUES, decode, is_deeper

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
    with pytest.raises(BadRequest, match=f"^body: more than {MAX_NODES} arrays, objects and fields$"):
        decode(body)


def test_the_limit_of_nodes_is_exact() -> None:
    """Arrays, objects and fields; the root and its one field are two of them, the array is the third."""
    at_limit = b'{"a":[' + b"[]," * (MAX_NODES - 4) + b"[]]}"
    assert len(decode(at_limit)["a"]) == MAX_NODES - 3
    for other in (b"{}", b'{"b":1}'):
        with pytest.raises(BadRequest, match="more than 100000 arrays, objects and fields"):
            decode(at_limit.replace(b"[[]", b"[[]," + other, 1))


def test_the_limit_of_values_is_exact() -> None:
    at_limit = b'{"a":[' + b"1," * (MAX_VALUES - 1) + b"1]}"
    assert len(decode(at_limit)["a"]) == MAX_VALUES
    with pytest.raises(BadRequest, match="more than 250000 values"):
        decode(at_limit.replace(b"[1", b"[1,1", 1))


ENDS = ["", "\\", "\\\\", '"', '\\"', '\\\\"', '"\\', "\n\\", "\u2028"]


@pytest.mark.parametrize("end", ENDS)
def test_what_stands_in_a_string_is_not_counted(end: str) -> None:
    """A prompt of code holds far more brackets than any request does, at every place the count may be cut at."""
    code = 'if (x["k"] == {1: [2, "\\\\"]}) { y = "\\n"; }\n' * 20_000
    value = {"text": code + end, "more": [{"text": " " * shift + code[:70_000] + end} for shift in range(4)]}
    assert decode(orjson.dumps(value)) == value


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("shift", range(4))
def test_what_stands_behind_a_string_is_counted(end: str, shift: int) -> None:
    text = "\\" * 70_001 + "x" * shift + '"[{' * 30_000 + end
    body = orjson.dumps({"text": text, "more": [[]] * MAX_NODES})
    with pytest.raises(BadRequest, match="more than 100000 arrays, objects and fields"):
        decode(body)


def test_a_bytearray_is_read_as_bytes_are() -> None:
    assert decode(bytearray(b'{"a":[1]}')) == {"a": [1]}


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
