"""What the official SDKs' own types say of a request body: what is wrong with it, by its path.

Their request types are `TypedDict`s, which nothing checks at run time. A field that a type does not have is wrong too,
as the vendors refuse it.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, Required, Union, get_args, get_origin, get_type_hints

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses
from typing_extensions import is_typeddict

Json = dict[str, Any]
_Found = Iterator[tuple[str, str]]

TYPES: Final[Mapping[str, tuple[Any, Any]]] = {
    "openai": (chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming),
    "anthropic": (MessageCreateParamsNonStreaming, MessageCreateParamsStreaming),
    "responses": (responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
}


def faults(dialect: str, body: Json) -> list[str]:
    """What the vendor's SDK for this dialect would not let be sent; empty if nothing."""
    return [f"{path or 'body'}: {what}" for path, what in _check(body, TYPES[dialect]["stream" in body], "")]


def _check(value: Any, kind: Any, path: str) -> _Found:
    if is_typeddict(kind):
        return _check_dict(value, kind, path)
    origin = get_origin(kind)
    if origin is Required:
        return _check(value, get_args(kind)[0], path)
    check = _CHECKS.get(origin)
    return check(value, kind, path) if check else _check_plain(value, kind, path)


def _check_dict(value: Any, kind: Any, path: str) -> _Found:
    if not isinstance(value, dict):
        yield path, f"expected {kind.__name__}, got {type(value).__name__}"
        return
    hints = _hints(kind)
    for name in sorted(kind.__required_keys__ - value.keys()):
        yield f"{path}.{name}".lstrip("."), "missing"
    for name, item in value.items():
        where = f"{path}.{name}".lstrip(".")
        if name in hints:
            yield from _check(item, hints[name], where)
        else:
            yield where, f"not a field of {kind.__name__}"


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _check_union(value: Any, kind: Any, path: str) -> _Found:
    """Nothing where one of the types fits, else what is wrong with the one that fits best."""
    tries = [list(_check(value, option, path)) for option in get_args(kind)]
    if all(tries):
        yield from min(tries, key=lambda found: (_misses_type(found, path), len(found)))


def _misses_type(found: list[tuple[str, str]], path: str) -> bool:
    """Whether it is another kind of thing altogether."""
    return any(where in (path, f"{path}.type", f"{path}.role") for where, _ in found)


def _check_items(value: Any, kind: Any, path: str) -> _Found:
    if not isinstance(value, list):
        yield path, f"expected an array, got {type(value).__name__}"
        return
    for i, item in enumerate(value):
        yield from _check(item, get_args(kind)[0], f"{path}.{i}")


def _check_mapping(value: Any, kind: Any, path: str) -> _Found:
    if not isinstance(value, dict):
        yield path, f"expected an object, got {type(value).__name__}"
        return
    for name, item in value.items():
        yield from _check(item, get_args(kind)[1], f"{path}.{name}")


def _check_literal(value: Any, kind: Any, path: str) -> _Found:
    if value not in get_args(kind):
        yield path, f"expected one of {get_args(kind)}, got {value!r}"


def _check_plain(value: Any, kind: Any, path: str) -> _Found:
    if kind in (Any, object):
        return
    fits = (int, float) if kind is float else kind if isinstance(kind, type) else ()
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        yield path, f"expected {kind}, got {type(value).__name__}"


_CHECKS: Final[Mapping[Any, Callable[[Any, Any, str], _Found]]] = {
    Union: _check_union,
    UnionType: _check_union,
    Literal: _check_literal,
    list: _check_items,
    collections.abc.Iterable: _check_items,
    collections.abc.Sequence: _check_items,
    dict: _check_mapping,
    collections.abc.Mapping: _check_mapping,
}
