"""A request body: bytes → one JSON object, within limits that keep it cheap (HARDENING.md 1.8, §2)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.errors import BadRequest
from gateway.wire.fields import type_name

MAX_DEPTH: Final = 100
"""Levels of nesting. orjson reads 1,024 and writes 254, so a body between the two would crash a transcoder."""
MAX_CONTAINERS: Final = 1_000_000
"""Brackets in the body's text. Each is some 56 bytes once decoded, far more than the byte it came as."""


def decode(body: bytes) -> dict[str, Any]:
    """The object, or BadRequest. orjson itself refuses NaN, lone surrogates and invalid UTF-8."""
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise BadRequest(f"body: more than {MAX_CONTAINERS} arrays and objects")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not valid JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(value, dict):
        raise BadRequest(f"body: expected an object, got {type_name(value)}")
    if is_deeper(value, MAX_DEPTH):
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
