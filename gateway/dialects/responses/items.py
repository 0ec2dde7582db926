"""Input items → system texts, turns and tools (`openai-responses.md` §2).

What the assistant said, thought and called without anything between is one turn, as it was one answer (pitfall 75).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.dialects.base import Json
from gateway.dialects.responses.parts import read_content
from gateway.dialects.responses.sealed import read_reasoning
from gateway.dialects.responses.tooling import read_tools
from gateway.dialects.sealing import Sealer
from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_ROLES: Final = ("user", "assistant", "system", "developer")
_INSTRUCTIONS: Final = ("system", "developer")


class Conversation:
    """What the items of an input are. `unknown` names what nobody can carry: items, and fields of items."""

    def __init__(self, sealer: Sealer) -> None:
        self.system: list[rq.Text] = []
        self.turns: list[rq.Turn] = []
        self.tools: list[rq.Tool] = []
        self.unknown: Json = {}
        self._sealer = sealer

    def take(self, item: Fields) -> None:
        """One more item; an object with a role and no type is a message."""
        kind = item.string("type") or ("message" if item.has("role") else "")
        if kind not in _IDENTIFIED:
            item.take("id")
        if kind not in _LOCAL_RESULTS:
            item.take("status")
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            self._assistant(item.path, self._reasoning(item))
        elif kind in _CALL_READERS:
            self._assistant(item.path, _CALL_READERS[kind](item))
        elif kind in _RESULT_READERS:
            self._user(item.path, _RESULT_READERS[kind](item))
        else:
            self._other(kind, item)
            return
        self.unknown |= {f"input.{name}": value for name, value in item.rest().items()}

    def _message(self, item: Fields) -> None:
        role = item.need_choice("role", _ROLES)
        if not item.has("content"):
            item.refuse("content", "expected a string or an array of parts, got nothing")
        parts = tuple(read_content(item, "content"))
        if role == "assistant":
            self._assistant(item.path, *parts)
        elif role == "user":
            self._user(item.path, *parts)
        elif self.turns:
            self.turns.append(rq.Turn(rq.Role.SYSTEM, tuple(_texts(parts)), where=item.path))
        else:
            self.system.extend(_texts(parts))

    def _assistant(self, where: str, *parts: rq.Part) -> None:
        if self.turns and self.turns[-1].role is rq.Role.ASSISTANT:
            last = self.turns.pop()
            parts, where = (*last.parts, *parts), last.where
        self.turns.append(rq.Turn(rq.Role.ASSISTANT, parts, where=where))

    def _user(self, where: str, *parts: rq.Part) -> None:
        self.turns.append(rq.Turn(rq.Role.USER, parts, where=where))

    def _reasoning(self, item: Fields) -> rq.Part:
        summary = "\n\n".join(item.each("summary", _text_of))
        content = "\n\n".join(item.each("content", _text_of))
        encrypted = item.string("encrypted_content") or ""
        return read_reasoning(content or summary, encrypted, self._sealer, is_summary=not content, where=item.path)

    def _other(self, kind: str, item: Fields) -> None:
        if not kind:
            item.refuse("type", "expected the type of an item, or a role")
        if kind == "item_reference":
            where = item.at("id")
            raise Unsupported(
                f"{where}: this gateway stores no items; send the item itself, as clients do with `store: false`",
                param=where,
            )
        if kind == "additional_tools":
            tools, unknown = read_tools(item)
            self.tools.extend(tools)
            self.unknown |= unknown
        elif kind == "agent_message":
            self._user(item.path, *_agents_text(item))
            self.unknown |= {f"input.{name}": value for name, value in item.rest().items()}
        else:  # the history of hosted tools, and what is newer than this gateway
            self.unknown[f"input.{kind[:64]}"] = True


def read_input(body: Fields, sealer: Sealer) -> Conversation:
    """The conversation in `input`, which a text may be too."""
    talk = Conversation(sealer)
    value = body.take("input")
    if isinstance(value, str):
        talk.turns.append(rq.Turn(rq.Role.USER, (rq.Text(value, where="input"),), where="input"))
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            talk.take(fields_of(item, f"input.{i}"))
    else:
        raise BadRequest("input: expected a string or a non-empty array of items", param="input")
    return talk


def _texts(parts: tuple[rq.Part, ...]) -> Iterator[rq.Text]:
    for part in parts:
        if not isinstance(part, rq.Text):
            raise BadRequest(f"{part.where}: expected text in a {_INSTRUCTIONS[0]} message", param=part.where)
        if part.text:
            yield part


def _text_of(part: Fields) -> str:
    return part.need_string("text")


def _agents_text(item: Fields) -> Iterator[rq.Part]:
    """What another agent said to this one; fields differ from version to version."""
    for name in ("content", "text", "message"):
        if item.has(name):
            yield from read_content(item, name)
            return


# -- calls -----------------------------------------------------------------------------------------------------------


def _function_call(item: Fields) -> rq.Part:
    call_id, name, namespace = item.need_string("call_id"), item.need_string("name"), item.string("namespace")
    arguments = item.take("arguments")
    if isinstance(arguments, dict):
        arguments = _json(arguments)
    if not isinstance(arguments, str | None):
        item.refuse("arguments", "expected a string of JSON")
    return rq.ToolCall(call_id, name, arguments or "", namespace=namespace, where=item.path)


def _custom_call(item: Fields) -> rq.Part:
    call_id, name, namespace = item.need_string("call_id"), item.need_string("name"), item.string("namespace")
    text = item.string("input") or ""
    return rq.ToolCall(call_id, name, text, kind="custom", namespace=namespace, where=item.path)


def _local_call(name: str, field: str) -> Callable[[Fields], rq.Part]:
    """A tool of the client's own machine that OpenAI's models know by heart; others see a call of a function."""

    def read(item: Fields) -> rq.Part:
        return rq.ToolCall(_call_id(item), name, _json(item.mapping(field) or {}), where=item.path)

    return read


def _call_id(item: Fields) -> str:
    """Some of the local tools pair by `id`."""
    own = item.string("id")
    return item.string("call_id") or own or item.need_string("call_id")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


_CALL_READERS: Final[Mapping[str, Callable[[Fields], rq.Part]]] = {
    "function_call": _function_call,
    "custom_tool_call": _custom_call,
    "local_shell_call": _local_call("local_shell", "action"),
    "shell_call": _local_call("shell", "action"),
    "apply_patch_call": _local_call("apply_patch", "operation"),
}


# -- results ---------------------------------------------------------------------------------------------------------


def _result(item: Fields) -> rq.Part:
    return rq.ToolResult(item.need_string("call_id"), tuple(read_content(item, "output")), where=item.path)


def _local_result(item: Fields) -> rq.Part:
    """Text, or a list of what each command printed, which stays JSON."""
    call_id, is_failed = _call_id(item), item.string("status") == "failed"
    where, output = item.at("output"), item.take("output")
    text = output if isinstance(output, str) else "" if output is None else _json(output)
    return rq.ToolResult(call_id, (rq.Text(text, where=where),), is_failed, where=item.path)


_RESULT_READERS: Final[Mapping[str, Callable[[Fields], rq.Part]]] = {
    "function_call_output": _result,
    "custom_tool_call_output": _result,
    "local_shell_call_output": _local_result,
    "shell_call_output": _local_result,
    "apply_patch_call_output": _local_result,
}
_LOCAL_RESULTS: Final = ("local_shell_call_output", "shell_call_output", "apply_patch_call_output")
_IDENTIFIED: Final = (
    *("item_reference", "local_shell_call", "shell_call", "apply_patch_call"),
    *_LOCAL_RESULTS,
)
"""Items whose `id` means something; that of any other only names it in a store we don't have."""
