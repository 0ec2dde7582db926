"""Pitfalls 1 to 23: blocks and tool calls, put together while they stream."""

from __future__ import annotations

import orjson
import pytest

from gateway.neutral.request import FunctionTool, Request
from tests.dialects.cases import asked
from tests.pitfalls.wires import (
    block,
    call,
    chat,
    frames,
    message,
    named,
    seen_by_anthropic,
    seen_by_openai,
    streamed,
    text_block,
    texts,
    use_block,
    whole,
)

OSLO, BERGEN = '{"city":"Oslo"}', '{"city":"Bergen"}'


def test_blank_text_between_calls_is_dropped() -> None:
    """Pitfall 1."""
    data = chat(call(0, "a", "f", OSLO), {"content": "\n"}, call(1, "b", "f", BERGEN), finish="tool_calls")
    blocks = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert [found["type"] for found in blocks] == ["tool_use", "tool_use"]
    assert texts(blocks) == [OSLO, BERGEN]


def test_interleaved_fragments_are_sorted_out() -> None:
    """Pitfall 2."""
    data = chat(
        call(0, "a", "f", '{"city":'),
        call(1, "b", "g", '{"city":'),
        call(0, arguments='"Oslo"}'),
        call(1, arguments='"Bergen"}'),
        finish="tool_calls",
    )
    sent = streamed("openai", "anthropic", data)
    assert [(found["name"], found["input"]) for found in seen_by_anthropic(sent)] == [("f", OSLO), ("g", BERGEN)]
    assert [found["index"] for found in named(sent, "content_block_start")] == [0, 1]
    assert [found["index"] for found in named(sent, "content_block_stop")] == [0, 1]


def test_two_heads_in_one_chunk() -> None:
    """Pitfall 3."""
    heads = {"tool_calls": [call(0, "a", "f", "")["tool_calls"][0], call(1, "b", "g", "")["tool_calls"][0]]}
    data = chat(heads, call(1, arguments=BERGEN), call(0, arguments=OSLO), finish="tool_calls")
    blocks = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert [(found["name"], found["input"]) for found in blocks] == [("f", OSLO), ("g", BERGEN)]


def test_arguments_that_come_only_at_the_end() -> None:
    """Pitfall 4."""
    data = chat(call(0, "a", "f", OSLO), call(1, "b", "g", ""), call(1, arguments=BERGEN), finish="tool_calls")
    blocks = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert texts(blocks) == [OSLO, BERGEN]


def test_fragments_without_an_id_go_by_their_index() -> None:
    """Pitfall 5."""
    data = chat(call(0, "a", "f", '{"x":'), call(1, "b", "g", "{}"), call(0, arguments="1}"), finish="tool_calls")
    assert texts(seen_by_anthropic(streamed("openai", "anthropic", data))) == ['{"x":1}', "{}"]


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_parallel_calls_that_all_have_index_0(client: str) -> None:
    """Pitfall 6."""
    data = chat(*(call(0, f"id{i}", f"f{i}", "{}") for i in range(3)), finish="tool_calls")
    sent = streamed("openai", client, data)
    found = seen_by_openai(sent).calls if client == "openai" else seen_by_anthropic(sent)
    assert [(each["id"], each["name"]) for each in found] == [("id0", "f0"), ("id1", "f1"), ("id2", "f2")]


def test_a_repeated_head_is_one_call() -> None:
    """Pitfall 7."""
    data = chat(call(0, "a", "f", '{"x":'), call(0, "a", "f", "1"), call(0, "a", "f", "}"), finish="tool_calls")
    sent = streamed("openai", "openai", data)
    assert seen_by_openai(sent).calls == [{"id": "a", "name": "f", "arguments": '{"x":1}'}]
    assert sent.count(b'"id":"a"') == 1


def test_calls_without_an_index_get_one() -> None:
    """Pitfall 8."""
    data = chat(call(None, "a", "f", OSLO), call(None, "b", "g", BERGEN), finish="tool_calls")
    sent = streamed("openai", "openai", data)
    assert [found["arguments"] for found in seen_by_openai(sent).calls] == [OSLO, BERGEN]
    for found in frames(sent):
        for choice in found["choices"]:
            assert all(type(each["index"]) is int for each in choice["delta"].get("tool_calls", ()))


def test_tool_indexes_count_calls_not_blocks() -> None:
    """Pitfall 9."""
    data = message(
        text_block(0, "Hm."), use_block(1, "a", "f", OSLO), use_block(2, "b", "g", BERGEN), reason="tool_use"
    )
    seen = seen_by_openai(streamed("anthropic", "openai", data))
    assert [found["arguments"] for found in seen.calls] == [OSLO, BERGEN]


@pytest.mark.parametrize("open_kind", ["content", "reasoning_content"])
def test_what_is_open_stops_before_a_call_starts(open_kind: str) -> None:
    """Pitfall 10."""
    data = chat({open_kind: "Hm."}, call(0, "a", "f", OSLO), finish="tool_calls")
    kinds = [found["type"] for found in frames(streamed("openai", "anthropic", data))]
    starts = [at for at, kind in enumerate(kinds) if kind == "content_block_start"]
    assert kinds[starts[1] - 1] == "content_block_stop"


def test_text_behind_a_call_is_a_new_block() -> None:
    """Pitfall 11."""
    data = chat({"content": "A"}, call(0, "a", "f", OSLO), {"content": "B"}, finish="tool_calls")
    blocks = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert [found["type"] for found in blocks] == ["text", "tool_use", "text"]
    assert texts(blocks) == ["A", OSLO, "B"]


def test_two_hundred_tokens_are_one_block() -> None:
    """Pitfall 12."""
    sent = streamed("openai", "anthropic", chat(*({"content": f"{i} "} for i in range(200))))
    assert len(named(sent, "content_block_start")) == 1
    assert len(named(sent, "content_block_delta")) == 200


def test_a_name_in_pieces_is_told_when_it_is_whole() -> None:
    """Pitfall 13."""
    data = chat(
        call(0, "a"), call(0, name="get_"), call(0, name="weather"), call(0, arguments=OSLO), finish="tool_calls"
    )
    (found,) = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert (found["id"], found["name"], found["input"]) == ("a", "get_weather", OSLO)


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_arguments_as_an_object_become_text(client: str) -> None:
    """Pitfall 14."""
    data = chat(call(0, "a", "f", {"city": "Oslo"}), finish="tool_calls")
    sent = streamed("openai", client, data)
    if client == "openai":
        assert seen_by_openai(sent).calls[0]["arguments"] == OSLO
    else:
        assert seen_by_anthropic(sent)[0]["input"] == OSLO


@pytest.mark.parametrize("arguments", ["", None])
def test_a_call_without_arguments(arguments: str | None) -> None:
    """Pitfall 15."""
    data = chat(call(0, "a", "f", arguments), finish="tool_calls")
    sent = streamed("openai", "anthropic", data)
    assert named(sent, "content_block_delta") == []
    assert named(sent, "content_block_start")[0]["content_block"]["input"] == {}
    assert orjson.loads(seen_by_openai(streamed("openai", "openai", data)).calls[0]["arguments"]) == {}
    assert whole("openai", "anthropic", data)["content"][0]["input"] == {}


def test_a_tools_input_starts_empty() -> None:
    """Pitfall 16: also where the upstream gave it whole in the start."""
    data = message(block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {"city": "Oslo"}}), reason="tool_use")
    sent = streamed("anthropic", "anthropic", data)
    assert named(sent, "content_block_start")[0]["content_block"]["input"] == {}
    assert seen_by_anthropic(sent)[0]["input"] == OSLO


def test_the_head_of_a_call_is_complete_and_its_continuations_are_bare() -> None:
    """Pitfall 17."""
    sent = streamed("anthropic", "openai", message(use_block(0, "a", "f", '{"x":', "1}"), reason="tool_use"))
    deltas = [choice["delta"] for found in frames(sent) for choice in found["choices"]]
    head, *rest = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert head == {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert all(set(each) == {"index", "function"} and set(each["function"]) == {"arguments"} for each in rest)


def test_indexes_have_no_gaps() -> None:
    """Pitfall 18: blocks that say nothing to this client leave none."""
    data = message(
        block(0, {"type": "thinking", "thinking": "", "signature": ""}),
        block(1, {"type": "redacted_thinking", "data": "x"}),
        text_block(2),
        text_block(3, "Hi"),
    )
    sent = streamed("anthropic", "anthropic", data)
    indexes = [found["index"] for found in named(sent, "content_block_start")]
    assert indexes == list(range(len(indexes)))
    assert texts(seen_by_anthropic(sent))[-1] == "Hi"


def test_a_block_that_would_be_empty_is_not_told() -> None:
    """Pitfall 19."""
    data = chat({"content": ""}, {"reasoning_content": ""}, {"content": None})
    assert seen_by_anthropic(streamed("openai", "anthropic", data)) == []


@pytest.mark.parametrize("empty", [{"tool_calls": []}, {"content": ""}, {"content": None}, {}])
def test_empty_deltas_do_not_close_a_call(empty: dict[str, object]) -> None:
    """Pitfall 20."""
    data = chat(call(0, "a", "f", '{"x":'), empty, call(0, arguments="1}"), finish="tool_calls")
    (found,) = seen_by_anthropic(streamed("openai", "anthropic", data))
    assert found["input"] == '{"x":1}'


def test_one_signature_last_and_whole() -> None:
    """Pitfall 21."""
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "signature_delta", "signature": "c2lnbmF0dXJl"},
    )
    sent = streamed("anthropic", "anthropic", message(thinking, text_block(1, "Hi")))
    signed = [found for found in named(sent, "content_block_delta") if found["delta"]["type"] == "signature_delta"]
    assert [found["delta"]["signature"] for found in signed] == ["c2lnbmF0dXJl"]
    kinds = [found["type"] for found in frames(sent)]
    assert kinds[frames(sent).index(signed[0]) + 1] == "content_block_stop"


def test_redacted_reasoning_is_no_text() -> None:
    """Pitfall 22."""
    data = message(block(0, {"type": "redacted_thinking", "data": "c2VjcmV0"}), text_block(1, "Hi"))
    sent = streamed("anthropic", "openai", data)
    seen = seen_by_openai(sent)
    assert (seen.text, seen.reasoning) == ("Hi", "")
    assert whole("anthropic", "openai", data)["choices"][0]["message"]["content"] == "Hi"


def test_a_free_text_call_is_a_function_to_clients_that_declared_none() -> None:
    """Pitfall 23: in chunks it never is of type custom; OpenAI's own SDK has no such chunk."""
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    for request in (asked("openai"), _declaring(FunctionTool("patch"))):
        sent = streamed("openai", "openai", chat({"tool_calls": [custom]}, finish="tool_calls"), request)
        assert b'"custom"' not in sent
        assert seen_by_openai(sent).calls[0]["name"] == "patch"


def _declaring(tool: FunctionTool) -> Request:
    request = asked("openai")
    return Request(request.model, request.turns, tools=(tool,), stream=True, include_usage=True)
