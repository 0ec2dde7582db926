"""Values made from schemas match them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulator.sampling import arguments, value

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "Oslo"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": ["null", "integer"]}, 3),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "maximum": 1}, 1),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [3, 3]),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}}], "properties": {"b": {"const": 1}}},
            {"a": "Oslo", "b": 1},
        ),
        ({"allOf": [{"type": "string"}]}, "Oslo"),
        ({"$ref": "#/$defs/city", "$defs": {"city": {"enum": ["Rome"]}}}, "Rome"),
        ({"properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}, {"a": {"b": "Oslo"}}),
    ],
)
def test_a_value_matches_its_schema(schema: dict[str, Any], expected: Any) -> None:
    assert value(schema) == expected


def test_the_number_varies_it() -> None:
    schema = {"properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}}}
    assert [arguments(schema, number) for number in (0, 1)] == [
        {"city": "Oslo", "unit": "c"},
        {"city": "Rome", "unit": "f"},
    ]


def test_a_schema_that_contains_itself_ends() -> None:
    found = value({"$ref": "#/$defs/node", "$defs": {"node": NODE}})
    depth = 0
    while found:
        found, depth = found["next"], depth + 1
    assert 1 <= depth < 10


def test_arguments_are_always_an_object() -> None:
    assert arguments(None) == arguments({"type": "string"}) == {}
