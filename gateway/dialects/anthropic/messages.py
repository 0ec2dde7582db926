"""A conversation as Anthropic takes it: turn about, beginning and ending with the user (mapping.md §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.dialects.anthropic.blocks import Speller
from gateway.dialects.anthropic.caching import mark
from gateway.dialects.anthropic.options import Features
from gateway.dialects.base import Json
from gateway.dialects.report import Report
from gateway.dialects.turns import instructions, tidy
from gateway.errors import Unsupported
from gateway.neutral import request as rq

_OPENING: Final = {"type": "text", "text": "(continue)"}
_JSON_ONLY: Final = "Answer with a single JSON object and nothing else: no other text, no code fence."
_THOUGHTS: Final = ("thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` of the body. `lacks_lead`: in a tool loop whose last turn does not begin with thinking.

    `has_lost_lead`: because that turn's thinking was another vendor's. `is_prefilled`: the assistant has the last word.
    """

    messages: list[Json]
    lacks_lead: bool
    has_lost_lead: bool
    is_prefilled: bool


def spell_system(request: rq.Request, features: Features, report: Report) -> str | list[Json]:
    """Instructions in front: one text, or blocks where a breakpoint of the cache stands between them."""
    texts = instructions(request, features.mid_system)
    if isinstance(request.output, rq.JsonObjectFormat):
        report.adapt("output", "instruction")
        texts.append(rq.Text(_JSON_ONLY))
    texts = [text for text in texts if text.text.strip()]
    if any(text.cache is not None for text in texts):
        return [mark({"type": "text", "text": text.text}, text.cache) for text in texts]
    return "\n\n".join(text.text for text in texts)


def converse(request: rq.Request, features: Features, speller: Speller, report: Report) -> Conversation:
    """The turns, tidied and spelled. Raises Unsupported where the assistant has the last word and may not."""
    messages: list[Json] = []
    has_lost_lead = False
    for turn in tidy(request, report, features.mid_system, unique_ids=True):
        _append(messages, _role(turn, messages, report), speller.turn(turn))
        if turn.role is rq.Role.ASSISTANT:
            has_lost_lead = speller.has_lost_thinking
    if not messages or messages[0]["role"] != "user":
        messages.insert(0, {"role": "user", "content": [dict(_OPENING)]})
        report.adapt("messages", "user_inserted")
    lacks_lead = _lacks_lead(messages)
    return Conversation(messages, lacks_lead, lacks_lead and has_lost_lead, _is_prefilled(messages, request, features))


def _append(messages: list[Json], role: str, blocks: list[Json]) -> None:
    """Nothing empty; neighbours of one role are one message, also where what stood between them was empty."""
    if blocks and messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    elif blocks:
        messages.append({"role": role, "content": blocks})


def _role(turn: rq.Turn, messages: list[Json], report: Report) -> str:
    """Instructions of their own may only follow a user's message (`anthropic-messages.md` §3)."""
    if turn.role is rq.Role.SYSTEM and not (messages and messages[-1]["role"] == "user"):
        report.adapt("messages", "system_in_user")
        return "user"
    return turn.role.value


def _lacks_lead(messages: list[Json]) -> bool:
    said: list[Json] = next((turn["content"] for turn in reversed(messages) if turn["role"] == "assistant"), [])
    has_calls = any(block["type"] == "tool_use" for block in said)
    return has_calls and said[0]["type"] not in _THOUGHTS


def _is_prefilled(messages: list[Json], request: rq.Request, features: Features) -> bool:
    """An answer's beginning must not end in a blank, and only older models continue one (mapping.md §4.5)."""
    if messages[-1]["role"] != "assistant":
        return False
    last = messages[-1]["content"][-1]
    if not features.prefill or last["type"] != "text":
        where = request.turns[-1].where or "messages"
        raise Unsupported(f"{where}: the last message must be the user's for this upstream", param=where)
    last["text"] = last["text"].rstrip()
    return True
