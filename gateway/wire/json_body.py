"""A request body: bytes → one JSON object, within limits that keep it cheap (HARDENING.md 1.8, §2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from gateway.errors import BadRequest
from gateway.wire.fields import type_name

MAX_DEPTH: Final = 100
"""Levels of nesting. orjson reads 1,024 and writes 254, so a body between the two would crash a transcoder."""
MAX_NODES: Final = 100_000
"""Arrays, objects and fields. orjson holds the interpreter while it reads, up to 0.15 µs for each of them, so that no
other stream moves: 15 ms. Ten thousand messages with their parts are 70,000."""
MAX_VALUES: Final = 250_000
"""Values in arrays and objects, numbers above all: up to 0.07 µs each."""

_STEP: Final = 64 * 1024
"""Bytes looked at in one go while counting: other threads run in between. A body of so few holds no more nodes."""


def decode(body: bytes | bytearray) -> dict[str, Any]:
    """The object, or BadRequest. orjson itself refuses NaN, lone surrogates and invalid UTF-8."""
    _check_size(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not valid JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(value, dict):
        raise BadRequest(f"body: expected an object, got {type_name(value)}")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise BadRequest(f"body: nested deeper than {MAX_DEPTH} levels")
    return value


def is_deeper(value: Any, limit: int) -> bool:
    """Whether arrays and objects nest more than `limit` levels; level by level, so no recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _check_size(body: bytes | bytearray) -> None:
    """Raises BadRequest for more nodes or values than are read in one go. Brackets in strings don't count."""
    if len(body) <= _STEP or (_nodes(body) <= MAX_NODES and body.count(b",") < MAX_VALUES):
        return
    nodes = commas = 0
    for piece in _outside_strings(body):
        nodes += _nodes(piece)
        commas += piece.count(b",")
        if nodes > MAX_NODES:
            raise BadRequest(f"body: more than {MAX_NODES} arrays, objects and fields")
        if commas >= MAX_VALUES:
            raise BadRequest(f"body: more than {MAX_VALUES} values")


def _nodes(text: bytes | bytearray) -> int:
    return text.count(b"{") + text.count(b"[") + text.count(b":")


def _outside_strings(body: bytes | bytearray) -> Iterator[bytes]:
    """What stands outside of strings, piece by piece. A backslash there is no JSON: what follows isn't read anyway."""
    position, is_inside = 0, False
    while position < len(body):
        piece = bytes(body[position : position + _STEP])
        position += len(piece)
        if b"\\" in piece:
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # never between a backslash and what it escapes
                piece += body[position : position + 1]
                position += 1
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0
