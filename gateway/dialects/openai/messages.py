"""A conversation → chat messages (mapping.md §4.1 to §4.3)."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterator
from typing import Final

import orjson

from gateway.dialects.base import Json
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.parts import document_text, found_text, heading_of, spell_content, spell_part
from gateway.dialects.openai.profiles import Profile, profile_of
from gateway.dialects.openai.reasoning import Echo
from gateway.dialects.report import Report, refuse_part
from gateway.dialects.tools import ToolNames, spell_id, wrap_custom
from gateway.dialects.turns import instructions, tidy
from gateway.neutral import request as rq

_ATTACHED: Final = "[{} attached below]"
_UNREADABLE: Final = "[a file that this model can't read: {}]"
_SHORT_ID: Final = re.compile(r"(?s).{1,64}")
_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")


def spell_messages(
    request: rq.Request, options: Options, report: Report, names: ToolNames, extra_system: str = ""
) -> list[Json]:
    """The messages; `extra_system` is added to the instructions."""
    profile = profile_of(options)
    turns = tidy(request, report, profile.mid_system)
    system = instructions(request, profile.mid_system, keeps_billing_header=options.keeps_billing_header)
    if extra_system:
        system.append(rq.Text(extra_system))
    writer = _Writer(profile, report, names, Echo(turns, request, options, report))
    messages = [message for turn in turns for message in writer.write(turn)]
    if request.prefill and profile.prefill in ("prefix", "partial"):
        messages[-1][profile.prefill] = True
    if system:
        messages.insert(0, {"role": profile.system_role, "content": _instructions(system, profile)})
    return messages


def _instructions(texts: list[rq.Text], profile: Profile) -> str | list[Json]:
    if profile.system_parts and len(texts) > 1:
        return [{"type": "text", "text": text.text} for text in texts]
    return "\n\n".join(text.text for text in texts)


class _Writer:
    """One conversation's messages, turn by turn."""

    def __init__(self, profile: Profile, report: Report, names: ToolNames, echo: Echo) -> None:
        self._profile = profile
        self._report = report
        self._names = names
        self._echo = echo

    def write(self, turn: rq.Turn) -> Iterator[Json]:
        if turn.role is rq.Role.ASSISTANT:
            message = self._assistant(turn)
            if not turn.parts or any(message[name] for name in message.keys() - {"role"}):
                yield message  # one of which only reasoning was left says nothing (pitfall 77)
        elif turn.role is rq.Role.SYSTEM:
            texts = [part for part in turn.parts if isinstance(part, rq.Text) and part.text]
            if texts:
                yield {"role": self._profile.system_role, "content": _instructions(texts, self._profile)}
        else:
            yield from self._user(turn)

    def _user(self, turn: rq.Turn) -> Iterator[Json]:
        """Results first, one message each, then what the user says, their images among it."""
        attached: list[rq.Part] = []
        for part in turn.parts:
            if isinstance(part, rq.ToolResult):
                yield self._result(part, attached)
        rest = [part for part in turn.parts if not isinstance(part, rq.ToolResult)]
        if attached or rest or not turn.parts:
            yield {"role": "user", "content": spell_content([*attached, *rest], self._profile, self._report)}

    # -- results of tools --------------------------------------------------------------------------------------------

    def _result(self, result: rq.ToolResult, attached: list[rq.Part]) -> Json:
        """One result. What a tool message can't hold is added to `attached`, under the id of the call."""
        found = [spelled for part in result.parts for spelled in self._result_part(part, result, attached)]
        parts = [spelled for spelled in found if spelled.get("text") != ""]
        if result.is_error:
            parts = _marked_as_error(parts)
        message: Json = {"role": "tool", "tool_call_id": spell_call_id(result.call_id, self._profile)}
        if any(part["type"] != "text" for part in parts) or (self._profile.tool_parts and len(parts) > 1):
            return message | {"content": parts}
        return message | {"content": "\n".join(part["text"] for part in parts)}

    def _result_part(self, part: rq.Part, result: rq.ToolResult, attached: list[rq.Part]) -> Iterator[Json]:
        match part:
            case rq.Text() | rq.Refusal():
                yield _text(part.text)
            case rq.Image() if self._profile.tool_images:
                yield from spell_part(part, self._profile, self._report)
            case rq.Image():
                yield _text(_ATTACHED.format("image"))
                attached += [rq.Text(f"Image from tool result {result.call_id}:"), part]
            case rq.Document():
                yield from self._result_document(part, result, attached)
            case rq.SearchResult():
                yield _text(found_text(part))
            case rq.Opaque():
                self._report.adapt(f"messages.{part.name}", "as_text")
                yield _text(orjson.dumps(part.json).decode())
            case _:
                refuse_part(part, "this upstream")

    def _result_document(self, document: rq.Document, result: rq.ToolResult, attached: list[rq.Part]) -> Iterator[Json]:
        """mapping.md §4.3: text as text; a file is attached where the server reads files, else only named."""
        if document.text is not None:
            yield _text(document_text(document, document.text))
        elif isinstance(document.source, rq.Data) and self._profile.files:
            yield _text(_ATTACHED.format("file"))
            attached += [rq.Text(f"File from tool result {result.call_id}:"), document]
        elif document.source is not None:
            self._report.drop_name("messages.document", where=document.where)
            yield _text(_UNREADABLE.format(document.name or document.title or document.mime or "no name"))
        else:
            if heading := heading_of(document):
                yield _text(heading)
            for part in document.parts:
                yield from self._result_part(part, result, attached)

    # -- the assistant -----------------------------------------------------------------------------------------------

    def _assistant(self, turn: rq.Turn) -> Json:
        for part in turn.parts:
            if not isinstance(part, _SAID):
                self._leave_out(part)
        calls = [self._call(part) for part in turn.parts if isinstance(part, rq.ToolCall)]
        text = self._joined_text(turn)
        message: Json = {"role": "assistant", "content": text or (None if calls else "")}
        message |= self._echo.spell(turn)
        return message | ({"tool_calls": calls} if calls else {})

    def _leave_out(self, part: rq.Part) -> None:
        """What a vendor's own tools said in an answer means nothing elsewhere; what a client put there is refused."""
        if not isinstance(part, rq.Opaque):
            refuse_part(part, "this upstream")
        self._report.drop_name(f"messages.{part.name}", where=part.where)

    def _joined_text(self, turn: rq.Turn) -> str:
        """Neighbours are one text; what stood on both sides of another block, or in two messages, is two.

        All of it is in front of the calls.
        """
        joined, is_apart, has_calls, message = "", False, False, ""
        for part in turn.parts:
            if not isinstance(part, rq.Text | rq.Refusal):
                is_apart, has_calls = True, has_calls or isinstance(part, rq.ToolCall)
            elif part.text:
                if has_calls:
                    self._report.adapt("messages", "text_before_calls")
                is_apart |= _message_of(part) != message
                joined += "\n\n" + part.text if is_apart and joined else part.text
                is_apart, message = False, _message_of(part)
        return joined

    def _call(self, call: rq.ToolCall) -> Json:
        id_, name = spell_call_id(call.id, self._profile), self._names.spell(call.name, call.namespace)
        if call.kind == "custom" and self._profile.custom_tools:
            return {"id": id_, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        arguments = wrap_custom(call.arguments) if call.kind == "custom" else _arguments(call.arguments)
        return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


_SAID: Final = (rq.Text, rq.Refusal, rq.ToolCall, rq.Reasoning, rq.RedactedReasoning)


def _message_of(part: rq.Part) -> str:
    """The path of the client's message that a part stood in: `messages.3` of `messages.3.content.0`."""
    return ".".join(part.where.split(".", 2)[:2])


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _arguments(text: str) -> str:
    return text if text.strip() else "{}"


def _marked_as_error(parts: list[Json]) -> list[Json]:
    """There is no field for it: the text says so (pitfall 81)."""
    first = next((part["text"] for part in parts if part["type"] == "text"), "")
    if first.lower().startswith("error"):
        return parts
    if parts and parts[0]["type"] == "text":
        return [_text(f"Error: {first}"), *parts[1:]]
    return [_text("Error: "), *parts]


def spell_call_id(id_: str, profile: Profile) -> str:
    """The id of a call as this server takes it, for call and result alike (mapping.md §8)."""
    if profile.tool_ids == "any":
        return spell_id(id_, _SHORT_ID, "call_")
    return id_ if _NINE.fullmatch(id_) else _base62(hashlib.sha256(id_.encode()).digest())


def _base62(digest: bytes) -> str:
    """Its first base62 digits, least significant first."""
    number, digits = int.from_bytes(digest), ""
    while len(digits) < 9:
        number, digit = divmod(number, len(_DIGITS))
        digits += _DIGITS[digit]
    return digits


_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
