"""mapping.md §11: what servers send that they should not, one habit a test, and what clients get all the same."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dialects import DIALECTS
from gateway.errors import Kind, Truncated
from gateway.neutral.events import BlockKind, End, Finish, Ping, Reason, Start, Usage
from gateway.neutral.response import Response, fold
from gateway.neutral.sequencer import Sequencer
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
    failure,
    frame,
    message,
    message_end,
    message_start,
    named,
    seen_by_anthropic,
    seen_by_openai,
    streamed,
    text_block,
    use_block,
)


def answer(upstream: str, data: bytes, **options: Any) -> Response:
    return fold(events(upstream, data, **options))


def said(upstream: str, data: bytes) -> list[tuple[str, str]]:
    """(kind, text) of every block, each stream also told to both strict readers."""
    streamed(upstream, "openai", data)
    streamed(upstream, "anthropic", data)
    return [(str(found.kind), found.text) for found in answer(upstream, data).blocks]


# -- OpenAI chat -----------------------------------------------------------------------------------------------------


def final(message_: Json, finish: str) -> bytes:
    """A last chunk with a whole message where the delta should be."""
    return frame(
        {**HEAD, "choices": [{"index": 0, "message": {"role": "assistant"} | message_, "finish_reason": finish}]}
    )


CALLS: Json = {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize("place", ["before", "with content", "with finish", "behind", "in the choice"])
def test_usage_may_come_on_any_chunk(place: str) -> None:
    """§11, C: usage on any chunk, also one before the first choice."""
    told: Json = {"usage": USAGE}
    early = frame({**HEAD, "choices": [], **told}) if place == "before" else b""
    content = chunk({"content": "Hi"}, **(told if place == "with content" else {}))
    inside = (
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", **told}]} if place == "in the choice" else {}
    )
    finish = chunk({}, "stop", **(told if place == "with finish" else inside))
    late = frame({**HEAD, "choices": [], **told}) if place == "behind" else b""
    used = answer("openai", early + content + finish + late + DONE).usage
    assert used is not None
    assert (used.input, used.output) == (9, 3)


def test_calls_may_come_only_in_the_last_message() -> None:
    """§11, C: tool calls only in the final chunk, as a full `message`, behind text that came in deltas."""
    data = chunk({"content": "Let me see"}) + final({"content": "Let me see", **CALLS}, "tool_calls") + DONE
    assert said("openai", data) == [("text", "Let me see"), ("tool", "{}")]
    assert seen_by_openai(streamed("openai", "openai", data)).finish == "tool_calls"


def test_a_last_message_repeats_nothing() -> None:
    """§11, C: what of it came in deltas isn't told twice (pitfall 132's rule, here)."""
    thought = {"reasoning_content": "Hm"}
    data = (
        chunk(thought) + chunk({"content": "Hi"}) + chunk(CALLS) + final({"content": "Hi", **thought, **CALLS}, "stop")
    )
    assert said("openai", data + DONE) == [("reasoning", "Hm"), ("text", "Hi"), ("tool", "{}")]
    assert said("openai", chunk(thought) + final({"content": "Hi", **thought}, "stop") + DONE) == [
        ("reasoning", "Hm"),
        ("text", "Hi"),
    ]


def test_a_blank_reason_on_every_chunk_ends_nothing() -> None:
    """§7.1: `""` is a stop, but only of a stream that ends with no other word."""
    started = (
        chunk({"role": "assistant", "content": ""}, "") + chunk({"content": "Hi "}, "") + chunk({"content": "you"}, "")
    )
    assert said("openai", started + chunk({}, "length") + DONE) == [("text", "Hi you")]
    assert answer("openai", started + chunk({}, "length") + DONE).finish.reason is Reason.LENGTH
    assert answer("openai", started + DONE).finish.reason is Reason.STOP
    assert isinstance(failure("openai", started), Truncated), "a cut stream never looks finished"


def test_a_whole_answer_with_a_blank_reason_is_whole() -> None:
    """§7.1."""
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": ""}]}
    dialect = DIALECTS["openai"]
    told = fold(Sequencer().feed(dialect.load(body, dialect.options())))
    assert (told.text(), told.finish.reason) == ("Hi", Reason.STOP)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_details"])
def test_reasoning_in_any_of_the_three_fields(field: str) -> None:
    """§11 and §6.2, C."""
    value: Any = [{"type": "reasoning.text", "text": "Hm", "index": 0}] if field == "reasoning_details" else "Hm"
    assert said("openai", chat({field: value}, {"content": "Hi"})) == [("reasoning", "Hm"), ("text", "Hi")]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "", "reasoning": "Hm"},
        {"reasoning_content": "Hm", "reasoning": "Hm"},
        {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]},
        {"reasoning_content": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm", "index": 0}]},
    ],
)
def test_of_several_reasoning_fields_the_first_that_says_anything(delta: Json) -> None:
    """§6.2: first non-empty in that order per chunk, never both."""
    assert said("openai", chat(delta)) == [("reasoning", "Hm")]


def test_roles_repeated_or_missing() -> None:
    """§11, C."""
    data = chunk({"content": "Hi"}) + chunk({"role": "assistant", "content": " you"}) + chunk({}, "stop") + DONE
    assert said("openai", data) == [("text", "Hi you")]


@pytest.mark.parametrize("start", [b": OPENROUTER PROCESSING\n\n", frame({**HEAD, "choices": [], "object": ""})])
def test_what_means_nothing_starts_nothing(start: bytes) -> None:
    """§11, C: comments, empty choices, `object: ""`."""
    assert [type(told) for told in events("openai", start + start + chat({"content": "Hi"}))].count(Start) == 1


def test_a_terminator_without_a_space() -> None:
    """§11, C: `data:[DONE]`, and CRLF."""
    data = (chunk({"content": "Hi"}) + chunk({}, "stop")).replace(b"\n", b"\r\n") + b"data:[DONE]\r\n\r\n"
    assert said("openai", data) == [("text", "Hi")]


@pytest.mark.parametrize("matched", [None, 2, ""])
def test_a_stop_token_is_no_stop_sequence(matched: object) -> None:
    """§7.1: only a string is; a token's number or null says nothing a client could read."""
    data = chunk({"content": "Hi"}) + frame(
        {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": matched}]}
    )
    assert answer("openai", data + DONE).finish == Finish(Reason.STOP, raw="stop")


# -- Anthropic -------------------------------------------------------------------------------------------------------


def test_text_in_a_blocks_start_is_its_first_delta() -> None:
    """§11, A."""
    data = message(block(0, {"type": "text", "text": "He"}, {"type": "text_delta", "text": "y"}))
    assert said("anthropic", data) == [("text", "Hey")]
    assert seen_by_anthropic(streamed("anthropic", "anthropic", data)) == [{"type": "text", "text": "Hey"}]


def test_thinking_without_a_signature_gets_ours() -> None:
    """§11, A: a start without `signature`, and none to come."""
    data = message(block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm"}))
    (thought,) = seen_by_anthropic(streamed("anthropic", "anthropic", data))
    assert thought["signature"].startswith("gw1.")


ZEROS = {"input_tokens": 0, "output_tokens": 0}


@pytest.mark.parametrize("usage", [None, {}, ZEROS, {**ZEROS, "cache_read_input_tokens": 0}, {"output_tokens": 0}])
def test_usage_at_the_start_that_says_nothing_is_unknown(usage: Json | None) -> None:
    """§11, A: `message_start.usage` zero, partial or missing; what nobody tells is estimated, never 0 (§7.2)."""
    start = event("message_start", message={"id": "m", "usage": usage})
    end = event("message_delta", delta={"stop_reason": "end_turn"}) + event("message_stop")
    sent = streamed("anthropic", "anthropic", start + text_block(0, "Hi there, you") + end)
    told = seen_usage(sent)
    assert told["input_tokens"] > 0
    assert told["output_tokens"] > 0


def seen_usage(sent: bytes) -> Json:
    (delta,) = named(sent, "message_delta")
    return dict(delta["usage"])


def test_a_prompt_that_was_all_in_the_cache_is_no_empty_one() -> None:
    """§7.2: `input_tokens: 0` beside cache counts is a count."""
    data = message_start(input_tokens=0, cache_read_input_tokens=1000) + text_block(0, "Hi") + message_end()
    used = answer("anthropic", data).usage
    assert used is not None
    assert (used.input, used.cache_read, used.output) == (1000, 1000, 3)


@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": 3}])
def test_a_message_delta_with_little_or_no_usage(usage: Json | None) -> None:
    """§11, A."""
    end = event("message_delta", delta={"stop_reason": "end_turn"}, **({} if usage is None else {"usage": usage}))
    used = answer("anthropic", message_start() + text_block(0, "Hi") + end).usage
    assert used is not None
    assert (used.input, used.output) == (9, 3 if usage else 1)


def test_of_several_message_deltas_the_last_reason_that_is_one() -> None:
    """§11, A: the last non-null `stop_reason`, and usage that overwrites."""
    deltas = [("max_tokens", 1), ("end_turn", 2), (None, 3)]
    told = b"".join(event("message_delta", delta={"stop_reason": r}, usage={"output_tokens": n}) for r, n in deltas)
    found = answer("anthropic", message_start() + text_block(0, "Hi") + told + event("message_stop"))
    assert found.finish.reason is Reason.STOP
    assert found.usage is not None
    assert found.usage.output == 3


def test_blocks_that_nobody_stops() -> None:
    """§11, A: implied by the next start or by message_delta; a complete input in the start counts too."""
    data = b"".join(
        [
            message_start(),
            event("content_block_start", index=0, content_block={"type": "text", "text": "Hi"}),
            event(
                "content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
            ),
            event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"a":'}),
            event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "1}"}),
            event(
                "content_block_start",
                index=2,
                content_block={"type": "tool_use", "id": "u", "name": "g", "input": {"b": 2}},
            ),
            message_end("tool_use"),
        ]
    )
    assert said("anthropic", data) == [("text", "Hi"), ("tool", '{"a":1}'), ("tool", '{"b":2}')]


def test_an_openai_terminator_behind_the_end() -> None:
    """§11, A: `data: [DONE]`, which may also be all the end there is."""
    assert said("anthropic", message(text_block(0, "Hi")) + DONE) == [("text", "Hi")]
    assert said("anthropic", message_start() + text_block(0, "Hi") + message_end(stop=False) + DONE) == [("text", "Hi")]
    assert isinstance(failure("anthropic", message_start() + text_block(0, "Hi") + DONE), Truncated)


def test_frames_without_an_event_line() -> None:
    """§11, A: dispatched on the `type` of their JSON."""
    lines = message(text_block(0, "Hi"), use_block(1, "t", "f", "{}"), reason="tool_use").split(b"\n")
    bare = b"".join(line + b"\n\n" for line in lines if line.startswith(b"data: "))
    assert said("anthropic", bare) == [("text", "Hi"), ("tool", "{}")]


def test_unknown_blocks_are_for_clients_of_their_own_dialect() -> None:
    """§11, A: opaque, dropped for other dialects; numbers of blocks have no gaps (pitfall 18)."""
    data = message(block(0, {"type": "mystery", "x": 1}), text_block(1, "Hi"))
    kept = seen_by_anthropic(streamed("anthropic", "anthropic", data))
    assert kept == [{"type": "mystery", "x": 1}, {"type": "text", "text": "Hi"}]
    told = Sequencer(client="openai").feed(DIALECTS["anthropic"].decoder(DIALECTS["anthropic"].options()).feed(data))
    assert [(found.kind, found.text) for found in fold(told).blocks] == [(BlockKind.TEXT, "Hi")]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", Reason.STOP),
        ("length", Reason.LENGTH),
        ("tool_calls", Reason.TOOL_CALLS),
        ("content_filter", Reason.CONTENT_FILTER),
        ("compaction", Reason.STOP),
        ("no_such_word", Reason.STOP),
    ],
)
def test_openais_words_for_the_end(word: str, reason: Reason) -> None:
    """§11, A, and §7.1: an unknown word is a stop, and kept."""
    assert answer("anthropic", message(text_block(0, "Hi"), reason=word)).finish == Finish(reason, raw=word)


# -- Responses -------------------------------------------------------------------------------------------------------

SAID: Json = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi you", "annotations": []}],
}
CALLED: Json = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
CREATED = event("response.created", response={"id": "resp_up", "model": "theirs", "created_at": 1})


def completed(*items: Json, kind: str = "response.completed", **fields: Any) -> bytes:
    response = {"id": "resp_up", "model": "theirs", "created_at": 1, "status": "completed", "output": list(items)}
    return event(kind, response=response | fields)


def delta(text: str) -> bytes:
    return event("response.output_text.delta", output_index=0, content_index=0, item_id="msg_1", delta=text)


@pytest.mark.parametrize("streams", [b"", delta("Hi"), delta("Hi you")])
def test_the_rest_of_a_text_comes_wherever_it_is_first_told(streams: bytes) -> None:
    """§11, R: the missing suffix from `.done`, nothing twice."""
    done = event("response.output_text.done", output_index=0, content_index=0, item_id="msg_1", text="Hi you")
    item = event("response.output_item.done", output_index=0, item=SAID)
    for ending in (done + completed(SAID), item + completed(SAID), done + item + completed(SAID)):
        assert said("responses", CREATED + streams + ending) == [("text", "Hi you")]


def test_the_rest_of_items_that_nobody_ended_is_in_the_last_event() -> None:
    """§11, R: the missing suffix, of text and of arguments, wherever it is first told."""
    assert said("responses", CREATED + delta("Hi") + completed(SAID)) == [("text", "Hi you")]
    added = event("response.output_item.added", output_index=1, item={**CALLED, "arguments": ""})
    data = CREATED + delta("Hi you") + added + completed(SAID, CALLED)
    assert said("responses", data) == [("text", "Hi you"), ("tool", '{"a":1}')]
    assert said("responses", CREATED + delta("Hi") + added + completed(SAID, CALLED))[1] == ("tool", '{"a":1}')


def test_items_that_can_not_be_told_from_those_streamed_are_not_said_again() -> None:
    """§11, R: a server whose last event has other ids, or items in other places."""
    thought: Json = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]}
    for other in ("other", "", None, 7, ["id"]):
        ending = completed(thought, {**SAID, "id": other})
        assert said("responses", CREATED + delta("Hi you") + ending) == [("text", "Hi you")]


def test_a_final_text_that_does_not_begin_as_the_streamed_one() -> None:
    """§11, R: the streamed one is kept."""
    done = event("response.output_text.done", output_index=0, content_index=0, item_id="msg_1", text="Bye")
    bye = {**SAID, "content": [{"type": "output_text", "text": "Bye", "annotations": []}]}
    assert said("responses", CREATED + delta("Hi") + done + completed(bye)) == [("text", "Hi")]


def test_arguments_only_in_the_end_of_their_item() -> None:
    """§11, R."""
    added = event("response.output_item.added", output_index=0, item={**CALLED, "arguments": ""})
    done = event("response.output_item.done", output_index=0, item=CALLED)
    assert said("responses", CREATED + added + done + completed(CALLED)) == [("tool", '{"a":1}')]
    told = event("response.function_call_arguments.done", output_index=0, item_id="fc_1", arguments='{"a":1}')
    assert said("responses", CREATED + added + told + done + completed(CALLED)) == [("tool", '{"a":1}')]


@pytest.mark.parametrize("kind", ["response.done", "response.completed"])
def test_done_is_completed(kind: str) -> None:
    """§11, R: `response.done` as an alias."""
    assert said("responses", CREATED + completed(SAID, kind=kind)) == [("text", "Hi you")]


@pytest.mark.parametrize("strange", [event("keepalive"), event("response.mystery.delta", delta="x"), event("ping")])
def test_unknown_events_and_keepalives(strange: bytes) -> None:
    """§11, R: ignored; a sign of life is one."""
    told = events("responses", CREATED + strange + delta("Hi you") + strange + completed(SAID))
    assert fold(told).text() == "Hi you"
    assert {type(found) for found in told if isinstance(found, Ping)} <= {Ping}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "completed"}, Reason.STOP),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Reason.LENGTH),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_messages"}}, Reason.LENGTH),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Reason.CONTENT_FILTER),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, Reason.STOP),
        ({"status": "incomplete", "incomplete_details": None}, Reason.LENGTH),
        ({"status": "incomplete"}, Reason.LENGTH),
    ],
)
def test_an_incomplete_response_is_an_end(fields: Json, reason: Reason) -> None:
    """§7.1, `finish_reasons.json`, openai_responses."""
    kind = f"response.{fields['status']}"
    assert answer("responses", CREATED + delta("Hi") + completed(kind=kind, **fields)).finish.reason is reason


@pytest.mark.parametrize("kind", ["response.cancelled", "response.completed"])
def test_a_cancelled_response_is_a_failure_that_says_so(kind: str) -> None:
    """§7.1, `finish_reasons.json`: cancelled is an error, under whatever event."""
    error = failure("responses", CREATED + delta("Hi") + completed(kind=kind, status="cancelled"))
    assert (error.kind, error.message) == (Kind.UPSTREAM, "the upstream cancelled its answer")


# -- any -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "data"),
    [
        ("openai", chat({"content": "Hi"}) + chunk({"content": "more"}) + frame({"error": "late"})),
        ("anthropic", message(text_block(0, "Hi")) + text_block(1, "more") + event("error", error={"message": "late"})),
        ("responses", CREATED + delta("Hi") + completed() + delta("more") + event("error", message="late")),
    ],
)
def test_what_comes_behind_the_terminator_is_ignored(upstream: str, data: bytes) -> None:
    """§9.1: data after the terminator."""
    told = events(upstream, data)
    assert isinstance(told[-1], End)
    assert fold(told).text() == "Hi"


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_usage_and_a_finish_with_no_content_are_a_success(upstream: str) -> None:
    """§9.1: zero blocks; `content: []` for Anthropic clients, `""` for chat clients."""
    used = {"input_tokens": 9, "output_tokens": 0}
    data = {
        "openai": chat(usage=USAGE),
        "anthropic": message(),
        "responses": CREATED + completed(usage=used),
    }[upstream]
    told = events(upstream, data)
    assert isinstance(told[-1], End)
    assert any(isinstance(found, Usage) for found in told)
    assert seen_by_anthropic(streamed(upstream, "anthropic", data)) == []
    assert seen_by_openai(streamed(upstream, "openai", data)).finish == "stop"
