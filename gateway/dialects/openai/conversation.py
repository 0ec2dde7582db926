"""Chat messages → a conversation (`openai-chat.md` §2, mapping.md §4.1, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from gateway.dialects.base import Json
from gateway.dialects.openai.parts import read_cache, read_content
from gateway.dialects.openai.reasoning import read_reasoning
from gateway.dialects.sealing import Sealer
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_INSTRUCTIONS: Final = ("system", "developer")
_PREFILLS: Final = ("prefix", "partial")


@dataclass(frozen=True, slots=True)
class Conversation:
    """`prefill` is the wire path of the flag that makes the last message the beginning of the answer, if one does.

    `unknown`: fields of messages that nobody knows.
    """

    system: tuple[rq.Text, ...]
    turns: tuple[rq.Turn, ...]
    prefill: str
    unknown: Json


def read_conversation(body: Fields, sealer: Sealer) -> Conversation:
    """The leading instructions and the turns behind them."""
    messages = body.objects("messages")
    if not messages:
        raise BadRequest("messages: expected a non-empty array", param="messages")
    prefill = _read_prefill(body, messages[-1])
    system: list[rq.Text] = []
    turns: list[rq.Turn] = []
    unknown: Json = {}
    legacy_calls = 0
    for message in messages:
        role = message.need_choice("role", _ROLES)
        if role in _INSTRUCTIONS and not turns:
            system.extend(_instructions(message))
        else:
            legacy_calls += message.has("function_call")
            turns.append(_turn(role, message, legacy_calls, sealer))
        unknown |= {f"messages.{name}": value for name, value in message.rest().items() if value != []}
    if prefill and not (turns and turns[-1].role is rq.Role.ASSISTANT):
        raise BadRequest(f"{prefill}: expected the last message to be the assistant's", param=prefill)
    return Conversation(tuple(system), tuple(turns), prefill, unknown)


def _read_prefill(body: Fields, last: Fields) -> str:
    """mapping.md §4.5: an assistant prefix, by any of the names servers have for it."""
    if body.boolean("continue_final_message"):
        body.take("add_generation_prompt")
        return "continue_final_message"
    return next((last.at(name) for name in _PREFILLS if last.boolean(name)), "")


def _instructions(message: Fields) -> Iterator[rq.Text]:
    for part in _content(message):
        if not isinstance(part, rq.Text):
            raise BadRequest(f"{part.where}: expected text in a system message", param=part.where)
        if part.text:
            yield part


def _content(message: Fields) -> list[rq.Part]:
    """The parts; where the message as a whole marks the end of what is to be cached, its last part does."""
    parts = list(read_content(message))
    cache = read_cache(message)
    return [*parts[:-1], replace(parts[-1], cache=cache)] if cache and parts else parts


def _turn(role: str, message: Fields, legacy_calls: int, sealer: Sealer) -> rq.Turn:
    if role == "assistant":
        return rq.Turn(rq.Role.ASSISTANT, tuple(_assistant_parts(message, legacy_calls, sealer)), where=message.path)
    if role in ("tool", "function"):
        name = message.take("name")
        call_id = message.need_string("tool_call_id") if role == "tool" else _legacy_id(legacy_calls)
        if role == "function" and not isinstance(name, str):
            raise BadRequest(f"{message.at('name')}: expected a string", param=message.at("name"))
        result = rq.ToolResult(call_id, tuple(read_content(message)), cache=read_cache(message), where=message.path)
        return rq.Turn(rq.Role.USER, (result,), where=message.path)
    if role == "user":
        return rq.Turn(rq.Role.USER, tuple(_content(message)), where=message.path)
    return rq.Turn(rq.Role.SYSTEM, tuple(_instructions(message)), where=message.path)


def _legacy_id(ordinal: int) -> str:
    """mapping.md §4.2: the old function calls have no ids; they pair by order."""
    return f"call_legacy_{ordinal}"


def _assistant_parts(message: Fields, legacy_calls: int, sealer: Sealer) -> Iterator[rq.Part]:
    yield from read_reasoning(message, sealer)
    yield from read_content(message)
    if refusal := message.string("refusal"):
        yield rq.Refusal(refusal, where=message.at("refusal"))
    if audio := message.mapping("audio"):
        yield rq.Opaque("openai", "audio", audio, where=message.at("audio"))
    for call in message.objects("tool_calls"):
        yield _tool_call(call)
    if call_fields := message.object("function_call"):
        name, arguments = call_fields.need_string("name"), _arguments(call_fields)
        yield rq.ToolCall(_legacy_id(legacy_calls), name, arguments, where=call_fields.path)


def _tool_call(call: Fields) -> rq.ToolCall:
    id_ = call.need_string("id")
    if (call.string("type") or "function") == "custom":
        custom = call.need_object("custom")
        text = custom.string("input") or ""
        return rq.ToolCall(id_, custom.need_string("name"), text, kind="custom", where=call.path)
    function = call.need_object("function")
    return rq.ToolCall(id_, function.need_string("name"), _arguments(function), where=call.path)


def _arguments(function: Fields) -> str:
    arguments: Any = function.take("arguments")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    if not isinstance(arguments, str | None):
        raise BadRequest(f"{function.at('arguments')}: expected a string of JSON", param=function.at("arguments"))
    return arguments or ""
