"""Independent readers of the streams we emit, from the vendors' grammars as `protocol/` has them, alone.

Each returns how the stream ended, `done` or `error`, and fails with AssertionError on anything its grammar forbids.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from tests.dialects.responses_grammar import ResponsesChecker

Json = dict[str, Any]


def check_openai(data: bytes, *, include_usage: bool) -> str:
    """`first delta* last usage? done`, or any beginning of it and an error frame."""
    checker = _Chat(include_usage)
    for frame in _frames(data):
        checker.take(frame)
    assert checker.phase in ("done", "error"), checker.phase
    return checker.phase


def check_anthropic(data: bytes) -> str:
    """`message_start (ping | block)* message_delta message_stop`, or any beginning of it and an error event."""
    checker = _Messages()
    for frame in _frames(data):
        checker.take(frame)
    assert checker.phase in ("done", "error"), checker.phase
    return checker.phase


def check_responses(data: bytes) -> str:
    """`created in_progress item* (completed | incomplete)`, or any beginning of it and `failed`."""
    checker = ResponsesChecker()
    for frame in _frames(data):
        checker.take(frame)
    assert checker.phase in ("done", "error"), checker.phase
    return checker.phase


def _frames(data: bytes) -> list[bytes]:
    """Every frame ends in a blank line (pitfall 42); there is no CR in what we emit."""
    assert b"\r" not in data
    assert data.endswith(b"\n\n")
    return data[:-2].split(b"\n\n")


class _Chat:
    """Phases: new, open, finished, counted (usage came), done, error."""

    def __init__(self, include_usage: bool) -> None:
        self.phase = "new"
        self._include_usage = include_usage
        self._head: tuple[Any, ...] | None = None
        self._calls: list[str] = []

    def take(self, frame: bytes) -> None:
        assert self.phase not in ("done", "error"), "a frame behind the end"
        if frame.startswith(b": "):
            assert b"\n" not in frame
            return
        assert frame.startswith(b"data: ")
        assert b"\n" not in frame, "one line a frame, no event or id lines (pitfall 115)"
        payload = frame[6:]
        if payload == b"[DONE]":
            assert self.phase == ("counted" if self._include_usage else "finished")
            self.phase = "done"
            return
        chunk = orjson.loads(payload)
        if "error" in chunk:
            assert set(chunk) == {"error"}
            assert set(chunk["error"]) == {"message", "type", "param", "code"}
            self.phase = "error"
            return
        self._chunk(chunk)

    def _chunk(self, chunk: Json) -> None:
        head = (chunk["id"], chunk["object"], chunk["created"], chunk["model"])
        assert chunk["object"] == "chat.completion.chunk"
        assert type(chunk["created"]) is int
        assert self._head in (None, head), "id, created and model are the same in every chunk"
        self._head = head
        if not chunk["choices"]:
            self._usage(chunk)
            return
        assert ("usage" in chunk) is self._include_usage, "pitfall 29"
        assert chunk.get("usage") is None
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        self._choice(choice["delta"], choice["finish_reason"])

    def _usage(self, chunk: Json) -> None:
        assert self._include_usage
        assert self.phase == "finished", "usage is last (pitfall 27)"
        usage = chunk["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], "pitfall 35"
        assert min(usage["prompt_tokens"], usage["completion_tokens"]) >= 0
        assert usage["prompt_tokens_details"]["cached_tokens"] <= usage["prompt_tokens"]
        self.phase = "counted"

    def _choice(self, delta: Json, finish: str | None) -> None:
        if finish is not None:
            assert self.phase == "open", "one finish_reason (pitfall 39), behind the first chunk"
            assert delta == {}
            assert finish in ("stop", "length", "tool_calls", "content_filter")
            self.phase = "finished"
        elif self.phase == "new":
            assert delta == {"role": "assistant", "content": ""}
            self.phase = "open"
        else:
            assert self.phase == "open"
            self._delta(delta)

    def _delta(self, delta: Json) -> None:
        ((name, value),) = delta.items()
        if name == "tool_calls":
            (call,) = value
            self._call(call)
        elif name in ("reasoning_details", "annotations"):
            assert all(type(detail["index"]) is int for detail in value), "pitfall 93"
        else:
            assert name in ("content", "refusal", "reasoning_content")
            assert type(value) is str
            assert value, "no empty deltas"

    def _call(self, call: Json) -> None:
        if "id" in call:
            function = call["function"]
            assert call == {"index": len(self._calls), "id": call["id"], "type": "function", "function": function}
            assert function == {"name": function["name"], "arguments": ""}
            assert call["id"] not in self._calls
            assert function["name"]
            self._calls.append(call["id"])
        else:
            assert call == {"index": len(self._calls) - 1, "function": {"arguments": call["function"]["arguments"]}}
            assert call["function"]["arguments"]


# delta type → the kinds of block it may come in
_DELTAS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
    "citations_delta": ("text", "citation"),
}
_COUNTS: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_ERROR_TYPES: Final = (
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
)


class _Messages:
    """Phases: new, open, block, told (message_delta came), done, error."""

    def __init__(self) -> None:
        self.phase = "new"
        self._index = -1
        self._kind = ""
        self._signatures = 0

    def take(self, frame: bytes) -> None:
        assert self.phase not in ("done", "error"), "a frame behind the end"
        event, data = frame.split(b"\n")
        assert event.startswith(b"event: "), "pitfall 116"
        assert data.startswith(b"data: ")
        body = orjson.loads(data[6:])
        assert body["type"] == event[7:].decode()
        getattr(self, f"_{body['type']}")(body)

    def _ping(self, body: Json) -> None:
        assert body == {"type": "ping"}

    def _error(self, body: Json) -> None:
        assert body["error"]["type"] in _ERROR_TYPES, "pitfall 46"
        assert type(body["error"]["message"]) is str
        self.phase = "error"

    def _message_start(self, body: Json) -> None:
        message = body["message"]
        assert self.phase == "new"
        assert message["content"] == []
        assert message["stop_reason"] is None
        assert message["stop_sequence"] is None
        assert (message["type"], message["role"]) == ("message", "assistant")
        _check_counts(message["usage"])
        self.phase = "open"

    def _content_block_start(self, body: Json) -> None:
        assert self.phase == "open", "one block at a time (pitfall 10)"
        assert body["index"] == self._index + 1, "no gaps (pitfall 18)"
        block = body["content_block"]
        self.phase, self._index, self._kind, self._signatures = "block", body["index"], block["type"], 0
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        assert block | empty.get(self._kind, {}) == block, "a block starts empty (pitfall 16)"
        if self._kind == "tool_use":
            assert set(block) == {"type", "id", "name", "input"}
            assert block["id"]
            assert block["name"]

    def _content_block_delta(self, body: Json) -> None:
        assert self.phase == "block"
        assert body["index"] == self._index
        kind, field = _DELTAS[body["delta"]["type"]]
        assert kind == self._kind, f"{field} in a {self._kind} block (pitfall 1)"
        assert body["delta"][field], "no empty deltas"
        assert not self._signatures, "the signature is last, and once (pitfall 21)"
        self._signatures += field == "signature"

    def _content_block_stop(self, body: Json) -> None:
        assert self.phase == "block"
        assert body["index"] == self._index
        assert self._signatures or self._kind != "thinking", "pitfall 89"
        self.phase = "open"

    def _message_delta(self, body: Json) -> None:
        assert self.phase == "open", "behind every block, and once"
        assert type(body["delta"]["stop_reason"]) is str
        assert (body["delta"]["stop_reason"] == "stop_sequence") is (body["delta"]["stop_sequence"] is not None)
        _check_counts(body["usage"])
        self.phase = "told"

    def _message_stop(self, body: Json) -> None:
        assert self.phase == "told"
        assert body == {"type": "message_stop"}
        self.phase = "done"


def _check_counts(usage: Json) -> None:
    """All four numbers, always (pitfalls 33, 34)."""
    assert all(type(usage[name]) is int and usage[name] >= 0 for name in _COUNTS)
