"""What this API has beside responses: the count of a prompt's tokens, and calls that need a server which remembers.

openai-responses.md §7. Every id is unknown to a gateway that stores nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gateway.dialects.base import Absent, Counting, Inbound, Json, Outbound, Path
from gateway.dialects.responses.parsing import parse
from gateway.dialects.responses.rendering import PATH
from gateway.neutral.request import Request

SERVED: Final = "/v1/responses"
_CONVERSATIONS: Final = "/v1/conversations"


def _error(message: str, code: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


_NOT_FOUND: Final = _error("Response with id '{id}' not found.", "response_not_found")
_NOT_SERVED: Final = _error(
    "{path} is part of this API and not served by this gateway, which stores nothing", "not_found"
)
_NO_SOCKET: Final = _error(
    "{path} takes POST; this gateway answers over HTTP, not over a WebSocket", "upgrade_required"
)

ABSENT: Final = (
    Absent(SERVED, 426, _NO_SOCKET, ("GET",)),  # agents that try a WebSocket first fall back at once
    Absent(f"{SERVED}/compact", 404, _NOT_SERVED),
    Absent(f"{SERVED}/{{id}}", 404, _NOT_FOUND, ("GET", "HEAD", "DELETE")),
    Absent(f"{SERVED}/{{id}}/cancel", 404, _NOT_FOUND, ("POST",)),
    Absent(f"{SERVED}/{{id}}/input_items", 404, _NOT_FOUND, ("GET", "HEAD")),
    Absent(_CONVERSATIONS, 404, _NOT_SERVED),
    Absent(f"{_CONVERSATIONS}/{{rest:path}}", 404, _NOT_SERVED),
)

_COUNTED: Final = frozenset(
    ("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "truncation")
)
"""Fields that counting knows."""


def _counted(body: Json) -> Json:
    return {name: value for name, value in body.items() if name in _COUNTED}


def _parse(inbound: Inbound) -> Request:
    """A responses request without what only an answer needs."""
    return parse(replace(inbound, body=_counted(inbound.body)))


def _ask(outbound: Outbound) -> Outbound:
    return replace(outbound, body=_counted(outbound.body), path=f"{PATH}/input_tokens")


def _dump(count: int) -> Json:
    return {"object": "response.input_tokens", "input_tokens": count}


def _load(body: Any) -> int | None:
    count = body.get("input_tokens") if isinstance(body, dict) else None
    return count if type(count) is int else None


COUNTS: Final = Counting(Path(f"{SERVED}/input_tokens"), f"{PATH}/input_tokens", _parse, _dump, _ask, _load)
