"""Typed getters that name the field at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway.errors import BadRequest, Kind
from gateway.wire.fields import Fields, fields_of, join, type_name


def of(**data: Any) -> Fields:
    return Fields(data, "messages.2")


Getter = Callable[[Fields], Any]

REFUSED: dict[str, tuple[Any, Getter, str]] = {
    "a string": (1, lambda f: f.string("x"), "messages.2.x: expected a string, got an integer"),
    "a boolean": ("true", lambda f: f.boolean("x"), "messages.2.x: expected a boolean, got a string"),
    "an integer for a boolean": (1, lambda f: f.boolean("x"), "messages.2.x: expected a boolean, got an integer"),
    "an integer": ("1", lambda f: f.integer("x"), "messages.2.x: expected an integer, got a string"),
    "a boolean for an integer": (True, lambda f: f.integer("x"), "messages.2.x: expected an integer, got a boolean"),
    "a fraction": (1.5, lambda f: f.integer("x"), "messages.2.x: expected an integer, got a number"),
    "too low": (0, lambda f: f.integer("x", 1), "messages.2.x: expected an integer of at least 1, got 0"),
    "a number": ([], lambda f: f.number("x"), "messages.2.x: expected a number, got an array"),
    "a boolean for a number": (False, lambda f: f.number("x"), "messages.2.x: expected a number, got a boolean"),
    "out of range": (
        2.5,
        lambda f: f.number("x", 0, 2),
        "messages.2.x: expected a number between 0 and 2, got 2.5",
    ),
    "below": (-1, lambda f: f.number("x", 0), "messages.2.x: expected a number at least 0, got -1"),
    "strings": ({}, lambda f: f.strings("x"), "messages.2.x: expected a string or an array of strings, got an object"),
    "one of the strings": (["a", None], lambda f: f.strings("x"), "messages.2.x.1: expected a string, got null"),
    "a choice": ("c", lambda f: f.choice("x", ("a", "b")), "messages.2.x: expected one of a, b, got 'c'"),
    "a choice's type": (3, lambda f: f.choice("x", ("a", "b")), "messages.2.x: expected a string, got an integer"),
    "an object": ([], lambda f: f.object("x"), "messages.2.x: expected an object, got an array"),
    "an array": ({}, lambda f: f.array("x"), "messages.2.x: expected an array, got an object"),
    "one of the objects": ([{}, 1], lambda f: f.objects("x"), "messages.2.x.1: expected an object, got an integer"),
    "a needed string": (None, lambda f: f.need_string("x"), "messages.2.x: expected a string, got nothing"),
    "a needed choice": (None, lambda f: f.need_choice("x", ("a",)), "messages.2.x: expected one of a, got nothing"),
    "a needed object": (None, lambda f: f.need_object("x"), "messages.2.x: expected an object, got nothing"),
    "whatever a dialect minds": (1, lambda f: f.refuse("x", "not today"), "messages.2.x: not today"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_names_the_field_what_was_expected_and_what_was_seen(case: str) -> None:
    value, getter, message = REFUSED[case]
    with pytest.raises(BadRequest) as caught:
        getter(of(x=value))
    assert caught.value.message == message
    assert caught.value.param == message.partition(":")[0]
    assert caught.value.kind is Kind.INVALID_REQUEST


TAKEN: dict[str, tuple[Any, Getter, Any]] = {
    "a string": ("a", lambda f: f.string("x"), "a"),
    "an empty string": ("", lambda f: f.need_string("x"), ""),
    "a boolean": (False, lambda f: f.boolean("x"), False),
    "an integer": (0, lambda f: f.integer("x", 0), 0),
    "an integer written as a float": (3.0, lambda f: f.integer("x"), 3),
    "a number": (0.5, lambda f: f.number("x", 0, 2), 0.5),
    "an integer as a number": (2, lambda f: f.number("x", 0, 2), 2),
    "one string": ("a", lambda f: f.strings("x"), ("a",)),
    "strings": (["a", "b"], lambda f: f.strings("x"), ("a", "b")),
    "no strings": ([], lambda f: f.strings("x"), ()),
    "a choice": ("b", lambda f: f.need_choice("x", ("a", "b")), "b"),
    "a mapping": ({"a": 1}, lambda f: f.mapping("x"), {"a": 1}),
    "an array": ([1], lambda f: f.array("x"), [1]),
    "as it is": ([{}], lambda f: f.take("x"), [{}]),
    "each": ([{"y": "a"}, {"y": "b"}], lambda f: f.each("x", lambda each: each.string("y")), ("a", "b")),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_value_of_the_right_type_is_taken(case: str) -> None:
    value, getter, expected = TAKEN[case]
    taken = getter(of(x=value))
    assert taken == expected
    assert type(taken) is type(expected)


ABSENT: dict[str, tuple[Getter, Any]] = {
    "string": (lambda f: f.string("x"), None),
    "boolean": (lambda f: f.boolean("x"), None),
    "integer": (lambda f: f.integer("x", 1), None),
    "number": (lambda f: f.number("x", 1, 2), None),
    "strings": (lambda f: f.strings("x"), ()),
    "choice": (lambda f: f.choice("x", ("a",)), None),
    "object": (lambda f: f.object("x"), None),
    "array": (lambda f: f.array("x"), None),
    "objects": (lambda f: f.objects("x"), []),
    "has": (lambda f: f.has("x"), False),
}


@pytest.mark.parametrize("case", ABSENT)
def test_null_is_the_same_as_absent(case: str) -> None:
    getter, expected = ABSENT[case]
    assert getter(of(x=None)) == getter(of()) == expected


def test_what_no_getter_took_is_left_over() -> None:
    """These names are told as dropped; nulls are nothing to drop."""
    fields = of(a=1, b="x", c=None, d=[0])
    assert fields.has("a")
    fields.integer("a")
    assert not fields.has("a")
    assert fields.rest() == {"b": "x", "d": [0]}


def test_the_clients_own_object_is_left_alone() -> None:
    """Pass-through forwards it."""
    body = {"a": 1}
    Fields(body).take("a")
    assert body == {"a": 1}


def test_paths_grow_with_every_level() -> None:
    inner = Fields({"a": {"b": [{"c": 1}]}}).need_object("a").objects("b")[0]
    assert inner.at("c") == "a.b.0.c"
    assert join("", 0) == "0"
    assert join("a", 0) == "a.0"


def test_a_body_that_is_no_object_is_named_so() -> None:
    with pytest.raises(BadRequest, match=r"^body: expected an object, got an array$"):
        fields_of([], "")
    with pytest.raises(BadRequest, match=r"^a: expected an object, got null$"):
        fields_of(None, "a")


@pytest.mark.parametrize("number", [b"1e30", b"123456789012345678901234567890", b"-36893488147419103232", b"9.1e15"])
def test_an_integer_that_cannot_be_written_again_is_refused(number: bytes) -> None:
    """orjson reads integers beyond 64 bit as floats; as an int again, the digits would be made up and can't be sent."""
    with pytest.raises(BadRequest, match=r"^seed: expected an integer, got a number$"):
        Fields(orjson.loads(b'{"seed":%s}' % number)).integer("seed")


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53, 1e15])
def test_large_integers_are_taken_exactly(number: float) -> None:
    taken = Fields(orjson.loads(orjson.dumps({"seed": number}))).integer("seed")
    assert taken == number
    assert orjson.dumps(taken) == str(int(number)).encode()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b'""', "a string"),
        (b"true", "a boolean"),
        (b"1", "an integer"),
        (b"1.0", "a number"),
        (b"[]", "an array"),
        (b"{}", "an object"),
        (b"null", "null"),
    ],
)
def test_every_json_type_has_a_name(text: bytes, name: str) -> None:
    assert type_name(orjson.loads(text)) == name


def test_what_nobody_reads_is_named_with_the_object_it_is_in() -> None:
    fields = Fields({"a": {"b": 1, "c": {"d": 2, "e": None}}, "f": 3})
    inner = fields.need_object("a")
    assert inner.integer("b") == 1
    inner.need_object("c")
    assert fields.unread() == ("f", "a.c.d")


def test_a_string_may_stand_for_the_object_that_holds_it() -> None:
    for value in ("x", {"url": "x"}):
        fields = Fields({"image": value}, "messages.0")
        assert fields.union("image", "url").need_string("url") == "x"
        assert fields.unread() == ()
    with pytest.raises(BadRequest) as raised:
        Fields({"image": 7}, "messages.0").union("image", "url")
    assert raised.value.param == "messages.0.image"
