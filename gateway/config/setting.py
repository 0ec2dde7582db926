"""The settings of a section as a list, for whoever shows them: read off the section, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.config.balance import Balance
from gateway.config.section import Section
from gateway.config.units import Unit, spelled_size, spelled_time

_WORDS: Final = {None: "none", True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its path below the section, its value, how one would write it, and whether somebody did."""

    path: str
    value: Any
    text: str
    is_written: bool


def settings(
    section: Section, besides: Collection[str] = (), above: str = "", *, is_written: bool = True
) -> Iterator[Setting]:
    """All settings of a section and of those in it, `besides` some of its own. Secrets are never told.

    `is_written`: whether the section itself stands in the file, and not only its defaults.
    """
    for name, field in type(section).model_fields.items():
        value, path, own = getattr(section, name), above + name, is_written and name in section.model_fields_set
        if name in besides or isinstance(value, SecretStr):
            continue
        if isinstance(value, Section):
            yield from _inner(value, path, is_written=own)
        else:
            yield Setting(path, value, _spelled(value, field), own)


def _inner(section: Section, path: str, *, is_written: bool) -> Iterator[Setting]:
    """One that is written as a word is told as that word."""
    match section.model_dump():
        case str(word):
            yield Setting(path, word, word, is_written)
        case _ if isinstance(section, Balance):
            yield Setting(path, section.name, section.name, is_written)
            yield from _inner(section.way, f"{path}.{section.name}", is_written=is_written)
        case _:
            yield from settings(section, above=f"{path}.", is_written=is_written)


def _spelled(value: Any, field: FieldInfo) -> str:
    if isinstance(value, bool) or value is None:
        return _WORDS[value]
    if not isinstance(value, int | float):
        return str(value)
    marks = [*field.metadata, *(mark for inner in get_args(field.annotation) for mark in _marks(inner))]
    if Unit.TIME in marks:
        return spelled_time(value)
    return spelled_size(int(value)) if Unit.SIZE in marks else str(value)


def _marks(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__metadata__", ())
