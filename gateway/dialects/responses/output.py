"""The response object and its output items, finished or not (`openai-responses.md` §3): one spelling for stream and
whole answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.dialects.base import Json, Stamp
from gateway.dialects.responses.parsing import FORM_SEALED
from gateway.dialects.responses.sealed import seal
from gateway.neutral import events as ev
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.response import Block, Response

_DEFAULTS: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
NO_ARGUMENTS: Final = "{}"
"""What a call of a function without any arguments gets, so that clients can parse them (mapping.md §5.5)."""
_INCOMPLETE: Final[Mapping[Reason, str]] = {
    Reason.LENGTH: "max_output_tokens",
    Reason.CONTEXT_WINDOW: "max_output_tokens",
    Reason.CONTENT_FILTER: "content_filter",
}
"""Reasons that leave an answer incomplete; after any other it is complete (mapping.md §7.1)."""


class Spelling:
    """How the answer to one request is spelled."""

    def __init__(self, request: rq.Request, stamp: Stamp) -> None:
        self._token = stamp.token
        self._sealer = stamp.sealer
        self._seals_all = request.form == FORM_SEALED
        self._asks_summary = request.reasoning is not None and request.reasoning.visible == "summary"
        self._head: Json = {
            "id": self.id_of("resp", 0),
            "object": "response",
            "created_at": stamp.created,
            "model": request.model,
            **_DEFAULTS,
            **request.echo,
        }

    def is_summary(self, reasoning: Block | ev.ReasoningDelta) -> bool:
        """Whether reasoning is told as a summary: always to clients that asked for one, as some read nothing else."""
        return self._asks_summary or reasoning.is_summary

    def id_of(self, prefix: str, ordinal: int) -> str:
        """An id that stays the same through the whole answer, with 32 hexadecimal digits."""
        return f"{prefix}_{self._token}{ordinal:08x}"

    def response(self, status: str, output: list[Json], **fields: Any) -> Json:
        """The response object in a status, with its output so far."""
        unsaid = {"error": None, "incomplete_details": None, "completed_at": None, "usage": None}
        return {**self._head, "status": status, **unsaid, "output": output, **fields}

    def ended(self, finish: ev.Finish, output: list[Json], usage: ev.Usage | None) -> Json:
        """The response object at its end; what was cut is marked."""
        counts = dump_usage(usage) if usage is not None and usage.output is not None else None
        reason = _INCOMPLETE.get(finish.reason)
        if reason is None:
            return self.response("completed", output, usage=counts)
        if output and "status" in output[-1]:
            output = [*output[:-1], {**output[-1], "status": "incomplete"}]
        return self.response("incomplete", output, usage=counts, incomplete_details={"reason": reason})

    def item(self, block: Block, ordinal: int, origin: str, status: str = "completed") -> Json:
        """A whole output item."""
        match block.kind:
            case BlockKind.TOOL:
                return self._call(block, ordinal, status)
            case BlockKind.REASONING | BlockKind.REDACTED:
                return self._reasoning(block, ordinal, origin)
            case _:
                return self._message(ordinal, status, [spell_part(block)])

    def begun(self, block: Block, ordinal: int) -> Json:
        """The item as it is announced, with nothing in it yet."""
        match block.kind:
            case BlockKind.TOOL:
                return self._call(
                    Block(block.kind, "", block.id, block.name, block.call_kind, block.namespace), ordinal
                )
            case BlockKind.REASONING | BlockKind.REDACTED:
                return {"id": self.id_of("rs", ordinal), "type": "reasoning", "summary": []}
            case _:
                return self._message(ordinal, "in_progress", [])

    def item_id(self, block: Block, ordinal: int) -> str:
        if block.kind is BlockKind.TOOL:
            return self.id_of("ctc" if block.call_kind == "custom" else "fc", ordinal)
        return self.id_of("rs" if block.kind in (BlockKind.REASONING, BlockKind.REDACTED) else "msg", ordinal)

    def _message(self, ordinal: int, status: str, content: list[Json]) -> Json:
        item_id = self.id_of("msg", ordinal)
        return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _call(self, block: Block, ordinal: int, status: str = "in_progress") -> Json:
        item_id = self.item_id(block, ordinal)
        call: Json = {"call_id": block.id, "name": block.name}
        if block.namespace is not None:
            call["namespace"] = block.namespace
        if block.call_kind == "custom":
            return {"id": item_id, "type": "custom_tool_call", **call, "input": block.text}
        return {"id": item_id, "type": "function_call", **call, "arguments": block.text, "status": status}

    def _reasoning(self, block: Block, ordinal: int, origin: str) -> Json:
        item: Json = {"id": self.id_of("rs", ordinal), "type": "reasoning", "summary": []}
        if block.text and self.is_summary(block):
            item["summary"] = [{"type": "summary_text", "text": block.text}]
        elif block.text:
            item["content"] = [{"type": "reasoning_text", "text": block.text}]
        if sealed := self._sealed(block, origin):
            item["encrypted_content"] = sealed
        return item

    def _sealed(self, block: Block, origin: str) -> str:
        """What a vendor sealed is always told, as only the client can keep it for us; a token of our own only to
        clients that asked for sealed reasoning."""
        is_redacted = block.kind is BlockKind.REDACTED
        value = block.payload if is_redacted else block.signature
        if isinstance(value, rq.OpaqueValue):
            return seal(self._sealer, origin, value, is_redacted=is_redacted)
        return seal(self._sealer, origin, None) if self._seals_all else ""


def spell_part(block: Block) -> Json:
    """The one part of a message item."""
    if block.kind is BlockKind.REFUSAL:
        return {"type": "refusal", "refusal": block.text}
    return {"type": "output_text", "text": block.text, "annotations": spell_annotations(block), "logprobs": []}


def spell_annotations(block: Block) -> list[Json]:
    """What a text quotes, as far as it has a web address (mapping.md §10)."""
    return [found for citation in block.citations if (found := _annotation(citation, len(block.text))) is not None]


def _annotation(citation: ev.Citation, length: int) -> Json | None:
    if citation.dialect == "responses":
        return dict(citation.citation)
    if not citation.url:
        return None
    start, end = citation.citation.get("start_index"), citation.citation.get("end_index")
    return {
        "type": "url_citation",
        "start_index": start if type(start) is int else 0,
        "end_index": end if type(end) is int else length,
        "title": citation.title,
        "url": citation.url,
    }


def dump_usage(usage: ev.Usage) -> Json:
    """mapping.md §7.2; the total is always recomputed, the details are always there (pitfall 119)."""
    read, write = usage.cache_read or 0, usage.cache_write or 0
    prompt, completion = max(usage.input or 0, read + write), usage.output or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + completion,
    }


def is_told(block: Block) -> bool:
    """Whether a block is an item at all: what only another vendor's clients understand isn't (mapping.md §10)."""
    return block.kind is not BlockKind.OPAQUE


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Json:
    """A whole answer as a response object."""
    spelling = Spelling(request, stamp)
    output: list[Json] = []
    for block in filter(is_told, response.blocks):
        if block.kind is BlockKind.TOOL and block.call_kind == "function":
            block.text = block.text or NO_ARGUMENTS
        output.append(spelling.item(block, len(output), response.start.origin))
    return spelling.ended(response.finish, output, response.usage)
