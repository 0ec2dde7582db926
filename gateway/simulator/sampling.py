"""Values that match a JSON schema: what the simulator answers with, or calls a tool with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

CITIES: Final = ("Oslo", "Rome", "Lima")
"""What a string is; the number of the call picks one."""

_MAX_DEPTH: Final = 6
"""Deeper than this only what is required is filled in: a schema may contain itself."""

_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "oslo@example.com",
    "uri": "https://example.com/oslo",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def arguments(schema: Json | None, number: int = 0) -> dict[str, Any]:
    """An object for a tool's schema; `number` varies it."""
    value = _Sampler(schema or {}, number).value(schema or {}, 0)
    return value if isinstance(value, dict) else {}


def value(schema: Json, number: int = 0) -> Any:
    """Anything that matches a schema."""
    return _Sampler(schema, number).value(schema, 0)


class _Sampler:
    def __init__(self, root: Json, number: int) -> None:
        self._root = root
        self._number = number

    def value(self, schema: Json, depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._number % len(schema["enum"])]
        if "$ref" in schema:
            return self.value(self._resolve(schema["$ref"]), depth + 1)
        if "allOf" in schema:
            return self._merged(schema, depth)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return self.value(next((one for one in branches if one.get("type") != "null"), branches[0]), depth)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Json, depth: int) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        make = self._MAKERS.get(kind) if isinstance(kind, str) else None
        return make(self, schema, depth) if make else None

    def _object(self, schema: Json, depth: int) -> Any:
        wanted = schema.get("properties") or {}
        if depth > _MAX_DEPTH:
            wanted = {name: wanted[name] for name in schema.get("required") or () if name in wanted}
        return {name: self.value(inner, depth + 1) for name, inner in wanted.items()}

    def _array(self, schema: Json, depth: int) -> Any:
        count = max(schema.get("minItems") or 0, 0 if depth > _MAX_DEPTH else 1)
        return [self.value(schema.get("items") or {"type": "string"}, depth + 1) for _ in range(count)]

    def _string(self, schema: Json, depth: int) -> Any:
        return _FORMATS.get(schema.get("format") or "") or CITIES[self._number % len(CITIES)]

    def _integer(self, schema: Json, depth: int) -> Any:
        return min(max(3 + self._number, schema.get("minimum", 3)), schema.get("maximum", 1 << 31))

    def _float(self, schema: Json, depth: int) -> Any:
        return min(max(1.5 + self._number, schema.get("minimum", 1.5)), schema.get("maximum", 1e9))

    def _boolean(self, schema: Json, depth: int) -> Any:
        return self._number % 2 == 0

    def _merged(self, schema: Json, depth: int) -> Any:
        """Objects joined; anything else is what the first branch says."""
        values = [self.value(branch, depth + 1) for branch in schema["allOf"]]
        if not all(isinstance(one, dict) for one in values):
            return values[0]
        rest = {key: inner for key, inner in schema.items() if key != "allOf"}
        own = self._object(rest, depth)
        return {key: inner for one in (*values, own) for key, inner in one.items()}

    def _resolve(self, ref: str) -> Json:
        found: Any = self._root
        for name in ref.removeprefix("#/").split("/") if ref != "#" else ():
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    _MAKERS: Final[Mapping[str, Callable[[_Sampler, Json, int], Any]]] = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _integer,
        "number": _float,
        "boolean": _boolean,
    }
