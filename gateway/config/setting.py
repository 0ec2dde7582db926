"""The settings of a section as a list, for whoever shows them: read off the section, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.config.balance import Balance
from gateway.config.section import Section
from gateway.config.units import IS_SIZE, IS_TIME, spelled_size, spelled_time

_WORDS: Final = {None: "none", True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its path below the section, its value, how one would write it, and whether somebody did."""

    path: str
    value: Any
    text: str
    is_written: bool


def settings(section: Section, besides: Collection[str] = (), above: str = "") -> Iterator[Setting]:
    """All settings of a section and the sections in it, `besides` some of its own. Secrets are never told."""
    for name, field in type(section).model_fields.items():
        value, path = getattr(section, name), above + name
        if name in besides or isinstance(value, SecretStr):
            continue
        if isinstance(value, Balance):
            yield Setting(path, value.name, value.name, name in section.model_fields_set)
            yield from settings(value.way, above=f"{path}.{value.name}.")
        elif isinstance(value, Section):
            yield from settings(value, above=f"{path}.")
        else:
            yield Setting(path, value, _spelled(value, field), name in section.model_fields_set)


def _spelled(value: Any, field: FieldInfo) -> str:
    if isinstance(value, bool) or value is None:
        return _WORDS[value]
    marks = [*field.metadata, *(mark for inner in get_args(field.annotation) for mark in _marks(inner))]
    if IS_TIME in marks:
        return spelled_time(value)
    return spelled_size(value) if IS_SIZE in marks else str(value)


def _marks(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__metadata__", ())
