"""Thinking that comes back in a body which is forwarded as it is: what the gateway signed itself stays here.

A client may have been answered by another dialect's server a turn ago. Anthropic refuses a signature it did not make
(pitfall 87); everything else of the body is not our business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from gateway.dialects.base import Json
from gateway.dialects.report import Report
from gateway.neutral.request import Reasoning, RedactedReasoning, Request

_ON: Final = ("enabled", "adaptive")
_THOUGHTS: Final = ("thinking", "redacted_thinking")


def without_foreign(body: Json, request: Request, report: Report) -> Json:
    """The body itself where there is nothing to take out, else a copy of what changes (mapping.md §6.3)."""
    places = defaultdict[int, set[int]](set)
    for where in _foreign(request):
        report.repair("messages.thinking", "foreign", where)
        _, message, _, block = where.split(".")
        places[int(message)].add(int(block))
    if not places:
        return body
    messages = [_without(message, places[i]) if i in places else message for i, message in enumerate(body["messages"])]
    cleaned = {**body, "messages": [message for message in messages if message["content"] != []]}
    if _lacks_lead(messages) and (body.get("thinking") or {}).get("type") in _ON:
        report.adapt("thinking", "disabled_by_history")
        cleaned["thinking"] = {"type": "disabled"}
    return cleaned


def _foreign(request: Request) -> Iterator[str]:
    """Where blocks stand that one of our tokens signs: only those know their origin."""
    for turn in request.turns:
        for part in turn.parts:
            value = part.value if isinstance(part, RedactedReasoning) else None
            value = part.signature if isinstance(part, Reasoning) else value
            if value is not None and value.origin:
                yield part.where


def _without(message: Json, places: set[int]) -> Json:
    return {**message, "content": [block for i, block in enumerate(message["content"]) if i not in places]}


def _lacks_lead(messages: list[Json]) -> bool:
    """Whether the assistant's last message calls tools and does not begin with thinking any more."""
    said: Any = next((turn["content"] for turn in reversed(messages) if turn["role"] == "assistant"), [])
    blocks = said if isinstance(said, list) else []
    return any(block["type"] == "tool_use" for block in blocks) and blocks[0]["type"] not in _THOUGHTS
