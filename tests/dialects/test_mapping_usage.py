"""mapping.md §7 and §10: why an answer stopped, what it cost, and how its blocks are spelled, between all dialects."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.neutral.events import BlockKind, BlockStart, BlockStop, End, Event, Finish, Reason, Start, TextDelta, Usage
from gateway.neutral.response import fold
from tests.dialects.cases import STAMP, asked
from tests.dialects.wire_grammar import check_anthropic, check_openai, check_responses
from tests.pitfalls.wires import (
    DONE,
    Json,
    block,
    chat,
    chunk,
    event,
    events,
    frames,
    message_end,
    message_start,
    named,
    seen_by_openai,
    streamed,
    text_block,
    whole,
)

SPOKEN = ("openai", "anthropic", "responses")


def load_usage(upstream: str, usage: Json) -> Usage:
    """What a dialect's counts mean, in a stream of its own."""
    data = {
        "openai": chat({"content": "Hi"}, usage=usage),
        "anthropic": message_start(**usage) + text_block(0, "Hi") + message_end(**usage),
        "responses": event("response.created", response={"id": "r"})
        + event("response.completed", response={"id": "r", "status": "completed", "output": [], "usage": usage}),
    }[upstream]
    found = fold(events(upstream, data)).usage
    assert found is not None
    return found


def dump_usage(client: str, usage: Usage) -> Json:
    """The counts a client gets at the end of a stream, which are those of the whole answer."""
    told: list[Event] = [
        Start(),
        BlockStart(0, BlockKind.TEXT),
        TextDelta(0, "Hi"),
        BlockStop(0),
        usage,
        Finish(Reason.STOP),
        End(),
    ]
    sent = frames(DIALECTS[client].encoder(asked(client), STAMP).encode(told))
    last = {"openai": sent[-1], "anthropic": sent[-2], "responses": sent[-1].get("response", {})}[client]
    answer = DIALECTS[client].dump(fold(told), asked(client), STAMP)
    assert answer["usage"] == last["usage"]
    return dict(answer["usage"])


ANTHROPIC = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1000,
    "output_tokens": 50,
}
OPENAI = {
    "prompt_tokens": 1110,
    "completion_tokens": 50,
    "total_tokens": 1160,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
RESPONSES = {
    "input_tokens": 1110,
    "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 1160,
}
COUNTS: dict[str, Json] = {"anthropic": ANTHROPIC, "openai": OPENAI, "responses": RESPONSES}


@pytest.mark.parametrize("upstream", SPOKEN)
@pytest.mark.parametrize("client", SPOKEN)
def test_the_same_counts_everywhere_and_back(upstream: str, client: str) -> None:
    """§7.2, Example: for every pair, exactly."""
    told = dump_usage(client, load_usage(upstream, COUNTS[upstream]))
    told.pop("output_tokens_details" if client == "anthropic" else "", None)
    assert told == COUNTS[client]


@pytest.mark.parametrize(
    ("upstream", "usage", "expected"),
    [
        ("anthropic", {"input_tokens": 5, "output_tokens": 2}, (5, None, None, 2, None)),
        ("anthropic", {"input_tokens": None, "cache_read_input_tokens": 7, "output_tokens": 2}, (7, 7, None, 2, None)),
        (
            "anthropic",
            {"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
            (5, None, None, 9, 4),
        ),
        ("openai", {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 99}, (5, None, None, 2, None)),
        (
            "openai",
            {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None},
            (5, None, None, 2, None),
        ),
        ("openai", {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 3}, (5, 3, None, 2, None)),
        ("openai", {"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, (5, 4, None, 2, None)),
        (
            "openai",
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 2},
                "cached_tokens": 3,
                "prompt_cache_hit_tokens": 4,
            },
            (5, 2, None, 2, None),
        ),
        (
            "openai",
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 5},
            },
            (100, 90, 5, 2, None),
        ),
        (
            "openai",
            {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 4}},
            (5, None, None, 7, 4),
        ),
        (
            "responses",
            {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 90}},
            (95, 90, None, 2, None),
        ),
        (
            "responses",
            {"input_tokens": 5, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 4}},
            (5, None, None, 7, 4),
        ),
    ],
)
def test_what_counts_mean(upstream: str, usage: Json, expected: tuple[int | None, ...]) -> None:
    """§7.2, Decode: (input, cache_read, cache_write, output, reasoning); unknown is none."""
    found = load_usage(upstream, usage)
    assert (found.input, found.cache_read, found.cache_write, found.output, found.reasoning) == expected


@pytest.mark.parametrize("client", SPOKEN)
def test_reasoning_is_inside_the_output(client: str) -> None:
    """§7.2, Encode: told beside it, never added."""
    told = dump_usage(client, Usage(5, 9, reasoning=4))
    assert told["completion_tokens" if client == "openai" else "output_tokens"] == 9
    details = told["completion_tokens_details" if client == "openai" else "output_tokens_details"]
    assert details["thinking_tokens" if client == "anthropic" else "reasoning_tokens"] == 4
    assert told.get("total_tokens", 14) == 14


@pytest.mark.parametrize("client", SPOKEN)
def test_more_cached_than_counted_is_never_negative(client: str) -> None:
    """§7.2, Encode: max(0, …), and totals that hold."""
    told = dump_usage(client, Usage(5, 2, cache_read=9))
    assert min(value for value in told.values() if isinstance(value, int)) >= 0
    assert told.get("total_tokens", 11) == 11


def test_usage_that_nobody_told() -> None:
    """§7.2, Unknown usage: estimates where numbers have to be, none elsewhere."""
    data = chat({"content": "Hello there, you"})
    (delta,) = named(streamed("openai", "anthropic", data), "message_delta")
    assert delta["usage"] == {
        "input_tokens": asked("anthropic").estimate_tokens(),
        "output_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    used = seen_by_openai(streamed("openai", "openai", data)).usage
    assert used is not None
    assert (used["prompt_tokens"], used["completion_tokens"]) == (asked("openai").estimate_tokens(), 4)
    assert frames(streamed("openai", "responses", data))[-1]["response"]["usage"] is None
    assert "usage" not in whole("openai", "openai", data)
    assert whole("openai", "anthropic", data)["usage"]["output_tokens"] > 0


def test_the_last_counts_are_whole_where_only_output_came_late() -> None:
    """§7.2: the final `message_delta` carries all four, merged field by field."""
    data = message_start(input_tokens=9, cache_read_input_tokens=1) + text_block(0, "Hi") + message_end()
    (delta,) = named(streamed("anthropic", "anthropic", data), "message_delta")
    assert delta["usage"] == {
        "input_tokens": 9,
        "output_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 1,
    }


# -- why it stopped --------------------------------------------------------------------------------------------------

ENDS: dict[Reason, tuple[str, str, str, str | None]] = {
    Reason.STOP: ("stop", "end_turn", "completed", None),
    Reason.STOP_SEQUENCE: ("stop", "stop_sequence", "completed", None),
    Reason.LENGTH: ("length", "max_tokens", "incomplete", "max_output_tokens"),
    Reason.CONTEXT_WINDOW: ("length", "model_context_window_exceeded", "incomplete", "max_output_tokens"),
    Reason.TOOL_CALLS: ("tool_calls", "tool_use", "completed", None),
    Reason.CONTENT_FILTER: ("content_filter", "refusal", "incomplete", "content_filter"),
    Reason.REFUSAL: ("content_filter", "refusal", "completed", None),
    Reason.PAUSE: ("stop", "pause_turn", "completed", None),
}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_in_every_dialect_streamed_and_whole(reason: Reason) -> None:
    """§7.1, the table."""
    openai, anthropic, status, incomplete = ENDS[reason]
    sequence = "###" if reason is Reason.STOP_SEQUENCE else None
    told: list[Event] = [Start(), Usage(1, 1), Finish(reason, stop_sequence=sequence), End()]
    sent = {name: DIALECTS[name].encoder(asked(name), STAMP).encode(told) for name in SPOKEN}
    check_openai(sent["openai"], include_usage=True)
    check_anthropic(sent["anthropic"])
    check_responses(sent["responses"])
    answers = {name: DIALECTS[name].dump(fold(told), asked(name), STAMP) for name in SPOKEN}
    (delta,) = named(sent["anthropic"], "message_delta")
    for ended in (delta["delta"], answers["anthropic"]):
        assert (ended["stop_reason"], ended["stop_sequence"]) == (anthropic, sequence)
        is_refused = anthropic == "refusal"
        assert ended.get("stop_details") == (
            {"type": "refusal", "category": None, "explanation": None} if is_refused else None
        )
    assert seen_by_openai(sent["openai"]).finish == answers["openai"]["choices"][0]["finish_reason"] == openai
    for response in (frames(sent["responses"])[-1]["response"], answers["responses"]):
        assert response["status"] == status
        assert (response["incomplete_details"] or {}).get("reason") == incomplete


def test_a_matched_stop_sequence_reaches_every_client_that_has_a_word_for_it() -> None:
    """§7.1: `stop_sequence: s` for Anthropic clients, `stop_reason: s` as an extension for chat clients."""
    ended: Json = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": "###"}]}
    data = chunk({"content": "Hi"}) + chunk({}, **ended) + DONE
    (delta,) = named(streamed("openai", "anthropic", data), "message_delta")
    assert delta["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "###"}
    finishes = [
        c for found in frames(streamed("openai", "openai", data)) for c in found["choices"] if c["finish_reason"]
    ]
    assert [(c["finish_reason"], c["stop_reason"]) for c in finishes] == [("stop", "###")]
    assert whole("openai", "openai", data)["choices"][0]["stop_reason"] == "###"


def test_why_anthropic_refused_is_kept() -> None:
    """§7.1: its own details go to its own clients."""
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    end = event("message_delta", delta={"stop_reason": "refusal", "stop_details": details}, usage={"output_tokens": 1})
    (delta,) = named(streamed("anthropic", "anthropic", message_start() + end + event("message_stop")), "message_delta")
    assert delta["delta"]["stop_details"] == details


# -- §10 -------------------------------------------------------------------------------------------------------------


def test_web_citations_are_annotations_over_the_text_and_others_are_not() -> None:
    """§10, Citations: A→C and A→R `url_citation` with indices over the text; page and char locations are dropped."""
    web = {
        "type": "web_search_result_location",
        "url": "https://x.y",
        "title": "X",
        "cited_text": "c",
        "encrypted_index": "e",
    }
    page = {"type": "page_location", "cited_text": "c", "document_index": 0, "document_title": None}
    cited = [{"type": "citations_delta", "citation": found} for found in (web, page)]
    quoting = block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "world"}, *cited)
    data = message_start() + text_block(0, "Hello ") + quoting + message_end()
    note = {"start_index": 6, "end_index": 11, "url": "https://x.y", "title": "X"}
    assert whole("anthropic", "openai", data)["choices"][0]["message"]["annotations"] == [
        {"type": "url_citation", "url_citation": note}
    ]
    told = [
        c["delta"]["annotations"]
        for f in frames(streamed("anthropic", "openai", data))
        for c in f["choices"]
        if "annotations" in c["delta"]
    ]
    assert [[{k: v for k, v in found.items() if k != "index"} for found in notes] for notes in told] == [
        [{"type": "url_citation", "url_citation": note}]
    ]
    items = whole("anthropic", "responses", data)["output"]
    assert [len(item["content"][0]["annotations"]) for item in items] == [0, 1]
    assert items[1]["content"][0]["annotations"][0] | {"start_index": 0, "end_index": 5} == {
        "type": "url_citation",
        **note,
        "start_index": 0,
        "end_index": 5,
    }


@pytest.mark.parametrize("client", ["openai", "responses", "truss"])
def test_of_server_tools_only_the_text_is_left(client: str) -> None:
    """§10, Server tool blocks: no output for other dialects except the text around them."""
    search: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found: Json = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    data = message_start() + block(0, search, {"type": "input_json_delta", "partial_json": '{"query":"q"}'})
    data += block(1, found) + text_block(2, "Hi") + message_end("pause_turn")
    told: Any = whole("anthropic", client, data)
    assert "web_search" not in orjson.dumps(told).decode()
    assert "Hi" in orjson.dumps(told).decode()
    assert b"web_search" not in streamed("anthropic", client, data)


def test_a_chat_client_hears_the_finish_at_once_and_the_others_wait_for_usage() -> None:
    """§10: C emits the finish chunk at Finish; A and R hold it until End."""
    begun: list[Event] = [Start()]
    for client, is_told in (("openai", True), ("anthropic", False), ("responses", False)):
        encoder = DIALECTS[client].encoder(asked(client), STAMP)
        encoder.encode(begun)
        assert bool(encoder.encode([Finish(Reason.STOP)])) is is_told
        assert encoder.encode([Usage(1, 1)]) == b""
        assert encoder.encode([End()])
