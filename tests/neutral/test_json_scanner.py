"""Whether a fragment text is a complete JSON value by now."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.neutral.json_scanner import JsonScanner


def scan(*fragments: str) -> bool:
    scanner = JsonScanner()
    for fragment in fragments:
        scanner.feed(fragment)
    return scanner.is_complete


COMPLETE = [
    "{}",
    "[]",
    ' {"a": [1, {"b": null}]} ',
    '{"a":"}"}',
    '{"a":"\\""}',
    '{"a":"\\\\"}',
    '{"a":"\\\\\\"}"}',
    '{"\\u007b":"["}',
    '{"a":"\u2028}\U0001f600"}',
    '"text"',
    "12",
    "true",
]


@pytest.mark.parametrize("text", COMPLETE)
def test_a_whole_value_is_complete_however_it_was_cut(text: str) -> None:
    assert scan(text)
    assert scan(*text)
    assert all(scan(text[:at], "", text[at:]) for at in range(len(text)))


INCOMPLETE = ["", "  \n", "{", "[{}", '{"a":"}', '{"a":"\\"}', '{"a":"\\\\\\"}', '"a', '"', '"a\\"', "[[]", "]"]


@pytest.mark.parametrize("text", INCOMPLETE)
def test_an_open_bracket_or_quote_keeps_a_value_open(text: str) -> None:
    assert not scan(text)
    assert not scan(*text)


def test_an_escape_is_remembered_across_fragments() -> None:
    """A quote behind a backslash does not close a string, also if the backslash ended its fragment."""
    assert not scan('{"a":"\\', '"}')
    assert scan('{"a":"\\', '"', '"}')
    assert scan('{"a":"\\', "\\", '"}')
    assert scan('{"a":"\\\\', '"}')


def test_a_value_that_goes_on_is_open_again() -> None:
    """Completeness is a state of now, not a promise."""
    scanner = JsonScanner()
    scanner.feed("{}")
    assert scanner.is_complete
    scanner.feed("{")
    assert not scanner.is_complete


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from(['"', "\\", "}{][", '\\"}']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
CONTAINERS = st.lists(VALUES) | st.dictionaries(st.text(), VALUES)


@settings(max_examples=50)
@given(CONTAINERS, st.data())
def test_an_object_is_complete_at_its_last_bracket_and_not_before(value: Any, data: st.DataObject) -> None:
    """For any value, any escaping and any cut."""
    text = orjson.dumps(value, option=data.draw(st.sampled_from([0, orjson.OPT_INDENT_2]))).decode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    scanner = JsonScanner()
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        scanner.feed(text[begin:end])
        assert scanner.is_complete == (end == len(text))


@given(st.text(alphabet='{}[]"\\a ', max_size=30), st.integers(0, 30))
def test_a_cut_never_matters(text: str, at: int) -> None:
    """Also in what is no JSON at all."""
    assert scan(text) == scan(text[:at], text[at:]) == scan(*text)
