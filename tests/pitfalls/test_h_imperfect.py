"""Pitfalls 129 to 135: upstreams that speak a dialect nearly right."""

from __future__ import annotations

import pytest

from gateway.neutral.events import Start
from tests.pitfalls.wires import (
    DONE,
    HEAD,
    USAGE,
    Json,
    block,
    chat,
    chunk,
    event,
    events,
    frame,
    frames,
    message,
    message_end,
    message_start,
    named,
    seen_by_anthropic,
    seen_by_openai,
    streamed,
    text_block,
    texts,
)


def test_thinking_that_starts_without_a_signature() -> None:
    """Pitfall 129."""
    thinking = block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm."})
    sent = streamed("anthropic", "anthropic", message(thinking, text_block(1, "Hi")))
    assert named(sent, "content_block_start")[0]["content_block"]["signature"] == ""
    assert isinstance(seen_by_anthropic(sent)[0]["signature"], str)
    assert seen_by_anthropic(sent)[0]["signature"]


def test_a_stop_sequence_that_is_none() -> None:
    """Pitfall 130."""
    sent = streamed("anthropic", "anthropic", message(text_block(0, "Hi"), reason="stop_sequence"))
    assert named(sent, "message_delta")[0]["delta"]["stop_reason"] == "end_turn"


def test_reasoning_behind_text_and_in_between_stays_in_order() -> None:
    """Pitfall 131."""
    data = b"".join(
        [
            message_start(),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("content_block_start", index=1, content_block={"type": "thinking", "thinking": ""}),
            event("content_block_delta", index=0, delta={"type": "text_delta", "text": "A"}),
            event("content_block_delta", index=1, delta={"type": "thinking_delta", "thinking": "Hm."}),
            event("content_block_delta", index=0, delta={"type": "text_delta", "text": "B"}),
            event("content_block_stop", index=0),
            event("content_block_stop", index=1),
            message_end(),
        ]
    )
    blocks = seen_by_anthropic(streamed("anthropic", "anthropic", data))
    assert [found["type"] for found in blocks] == ["text", "thinking", "text"]
    assert texts(blocks) == ["A", "Hm.", "B"]


def response_event(kind: str, number: int, **fields: object) -> bytes:
    return f"event: {kind}\n".encode() + frame({"type": kind, "sequence_number": number, **fields})


RESPONSE: Json = {"id": "resp_1", "object": "response", "created_at": 1, "model": "theirs", "status": "in_progress"}
ITEM: Json = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
PART: Json = {"type": "output_text", "text": "Hello", "annotations": []}


@pytest.mark.parametrize("streams", [True, False], ids=["streamed too", "only at the end"])
@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_text_that_comes_only_in_done_events(client: str, streams: bool) -> None:
    """Pitfall 132: and never twice."""
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {**ITEM, "content": [PART]}
    data = b"".join(
        [
            response_event("response.created", 0, response=RESPONSE),
            response_event("response.output_item.added", 1, output_index=0, item={**ITEM, "content": []}),
            response_event("response.output_text.delta", 2, **at, delta="Hel") if streams else b"",
            response_event("response.output_text.done", 3, **at, text="Hello"),
            response_event("response.output_item.done", 4, output_index=0, item=item),
            response_event("response.completed", 5, response={**RESPONSE, "status": "completed", "output": [item]}),
        ]
    )
    sent = streamed("responses", client, data)
    if client == "openai":
        assert seen_by_openai(sent).text == "Hello"
    else:
        assert texts(seen_by_anthropic(sent)) == ["Hello"]


def test_everything_in_the_last_chunk() -> None:
    """Pitfall 133."""
    data = chunk({"content": "Hi"}, "stop", usage=USAGE) + DONE
    kinds = [found["type"] for found in frames(streamed("openai", "anthropic", data))]
    assert kinds[-4:] == ["content_block_delta", "content_block_stop", "message_delta", "message_stop"]
    seen = seen_by_openai(streamed("openai", "openai", data))
    assert (seen.text, seen.finish, (seen.usage or {})["prompt_tokens"]) == ("Hi", "stop", 9)


def test_a_delta_that_is_null() -> None:
    """Pitfall 134."""
    last = {"index": 0, "delta": None, "finish_reason": "stop"}
    data = chunk({"content": "Hi"}) + frame({**HEAD, "choices": [last]}) + DONE
    assert seen_by_openai(streamed("openai", "openai", data)).finish == "stop"


def test_chunks_that_mean_nothing() -> None:
    """Pitfall 135."""
    azure = frame({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{}]})
    told = events("openai", azure + chat({"content": "Hi"}) + azure)
    assert sum(isinstance(found, Start) for found in told) == 1
    assert seen_by_openai(streamed("openai", "openai", azure + chat({"content": "Hi"}))).text == "Hi"
