"""An independent reader of the responses streams we emit, from `openai-responses.md` §3 and §5 alone."""

from __future__ import annotations

from typing import Any, Final

import orjson

Json = dict[str, Any]

# How the content of an item is told: event name → (field of `.done`, events around it, what it may be in).
_CONTENT: Final = {
    "output_text": ("text", "content_part", "message"),
    "refusal": ("refusal", "content_part", "message"),
    "reasoning_summary_text": ("text", "reasoning_summary_part", "reasoning"),
    "reasoning_text": ("text", "content_part", "reasoning"),
    "function_call_arguments": ("arguments", "", "function_call"),
    "custom_tool_call_input": ("input", "", "custom_tool_call"),
}
_PREFIXES: Final = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
_EMPTY: Final[dict[str, Json]] = {
    "message": {"role": "assistant", "status": "in_progress", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": "", "status": "in_progress"},
    "custom_tool_call": {"input": ""},
}
_ALWAYS: Final = (
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "max_output_tokens"),
    *("metadata", "model", "output", "parallel_tool_calls", "previous_response_id", "reasoning", "store"),
    *("temperature", "text", "tool_choice", "tools", "top_p", "truncation", "usage", "user"),
)
_CODES: Final = (
    *("server_error", "rate_limit_exceeded", "invalid_prompt"),
    *("context_length_exceeded", "insufficient_quota"),  # outside of the SDK's list, and needed by agents
)
_INCOMPLETE: Final = ("max_output_tokens", "content_filter")


class ResponsesChecker:
    """Phases: new, created, open, item, done, error. An item is: added, its content, done."""

    def __init__(self) -> None:
        self.phase = "new"
        self._number = 0
        self._id = ""
        self._output: list[Json] = []
        self._item: Json = {}
        self._told: list[str] = []
        self._name = ""
        self._open_part = ""
        self._is_closed = False
        self._annotations: list[Json] = []

    def take(self, frame: bytes) -> None:
        """One more frame. Fails with AssertionError on anything the grammar forbids."""
        assert self.phase not in ("done", "error"), "a frame behind the end"
        if frame.startswith(b": "):
            assert b"\n" not in frame
            return
        event, data = frame.split(b"\n")
        assert event.startswith(b"event: response."), "all names have one prefix"
        assert data.startswith(b"data: ")
        body = orjson.loads(data[6:])
        assert body["type"] == event[7:].decode()
        assert body["sequence_number"] == self._number, "from 0, without gaps (pitfall 117)"
        self._number += 1
        self._event(body["type"].removeprefix("response."), body)

    def _event(self, name: str, body: Json) -> None:
        if "response" in body:
            self._lifecycle(name, body["response"])
            return
        assert self.phase in ("open", "item")
        if name == "output_item.added":
            self._added(body)
            return
        assert self.phase == "item"
        assert body["output_index"] == len(self._output)
        if name == "output_item.done":
            self._done(body["item"])
            return
        assert body["item_id"] == self._item["id"], "one item at a time, under one id"
        self._within(name, body)

    def _lifecycle(self, name: str, response: Json) -> None:
        assert set(_ALWAYS) <= set(response)
        assert response["object"] == "response"
        assert response["id"].startswith("resp_")
        assert self._id in ("", response["id"]), "the id is the same in every event"
        self._id = response["id"]
        if name in ("created", "in_progress"):
            assert self.phase == ("new" if name == "created" else "created"), "created is first (pitfall 117)"
            assert response["status"] == "in_progress"
            assert response["output"] == []
            assert response["usage"] is None
            self.phase = "created" if name == "created" else "open"
            return
        assert name == response["status"]
        getattr(self, f"_{name}")(response)

    def _completed(self, response: Json) -> None:
        assert response["output"] == self._output, "the whole output again (pitfall 117)"
        assert response["error"] is response["incomplete_details"] is None
        self._end(response)

    def _incomplete(self, response: Json) -> None:
        assert response["incomplete_details"]["reason"] in _INCOMPLETE
        assert [{**item, "status": None} for item in response["output"]] == [
            {**item, "status": None} for item in self._output
        ]
        self._end(response)

    def _end(self, response: Json) -> None:
        assert self.phase == "open", "behind every item"
        if response["usage"] is not None:
            check_counts(response["usage"])
        self.phase = "done"

    def _failed(self, response: Json) -> None:
        assert self.phase != "new"
        assert response["error"]["code"] in _CODES
        assert type(response["error"]["message"]) is str
        assert response["output"][: len(self._output)] == self._output, "with what came (pitfall 48)"
        assert len(response["output"]) == len(self._output) + (self.phase == "item")
        self.phase = "error"

    # -- items -------------------------------------------------------------------------------------------------------

    def _added(self, body: Json) -> None:
        assert self.phase == "open", "one item after the other"
        assert body["output_index"] == len(self._output), "no gaps"
        self.phase, self._item = "item", body["item"]
        kind, item_id = self._item["type"], self._item["id"]
        assert item_id.startswith(_PREFIXES[kind])
        assert item_id not in [item["id"] for item in self._output]
        assert self._item | _EMPTY[kind] == self._item, "an item begins empty"
        if kind.endswith("_call"):
            assert self._item["call_id"]
            assert self._item["name"]
            self._name = "custom_tool_call_input" if kind == "custom_tool_call" else "function_call_arguments"
        else:
            self._name = ""
        self._told, self._open_part, self._is_closed, self._annotations = [], "", False, []

    def _within(self, name: str, body: Json) -> None:
        event, _, what = name.rpartition(".")
        if event in ("content_part", "reasoning_summary_part"):
            self._part(event, what, body)
        elif event == "output_text.annotation":
            assert what == "added"
            assert body["content_index"] == 0
            assert body["annotation_index"] == len(self._annotations)
            self._annotations.append(body["annotation"])
        else:
            self._content(event, what, body)

    def _part(self, event: str, what: str, body: Json) -> None:
        kind = body["part"]["type"]
        name = {"summary_text": "reasoning_summary_text"}.get(kind, kind)
        field, around, _ = _CONTENT[name]
        assert around == event
        assert body["summary_index" if event.startswith("reasoning") else "content_index"] == 0
        assert body["part"][field] == ("".join(self._told) if what == "done" else "")
        if what == "added":
            assert not self._name, "one part an item"
            self._name, self._open_part = name, event
        else:
            assert self._is_closed
            assert self._open_part == event
            self._open_part = ""

    def _content(self, event: str, what: str, body: Json) -> None:
        assert event == self._name, "content behind its part"
        field, around, kind = _CONTENT[event]
        assert self._item["type"] == kind
        assert not self._is_closed
        if around:
            assert body["summary_index" if around.startswith("reasoning") else "content_index"] == 0
        assert ("logprobs" in body) is (event == "output_text")
        if what == "delta":
            assert body["delta"], "no empty deltas"
            self._told.append(body["delta"])
        else:
            assert what == "done"
            assert body[field] == "".join(self._told)
            self._is_closed = True

    def _done(self, item: Json) -> None:
        kind, text = self._item["type"], "".join(self._told)
        same = {"id", "type", "call_id", "name", "namespace"} & set(self._item)
        assert {name: item[name] for name in same} == {name: self._item[name] for name in same}
        assert self._is_closed or not self._name, "what was told is repeated"
        assert not self._open_part, "and its part ended"
        assert item.get("status", "completed") == "completed"
        if kind == "message":
            (part,) = item["content"]
            assert part.get("text", part.get("refusal")) == text
            assert part.get("annotations", []) == self._annotations
        elif kind == "reasoning":
            parts = [*item["summary"], *item.get("content", ())]
            assert "".join(part["text"] for part in parts) == text
            assert item.get("encrypted_content") != ""
        else:
            assert item["arguments" if kind == "function_call" else "input"] == text
        self._output.append(item)
        self.phase = "open"


def check_counts(usage: Json) -> None:
    """Every number and both details, always (pitfalls 35, 119)."""
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    details, output_details = usage["input_tokens_details"], usage["output_tokens_details"]
    numbers = (details["cached_tokens"], details["cache_write_tokens"], output_details["reasoning_tokens"])
    assert all(type(number) is int and number >= 0 for number in (*numbers, usage["total_tokens"]))
