"""Values that are made for each token, or several of them for each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def quick_value(kind: type[T]) -> type[T]:
    """A slotted dataclass that the type checker holds frozen, and the interpreter does not.

    `frozen=True` sets each field through `object.__setattr__`: 0.6 to 1.1 µs to make one of three fields, against 0.3.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)
