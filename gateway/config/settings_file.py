"""YAML text → plain values, each with its line, and with references to the environment filled in.

Every scalar stays text: whether it is a number, a flag or a name is the schema's to say. So the model name `4.10`
needs no quotes, `no` is no boolean, and a value means the same whether it was written down or came from the
environment. Anchors, aliases and tags are refused, and so are a repeated key, a deep nest and a large file: a small
file can't become a large value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import yaml

Path = tuple[str | int, ...]

# Thousands of routes fit into a tenth of this; what is larger is not a configuration.
MAX_FILE_BYTES: Final = 1024 * 1024
# Ours is six levels deep; the parser recurses once per level.
MAX_DEPTH: Final = 32


class Plain(str):
    """Text written without quotes. Where the schema takes anything, `meant` makes a number or a flag of it."""

    __slots__ = ()


class ConfigError(Exception):
    """A configuration that can't be used. `messages` holds every problem found, each with its file, line and path.

    No message holds a value that came from the environment.
    """

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages: Final = list(messages)
        super().__init__("\n".join(self.messages))


class NoFile(ConfigError):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a place of the file."""

    line: int
    path: Path
    text: str

    def told(self, source: str) -> str:
        """The problem in one line, as an editor can follow it."""
        text = f"{spelled(self.path)}: {self.text}" if self.path else self.text
        return f"{source}:{self.line}: " + "".join(letter if letter.isprintable() else "?" for letter in text)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file says. `from_environment` are the places whose text came, in part, from the environment."""

    values: dict[str, Any]
    lines: Mapping[Path, int]
    from_environment: frozenset[Path]
    problems: tuple[Problem, ...]

    def known(self, path: Path) -> Path:
        """The place itself, or where it isn't written in the file the nearest one around it that is."""
        while path and path not in self.lines:
            path = path[:-1]
        return path


def read(text: str | bytes, source: str, environ: Mapping[str, str]) -> Settings:
    """The settings in a YAML text. Raises `ConfigError` where it can't be read at all."""
    document = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(document) > MAX_FILE_BYTES:
        raise ConfigError([f"{source}: larger than the limit of {MAX_FILE_BYTES} bytes"])
    root = _composed(document, source)
    reader = _Reader(environ)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{source}:1: expected a mapping with upstreams and routes, not {_kind(root)}"])
    values = reader.mapping(root, ())
    return Settings(values, reader.lines, frozenset(reader.from_environment), tuple(reader.problems))


def meant(value: object) -> object:
    """A value whose type no schema knows, as JSON has it: without quotes, numbers and flags are what they look like."""
    match value:
        case dict():
            return {name: meant(inner) for name, inner in value.items()}
        case list():
            return [meant(inner) for inner in value]
        case Plain():
            return _meant(value)
        case _:
            return value


def _meant(text: Plain) -> object:
    try:
        return orjson.loads(text.encode()) if re.fullmatch(r"-?[0-9][0-9.eE+-]*|true|false", text) else str(text)
    except orjson.JSONDecodeError:
        return str(text)


def spelled(path: Path) -> str:
    """A path as people write it: `routes.deepseek.targets[1].upstream`; names that hold more are in quotes."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def _name(part: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_*/:@-]+", part):
        return part
    return '"' + part[:64].encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def _kind(node: yaml.Node | None) -> str:
    match node:
        case yaml.SequenceNode():
            return "a list"
        case yaml.ScalarNode():
            return "a single value"
        case _:
            return "an empty file"


class _Loader(yaml.SafeLoader):
    """Composes plain nodes only. Constructs nothing: we read the nodes ourselves."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._refuse(event, getattr(event, "anchor", None), "anchors and aliases are not accepted; write it out")
        self._refuse(event, getattr(event, "tag", None), "tags are not accepted; every value is plain text")
        self._refuse(event, self.depth >= MAX_DEPTH, f"nested deeper than {MAX_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, event: Any, flaw: object, problem: str) -> None:
        if flaw:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)


def _composed(document: bytes, source: str) -> yaml.Node | None:
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = document.count(b"\n", 0, wrong.start) + 1
        raise ConfigError([f"{source}:{line}: not UTF-8 at byte {wrong.start}"]) from None
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        why = " ".join(filter(None, (wrong.context, wrong.problem)))
        if mark and text[mark.index - 1 : mark.index + 1] == "${":
            why = 'inside { } a reference needs quotes, like "${NAME}"'
        raise ConfigError([f"{source}:{mark.line + 1 if mark else 1}: {why}"]) from None
    except yaml.reader.ReaderError as wrong:
        line = text.count("\n", 0, wrong.position) + 1
        raise ConfigError([f"{source}:{line}: a control character, which YAML doesn't allow"]) from None


# `$$` is a dollar; a reference that is not well-formed matches as its first two characters alone.
_REFERENCE: Final = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\})?")


class _Reader:
    """Nodes → values; collects on the way where they stand and what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self.from_environment: set[Path] = set()
        self.problems: list[Problem] = []
        self._environ = environ

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(line, path, f"a name must be text, not {_kind(key)}"))
            elif key.value in values:
                first = self.lines[*path, key.value]
                self.problems.append(Problem(line, (*path, key.value), f"given twice, first on line {first}"))
            else:
                self.lines[*path, key.value] = line
                values[key.value] = self._value(value, (*path, key.value))
        return values

    def _value(self, node: yaml.Node, path: Path) -> object:
        match node:
            case yaml.MappingNode():
                return self.mapping(node, path)
            case yaml.SequenceNode():
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode() if not node.tag.endswith(":null"):
                return self._text(node, path)
            case _:
                return None

    def _item(self, node: yaml.Node, path: Path) -> object:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        text = _REFERENCE.sub(lambda match: self._referred(match, node, path), node.value)
        return Plain(text) if node.style is None else text

    def _referred(self, reference: re.Match[str], node: yaml.Node, path: Path) -> str:
        whole, name, default = reference[0], reference[1], reference[2]
        if whole == "$$":
            return "$"
        self.from_environment.add(path)
        value = self._environ.get(name) if name else None
        if name and (value or default is not None):
            return value or default
        remedy = (
            f"export it, or write ${{{name}:-DEFAULT}}" if value is None else f"write ${{{name}:-}} if that is meant"
        )
        why = f"is {'not set' if value is None else 'empty'}; {remedy}"
        flaw = f"environment variable {name} {why}" if name else _NO_REFERENCE
        self.problems.append(Problem(node.start_mark.line + 1, path, flaw))
        return whole


_NO_REFERENCE: Final = "${ without a name and }; write ${NAME}, ${NAME:-default}, or $$ for a dollar"
