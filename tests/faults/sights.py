"""What a client saw, in one word: the whole answer, a broken one, an error, or a lie. All of it from bytes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.errors import Kind
from tests.faults.callers import STREAM_ERRORS, TERMINATORS, Caller, Reply
from tests.faults.voices import TEXT

_ERRORS: Final = orjson.loads((Path(__file__).parent.parent / "data" / "errors.json").read_bytes())["kinds"]
_TRUSS_STATUSES: Final[Mapping[str, int]] = {
    "invalid_request": 400,
    "unsupported": 400,
    "context_length": 400,
    "not_found": 404,
    "too_large": 413,
    "rate_limit": 429,
    "internal": 500,
    "billing": 502,
    "upstream": 502,
    "overloaded": 503,
    "timeout": 504,
}


@dataclass(frozen=True, slots=True)
class Sight:
    """`what`: whole, broken, filtered, silent (it ended as if it were whole, and was not), garbled, or refused.

    `kinds`: those that the error may be, by its status, type and code. `text`: of the answer, as far as it came.
    """

    what: str
    status: int
    kinds: frozenset[str] = frozenset()
    message: str = ""
    text: str = ""

    def is_seen_as(self, expected: str) -> bool:
        """Whether this is what a row says."""
        return expected in self.kinds if expected in {*Kind} else expected == self.what

    def __str__(self) -> str:
        if self.what == "refused":
            return f"{self.status}, {' or '.join(sorted(self.kinds)) or 'no kind we know'}: {self.message}"
        return f"{self.what}, {self.text!r}"


def told(reply: Reply, caller: Caller, form: str, *, stream: bool) -> Sight:
    """What the caller makes of its reply; `form` of its stream."""
    if reply.status != 200:
        return _refused(reply, caller)
    if not stream:
        is_whole = reply.is_whole and TEXT.encode() in reply.body
        return Sight("whole" if is_whole else "garbled", 200, text=reply.body.decode("utf-8", "replace"))
    text = _TEXTS[form](reply.body)
    return Sight(_ended(reply, form, text), 200, text=text)


def _ended(reply: Reply, form: str, text: str) -> str:
    """How a stream ended. Of raw text only a missing last chunk tells that it broke."""
    if form == "raw":
        return ("whole" if text == TEXT else "silent") if reply.is_whole else "broken"
    last_frame = reply.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    is_told = last_frame.startswith(STREAM_ERRORS[form])
    is_ended = TERMINATORS[form] in reply.body
    if is_told or not reply.is_whole:
        return "garbled" if is_ended or _FINISHED[form](reply.body) else "broken"
    if _FILTERED[form] in reply.body:
        return "filtered" if TEXT.startswith(text) else "garbled"
    if not is_ended:
        return "silent"
    return "whole" if text == TEXT else "garbled"


_FINISHED: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "openai": lambda body: b'finish_reason":"' in body,
    "anthropic": lambda body: b'"message_delta"' in body,
    "responses": lambda body: b'"response.completed"' in body,
}
"""Whether a stream says why it ended, which one that broke must not."""


_FILTERED: Final[Mapping[str, bytes]] = {
    "openai": b'"finish_reason":"content_filter"',
    "anthropic": b'"stop_reason":"refusal"',
    "responses": b'"incomplete_details":{"reason":"content_filter"}',
}
"""How a stream says that a filter cut the rest (mapping.md §7.1)."""


def _refused(reply: Reply, caller: Caller) -> Sight:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return Sight("garbled", reply.status, text=repr(reply.body[:200]))
    if caller.dialect == "truss":
        kinds = {kind for kind, status in _TRUSS_STATUSES.items() if status == reply.status}
        return Sight("refused", reply.status, frozenset(kinds), str(body.get("error")))
    error = body["error"]
    told = {name: error.get(name) for name in ("type", "code") if name in error} | {"status": reply.status}
    shape = "anthropic" if caller.dialect == "anthropic" else "openai"
    kinds = {kind for kind, words in _ERRORS.items() if words[shape] == told}
    return Sight("refused", reply.status, frozenset(kinds), error["message"])


def _data(body: bytes) -> list[dict[str, Any]]:
    lines = (line.removeprefix(b"data:").strip() for line in body.split(b"\n") if line.startswith(b"data:"))
    return [orjson.loads(line) for line in lines if line.startswith(b"{")]


def _chat_text(body: bytes) -> str:
    choices = (choice for frame in _data(body) for choice in frame.get("choices", ()))
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _message_text(body: bytes) -> str:
    return "".join(frame["delta"].get("text", "") for frame in _data(body) if frame["type"] == "content_block_delta")


def _response_text(body: bytes) -> str:
    return "".join(frame["delta"] for frame in _data(body) if frame["type"] == "response.output_text.delta")


_TEXTS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "openai": _chat_text,
    "anthropic": _message_text,
    "responses": _response_text,
    "raw": lambda body: body.decode("utf-8", "replace"),
}
