"""Typed getters over decoded JSON that name the field at fault.

`Fields` is one object of a request body. Each getter takes a field away: what is left in the end is what nobody knew.
`null` is the same as absent. Errors give the wire path, what was expected and the type seen, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeVar

from gateway.errors import BadRequest

Json = dict[str, Any]
T = TypeVar("T")

_MAX_EXACT = 2**53
"""Beyond it a float isn't one certain integer, and orjson, which reads larger integers as floats, can't write them."""

_EMPTY: tuple[object, ...] = (None, [], {})

_TYPE_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def type_name(value: object) -> str:
    """The JSON type of a decoded value, with its article."""
    return _TYPE_NAMES[type(value)]


def join(path: str, name: str | int) -> str:
    """`messages.2` and `content` → `messages.2.content`."""
    return f"{path}.{name}" if path else str(name)


def reject(path: str, expected: str, value: object) -> NoReturn:
    """Raises BadRequest for a value of the wrong type."""
    raise BadRequest(f"{path}: expected {expected}, got {type_name(value)}", param=path)


def fields_of(value: object, path: str) -> Fields:
    """The value as an object at this path, or BadRequest."""
    if not isinstance(value, dict):
        reject(path or "body", "an object", value)
    return Fields(value, path)


class Fields:
    """One JSON object on its way to becoming a value."""

    __slots__ = ("_left", "_opened", "path")

    def __init__(self, data: Json, path: str = "") -> None:
        self._left = dict(data)
        self._opened: dict[str, Fields] = {}
        self.path = path

    def at(self, name: str | int) -> str:
        """The wire path of a field."""
        return join(self.path, name)

    def has(self, name: str) -> bool:
        """Whether the field is still there and not null."""
        return self._left.get(name) is not None

    def rest(self) -> Json:
        """What no getter took, nulls left out."""
        return {name: value for name, value in self._left.items() if value is not None}

    def unread(self) -> tuple[str, ...]:
        """The names of what no getter took, without what is empty and so says nothing; objects in it included."""
        left = tuple(name for name, value in self._left.items() if value not in _EMPTY)
        inner = (f"{name}.{unread}" for name, opened in self._opened.items() for unread in opened.unread())
        return (*left, *inner) if self._opened else left

    def take(self, name: str) -> Any:
        """The field as it is, `None` if absent."""
        return self._left.pop(name, None)

    def string(self, name: str) -> str | None:
        value = self._left.pop(name, None)
        return value if value is None or type(value) is str else reject(self.at(name), "a string", value)

    def need_string(self, name: str) -> str:
        return self._needed(name, self.string(name), "a string")

    def boolean(self, name: str) -> bool | None:
        value = self._left.pop(name, None)
        return value if value is None or type(value) is bool else reject(self.at(name), "a boolean", value)

    def integer(self, name: str, low: int | None = None) -> int | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) <= _MAX_EXACT:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            reject(self.at(name), "an integer", value)
        if low is not None and value < low:
            self.refuse(name, f"expected an integer of at least {low}, got {value}")
        return value

    def number(self, name: str, low: float | None = None, high: float | None = None) -> float | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            reject(self.at(name), "a number", value)
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            self.refuse(name, f"expected a number {bounds}, got {value:g}")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        """An array of strings; a lone string counts as one."""
        value = self._left.pop(name, None)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list):
            reject(self.at(name), "a string or an array of strings", value)
        for i, item in enumerate(value):
            if not isinstance(item, str):
                reject(join(self.at(name), i), "a string", item)
        return tuple(value)

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        """A string out of a closed set."""
        value = self.string(name)
        if value is not None and value not in allowed:
            self.refuse(name, f"expected one of {', '.join(allowed)}, got {value[:32]!r}")
        return value

    def need_choice(self, name: str, allowed: Collection[str]) -> str:
        return self._needed(name, self.choice(name, allowed), f"one of {', '.join(allowed)}")

    def mapping(self, name: str) -> Json | None:
        value = self._left.pop(name, None)
        return value if value is None or type(value) is dict else reject(self.at(name), "an object", value)

    def object(self, name: str) -> Fields | None:
        value = self.mapping(name)
        if value is None:
            return None
        opened = self._opened[name] = Fields(value, self.at(name))
        return opened

    def need_object(self, name: str) -> Fields:
        return self._needed(name, self.object(name), "an object")

    def union(self, name: str, inner: str) -> Fields:
        """An object, or a string in place of the one with that string in its field `inner`."""
        if isinstance(alone := self._left.get(name), str):
            self._left[name] = {inner: alone}
        return self.need_object(name)

    def array(self, name: str) -> list[Any] | None:
        value = self._left.pop(name, None)
        return value if value is None or type(value) is list else reject(self.at(name), "an array", value)

    def objects(self, name: str) -> list[Fields]:
        """An array of objects; empty if absent."""
        return [fields_of(item, join(self.at(name), i)) for i, item in enumerate(self.array(name) or ())]

    def each(self, name: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """Every object of an array, read."""
        return tuple(read(fields) for fields in self.objects(name))

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raises BadRequest about a field."""
        raise BadRequest(f"{self.at(name)}: {why}", param=self.at(name))

    def _needed(self, name: str, value: T | None, expected: str) -> T:
        if value is None:
            raise BadRequest(f"{self.at(name)}: expected {expected}, got nothing", param=self.at(name))
        return value
