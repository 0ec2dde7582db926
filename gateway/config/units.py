"""Durations and sizes as people write them: `60s`, `250ms`, `10m`; `64KiB`, `32MiB`, `8MB`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.config.complaints import flaw


class Unit(Enum):
    """What the number of a setting counts; stands in the annotation of the setting."""

    TIME = auto()
    SIZE = auto()


_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
DURATION: Final = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)({'|'.join(_SECONDS)})")
_SIZE: Final = re.compile(rf"([0-9]{{1,9}})({'|'.join(_BYTES)})")


def seconds(value: object) -> object:
    """A duration as text in seconds; what isn't text passes as it is."""
    if not isinstance(value, str):
        return value
    if parts := DURATION.fullmatch(value):
        return float(parts[1]) * _SECONDS[parts[2]]
    raise _misspelled(value, "a duration", "60s, 250ms or 10m")


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    if parts := _SIZE.fullmatch(value):
        return int(parts[1]) * _BYTES[parts[2]]
    raise _misspelled(value, "a size", "64KiB, 32MiB or 8MB")


def _misspelled(value: str, what: str, like: str) -> PydanticCustomError:
    is_bare = re.fullmatch(r"[0-9.]+", value) is not None
    why = f"{what} needs a unit, like {like}" if is_bare else f"not {what}; write it like {like}"
    return flaw(f"{{seen}}: {why}")


def _spelling(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^{pattern.pattern}$|\$\{{"})


def spelled_time(seconds: float) -> str:
    """A duration as one would write it: `60s`, `250ms`, `10m`."""
    return _written(seconds, _SECONDS)


def spelled_size(size: int) -> str:
    """A size as one would write it: `64KiB`, `32MiB`, `1500B`."""
    return _written(size, {unit: of for unit, of in _BYTES.items() if unit == "B" or "i" in unit})


def _written(value: float, units: Mapping[str, float]) -> str:
    """In the largest unit that takes no fraction, else in the smallest."""
    fitting = [unit for unit, of in units.items() if value >= of and round(value / of, 6).is_integer()]
    unit = fitting[-1] if fitting else next(iter(units))
    return f"{round(value / units[unit], 6):g}{unit}"


# From code a plain number is taken as seconds or bytes; in a file every value is text, so there it is refused.
Seconds = Annotated[float, Field(gt=0), BeforeValidator(seconds), Unit.TIME, _spelling(DURATION)]
"""A time above zero, in seconds."""
SecondsOrNone = Annotated[float, Field(ge=0), BeforeValidator(seconds), Unit.TIME, _spelling(DURATION)]
"""A time in seconds; zero means no wait at all."""
Bytes = Annotated[int, Field(gt=0), BeforeValidator(_size), Unit.SIZE, _spelling(_SIZE)]
"""A size above zero, in bytes."""
