"""Every setting of `routes.yaml`, from its JSON Schema, which is made of the sections that read the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.config import schema
from gateway.config.units import DURATION
from gateway.dialects import DIALECTS
from tests.docs.reference.markdown import code, table
from tests.docs.reference.markdown import page as joined

Node = Mapping[str, Any]
_INTRODUCTION: Final = """\
# Settings

All that `routes.yaml` may say. Printed from the code that reads the file; `make docs` writes this page, and
`triglot schema` prints the same as a JSON Schema for your editor. `triglot check` names every problem of a file at
once, with its line.

- Durations are written like `250ms`, `60s`, `10m`, `1h`; sizes like `64KiB`, `32MiB`, `8MB`. A bare number is refused.
- `${NAME}` in any value is filled in from the environment; `${NAME:-text}` has a default.
- Unknown settings are refused. Nothing is read from anywhere but the file, the environment where it says so, and the
  command line.
- `NAME` in a heading stands for a name of yours, `[]` for each entry of a list.
"""
_OPTIONS: Final = """\
## Options of {} upstreams

Under `upstreams.NAME.options`, where `dialect` is `{}`. {}
"""
_PROFILES: Final = "What each `profile` sets is [a table](../translation.md#profiles-of-{}-upstreams)."
_KINDS: Final = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the file: where it stands, what it is for, its settings."""

    path: str
    about: str
    rows: tuple[tuple[str, str, str, str], ...]
    """Name, values, default, meaning."""


def page() -> str:
    """The page, in Markdown."""
    return joined(_INTRODUCTION, *(_spelled(section) for section in sections()), *_options())


def sections() -> Iterator[Section]:
    """All sections that a file may have, as deep as they go, the whole first."""
    whole = schema()
    yield from _sections(whole, "", whole["$defs"])


def paths() -> set[str]:
    """All settings, by the path of each."""
    told = {f"{section.path}.{row[0]}".lstrip(".") for section in sections() for row in section.rows}
    for name in DIALECTS:
        told |= {f"upstreams.NAME.options.{name}:{option}" for option in _options_of(name)["properties"]}
    return told


def _sections(node: Node, path: str, known: Mapping[str, Node]) -> Iterator[Section]:
    required = node.get("required", ())
    rows = tuple(
        (name, _values(inner, known), _default(inner, is_required=name in required), _meaning(inner))
        for name, inner in node["properties"].items()
    )
    yield Section(path, node.get("description", ""), rows)
    for name, inner in node["properties"].items():
        for below, ending in _below(inner, known):
            yield from _sections(below, f"{path}.{name}{ending}".lstrip("."), known)


def _below(node: Node, known: Mapping[str, Node], ending: str = "") -> Iterator[tuple[Node, str]]:
    """The sections in a value, each with what the path to it is longer by."""
    if "$ref" in node:
        yield from _below(known[node["$ref"].rpartition("/")[2]], known, ending)
    for inner in node.get("anyOf", ()):
        yield from _below(inner, known, ending)
    for inner in node.get("patternProperties", {}).values():
        yield from _below(inner, known, f"{ending}.NAME")
    if isinstance(node.get("items"), Mapping):
        yield from _below(node["items"], known, f"{ending}[]")
    if node.get("properties"):
        yield node, ending


def _values(node: Node, known: Mapping[str, Node]) -> str:
    """What may be written."""
    return " or ".join(dict.fromkeys(_each_value(node, known))) or "as the dialect has them"


def _each_value(node: Node, known: Mapping[str, Node]) -> Iterator[str]:
    if "$ref" in node:
        yield from _each_value(known[node["$ref"].rpartition("/")[2]], known)
    elif "anyOf" in node:
        for inner in node["anyOf"]:
            yield from _each_value(inner, known)
    elif "enum" in node or "const" in node:
        yield ", ".join(code(value) for value in node.get("enum", [node.get("const")]))
    elif "properties" in node:
        yield "a section" if node["properties"] else "nothing more"
    elif "patternProperties" in node:
        yield "a section for each name"
    elif "items" in node:
        yield f"a list, of {_values(node['items'], known)} each"
    elif node.get("type") == "object":
        yield "names and values"
    elif node.get("type") not in (None, "null"):
        yield _scalar(node)


def _scalar(node: Node) -> str:
    pattern = node.get("pattern", "")
    if node.get("writeOnly"):
        return "a secret"
    if "KiB" in pattern:
        return "a size"
    if DURATION.pattern in pattern:
        return "a duration or `p95`" if "p95" in pattern else "a duration"
    kind = node["type"][0] if isinstance(node["type"], list) else node["type"]
    return _KINDS[kind] + _bounds(node)


def _bounds(node: Node) -> str:
    least, most, above = node.get("minimum"), node.get("maximum"), node.get("exclusiveMinimum")
    beginning = f"above {above:,}" if above is not None else f"from {least:,}" if least is not None else ""
    end = f"to {most:,}" if most is not None else ""
    return f", {beginning} {end}".rstrip() if beginning or end else ""


def _default(node: Node, *, is_required: bool) -> str:
    if is_required:
        return "**required**"
    if "default" not in node:
        return "" if "$ref" in node or "anyOf" in node or "patternProperties" in node else "by dialect"
    value = node["default"]
    if value is None:
        return "none"
    if value in ([], {}, ""):
        return "empty"
    return ", ".join(map(code, value)) if isinstance(value, list) else code(_yaml(value))


def _yaml(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _meaning(node: Node) -> str:
    return str(node.get("description", ""))


def _spelled(section: Section) -> str:
    title = f"`{section.path}`" if section.path else "The file"
    rows = ((code(name), values, default, meaning) for name, values, default, meaning in section.rows)
    about = (f"{' '.join(section.about.split())}\n",) if section.about else ()
    return joined(f"## {title}\n", *about, table(("setting", "values", "default", "what it is for"), rows))


def _options() -> Iterator[str]:
    for name, dialect in DIALECTS.items():
        profiles = _PROFILES.format(name) if dialect.profiles is not None else ""
        yield joined(_OPTIONS.format(name, name, profiles).rstrip() + "\n", table(*_options_table(name)))


def _options_table(dialect: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    known = _options_of(dialect)
    rows = [
        (code(name), _values(node, {}), _option_default(node), _meaning(node))
        for name, node in known["properties"].items()
    ]
    return ("option", "values", "default", "what it says"), rows


def _option_default(node: Node) -> str:
    value = node.get("default", {})
    return "as `profile` has it" if value is None else _default({**node, "default": value}, is_required=False)


def _options_of(dialect: str) -> Node:
    conditions = schema()["$defs"]["Upstream"]["allOf"]
    found: Node = next(each for each in conditions if each["if"]["properties"]["dialect"]["const"] == dialect)
    options: Node = found["then"]["properties"]["options"]
    return options
