"""Cache breakpoints: where a client wants its prompt cached (mapping.md §3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway.dialects.base import Json
from gateway.dialects.report import Report
from gateway.neutral.request import Json as Wish

MAX_BREAKPOINTS: Final = 4
"""More in one request are refused (`anthropic-messages.md` §3)."""
_LONG: Final = ("30m", "1h", "12h", "24h")
_FIELD: Final = "cache_control"


def mark(block: Json, wish: Wish | None) -> Json:
    """The block, a breakpoint behind it if that was wished: five minutes long, or an hour."""
    if wish is None:
        return block
    is_long = wish.get("ttl") in _LONG
    return {**block, _FIELD: {"type": "ephemeral", "ttl": "1h"} if is_long else {"type": "ephemeral"}}


def limit(body: Json, report: Report) -> None:
    """Keeps the last breakpoints, which cover the longest prompts, where there are more than may be.

    The body's own is behind everything.
    """
    marked = [block for block in _blocks(body) if _FIELD in block]
    surplus = len(marked) + (_FIELD in body) - MAX_BREAKPOINTS
    for block in marked[: max(0, surplus)]:
        del block[_FIELD]
        report.adapt(_FIELD, f"last_{MAX_BREAKPOINTS}")


def _blocks(body: Json) -> Iterator[Json]:
    """In the order in which a prompt is cached: tools, system, messages."""
    yield from body.get("tools", ())
    yield from _objects(body.get("system"))
    for message in body["messages"]:
        for block in message["content"]:
            yield from _objects(block.get("content"))
            yield block


def _objects(content: Any) -> Iterator[Json]:
    return iter(content if isinstance(content, list) else ())
