"""Changes a stream where it matters: frames swapped, doubled or dropped, one JSON value of one frame replaced.

Bytes changed at random nearly always break the JSON, which a decoder sees at once; these changes reach what is behind.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import orjson

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, 1, -1, 7, 2**63, 1.5, "", " ", "x", "stop", "tool_use", "text", "function", "\u2028"),
    *([], {}, [{}], {"x": 1}, '{"a":', '{"a":1}', "}", "x" * 3000, [[[]]]),
)


def mutate(data: bytes, max_size: int, seed: int) -> bytes | None:
    """Another input, or None where this one has no frames to change."""
    random = Random(seed)
    frames = data[1:].split(b"\n\n")
    if len(frames) < 2:
        return None
    for _ in range(random.randint(1, 3)):
        random.choice(CHANGES)(frames, random)
    choices = bytes([random.randrange(256) if random.random() < 0.2 else data[0]])
    return (choices + b"\n\n".join(frames))[:max_size]


def _swap(frames: list[bytes], random: Random) -> None:
    a, b = random.randrange(len(frames)), random.randrange(len(frames))
    frames[a], frames[b] = frames[b], frames[a]


def _double(frames: list[bytes], random: Random) -> None:
    frames.insert(random.randrange(len(frames)), random.choice(frames))


def _drop(frames: list[bytes], random: Random) -> None:
    if len(frames) > 1:
        del frames[random.randrange(len(frames))]


def _replace(frames: list[bytes], random: Random) -> None:
    at = random.randrange(len(frames))
    head, mark, body = frames[at].partition(b"data: ")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    places = list(_places(value))
    if mark and places:
        inner, key = random.choice(places)
        inner[key] = random.choice([*VALUES, *(found[name] for found, name in places[:20])])
        frames[at] = head + mark + _written(value)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError):  # a value put into itself
        return b"{}"


CHANGES: Final[tuple[Callable[[list[bytes], Random], None], ...]] = (_swap, _double, _drop, *[_replace] * 6)
