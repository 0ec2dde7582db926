"""Tool schemas as Anthropic takes them: one object at the root, without alternatives (mapping.md §5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.dialects.tools import object_schema
from gateway.neutral.request import JsonSchemaFormat

Schema = Mapping[str, Any]

_NAMING: Final = ("$schema", "$id")
_ANY: Final = ("oneOf", "anyOf")
_COMBINING: Final = (*_ANY, "allOf")


def input_schema(schema: Schema | None) -> tuple[Schema, bool]:
    """The schema with a root that Anthropic takes, and whether that says less than the client's did.

    The branches of a `oneOf`, `anyOf` or `allOf` at the root become one object: it has the properties of all, and
    requires what each branch requires, or, of an `allOf`, what any does. Everything else stays, in its order.
    """
    root = dict(object_schema(schema))
    for name in _NAMING:
        root.pop(name, None)
    if root["type"] != "object" and "object" in _listed(root["type"]):
        root["type"] = "object"
    combined = [name for name in _COMBINING if isinstance(root.get(name), list)]
    return (_merged(root, combined), True) if combined else (root, False)


def described_schema(form: JsonSchemaFormat) -> Schema:
    """The schema of an answer with what was said about it, for which this API has no field of its own."""
    if not form.description:
        return form.schema
    about = form.schema.get("description")
    return {**form.schema, "description": f"{form.description}\n\n{about}" if about else form.description}


def _merged(root: Schema, combined: list[str]) -> Schema:
    properties = dict(_object(root.get("properties")))
    required = _names(root.get("required"))
    told = []
    for name in combined:
        branches = [branch for branch in (_resolved(b, root) for b in root[name]) if _is_object(branch)]
        for branch in branches:
            _add(properties, _object(branch.get("properties")))
        needed = [_names(branch.get("required")) for branch in branches]
        required += _in_any(needed) if name == "allOf" else _in_all(needed)
        if name != "allOf":
            told.append(_alternatives(needed))
    merged: dict[str, Any] = {}
    for name, value in root.items():
        if name not in combined:
            merged[name] = value
        elif "properties" not in root:
            merged["properties"] = properties
    if "properties" in merged:
        merged["properties"] = properties
    if required:
        merged["required"] = list(dict.fromkeys(required))
    if text := " ".join(part for part in (str(merged.get("description", "")), *told) if part):
        merged["description"] = text
    return merged


def _add(properties: dict[str, Any], others: Schema) -> None:
    """Two branches may mean different things by one name: then either is right."""
    for name, schema in others.items():
        known = properties.setdefault(name, schema)
        if known != schema:
            either = known["anyOf"] if isinstance(known, dict) and set(known) == {"anyOf"} else [known]
            properties[name] = {"anyOf": either if schema in either else [*either, schema]}


def _names(value: Any) -> list[str]:
    return [name for name in _listed(value) if isinstance(name, str)]


def _in_all(lists: list[list[str]]) -> list[str]:
    return [name for name in lists[0] if all(name in names for names in lists)] if lists else []


def _in_any(lists: list[list[str]]) -> list[str]:
    return [name for names in lists for name in names]


def _alternatives(needed: list[list[str]]) -> str:
    """What the branches ask for, in words, as the schema can't say it any more."""
    sets = [", ".join(names) for names in needed if names]
    return f"Give one of these sets of properties: {'; or '.join(sets)}." if len(sets) > 1 else ""


def _resolved(branch: Any, root: Schema) -> Any:
    """A branch that only names a definition at the root, as that definition."""
    for _ in range(_MAX_LINKS):
        link = branch.get("$ref") if isinstance(branch, dict) else None
        if not isinstance(link, str) or not link.startswith("#/"):
            break
        branch = _at(root, link[2:].split("/"))
    return branch


def _at(root: Schema, path: Iterable[str]) -> Any:
    found: Any = root
    for name in path:
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _is_object(branch: Any) -> bool:
    return isinstance(branch, dict) and ("object" in _listed(branch.get("type", "object")))


def _object(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


_MAX_LINKS: Final = 8
"""Definitions that only name another definition; more of them are a loop."""
