"""Every client on every upstream, over real sockets and with the official SDKs in strict mode."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import orjson
import pytest
import requests
from anthropic.types import MessageParam, ToolParam
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import FunctionToolParam

from gateway.simulator.sayings import HAIKU
from tests.e2e.clients import (
    CLIENTS,
    MAX_TOKENS,
    PATIENCE_S,
    AnthropicClient,
    OpenAIClient,
    ResponsesClient,
    TrussChatClient,
    anthropic_sdk,
    events_of,
    openai_sdk,
    predict_url,
    raise_for_status,
    spread,
)
from tests.e2e.gateway_process import KINDS, World, route_name
from tests.e2e.scripts import PACED, PROMPT, PROMPT_TOKENS, QUICK, TOKENS, faulty

KINDS_WITH_TOOLS = ("openai", "anthropic", "responses", "truss")
FINISHED = {"openai": "stop", "anthropic": "end_turn", "responses": "completed", "truss-chat": "stop"}
"""client → how it hears that an answer is complete; a raw text says nothing."""
every_client = pytest.mark.parametrize("client", CLIENTS)
every_upstream = pytest.mark.parametrize("upstream", KINDS)


# -- text -----------------------------------------------------------------------------------------------------------


@every_client
@every_upstream
def test_text_streams_token_by_token(gw: World, client: str, upstream: str) -> None:
    heard = CLIENTS[client].stream(gw.url, route_name(upstream, PACED), PROMPT)
    seen = spread(heard.arrivals)
    assert heard.text == HAIKU
    assert len(heard.arrivals) == len(TOKENS)
    assert seen.distinct >= 10
    assert seen.over_s > 0.75 * (len(TOKENS) - 1) / 40
    assert heard.finish == FINISHED.get(client)


@every_client
@every_upstream
def test_text_comes_whole(gw: World, client: str, upstream: str) -> None:
    heard = CLIENTS[client].whole(gw.url, route_name(upstream, QUICK), PROMPT)
    assert heard.text == HAIKU
    assert heard.finish == FINISHED.get(client)


@every_client
@every_upstream
def test_characters_cut_in_half_between_two_reads_arrive_whole(gw: World, client: str, upstream: str) -> None:
    assert CLIENTS[client].stream(gw.url, route_name(upstream, faulty("split_utf8")), PROMPT).text == HAIKU


@every_client
@pytest.mark.parametrize("upstream", ["openai", "anthropic"])  # responses end in their last frame and no earlier
def test_a_stream_that_only_lacks_its_last_frame_is_complete(gw: World, client: str, upstream: str) -> None:
    heard = CLIENTS[client].stream(gw.url, route_name(upstream, faulty("no_done")), PROMPT)
    assert heard.text == HAIKU


def test_the_conversation_reaches_the_upstream_whole(gw: World) -> None:
    with openai_sdk(gw.url) as client:
        answer = client.chat.completions.create(
            model=route_name("anthropic", QUICK),
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "haiku?"},
                {"role": "assistant", "content": "No."},
                {"role": "user", "content": "Why not, é 🌊?"},
            ],
        )
    assert answer.choices[0].message.content == "You said: Why not, é 🌊?"


def test_max_tokens_reach_the_upstream_and_come_back_as_the_reason(gw: World) -> None:
    for kind in KINDS_WITH_TOOLS:
        with anthropic_sdk(gw.url) as client:
            message = client.messages.create(
                model=route_name(kind, QUICK), max_tokens=4, messages=[{"role": "user", "content": PROMPT}]
            )
        assert message.stop_reason == "max_tokens"
        assert [block.text for block in message.content if block.type == "text"] == ["".join(TOKENS[:4])]


# -- usage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_streamed_usage_is_what_the_upstream_counted(gw: World, client: str, upstream: str) -> None:
    heard = CLIENTS[client].stream(gw.url, route_name(upstream, QUICK), PROMPT)
    assert heard.usage == (PROMPT_TOKENS, len(TOKENS))


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses", "truss-chat"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses", "truss"])
def test_usage_of_a_whole_answer_is_what_the_upstream_counted(gw: World, client: str, upstream: str) -> None:
    heard = CLIENTS[client].whole(gw.url, route_name(upstream, QUICK), PROMPT)
    assert heard.usage == (PROMPT_TOKENS, len(TOKENS))


def test_usage_that_raw_text_cannot_tell_is_estimated_and_never_zero(gw: World) -> None:
    estimate = (len(PROMPT) // 4, len(HAIKU) // 4)
    assert OpenAIClient().stream(gw.url, route_name("raw", QUICK), PROMPT).usage == estimate
    assert AnthropicClient().stream(gw.url, route_name("raw", QUICK), PROMPT).usage == estimate
    assert AnthropicClient().whole(gw.url, route_name("raw", QUICK), PROMPT).usage == estimate


def test_usage_that_raw_text_cannot_tell_is_left_out_of_a_whole_openai_answer(gw: World) -> None:
    assert OpenAIClient().whole(gw.url, route_name("raw", QUICK), PROMPT).usage is None
    assert ResponsesClient().whole(gw.url, route_name("raw", QUICK), PROMPT).usage is None
    assert ResponsesClient().stream(gw.url, route_name("raw", QUICK), PROMPT).usage is None


@every_upstream
def test_usage_not_asked_for_is_no_key_anywhere(gw: World, upstream: str) -> None:  # pitfall 29
    body = {"model": route_name(upstream, QUICK), "messages": [{"role": "user", "content": PROMPT}], "stream": True}
    for url in (f"{gw.url}/v1/chat/completions", predict_url(gw.url, route_name(upstream, QUICK))):
        told = requests.post(url, json=body, timeout=PATIENCE_S)
        assert told.content.endswith(b"data: [DONE]\n\n")
        assert b'"usage"' not in told.content


@every_upstream
def test_usage_asked_for_is_null_until_its_own_last_chunk(gw: World, upstream: str) -> None:
    body = {
        "model": route_name(upstream, QUICK),
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    told = requests.post(f"{gw.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)
    frames = [orjson.loads(frame.removeprefix(b"data: ")) for frame in told.content.split(b"\n\n")[:-2]]
    assert all(frame["usage"] is None for frame in frames[:-1])
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"]["total_tokens"] > 0


# -- tools ----------------------------------------------------------------------------------------------------------

WEATHER: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOCK: dict[str, object] = {"type": "object", "properties": {"zone": {"type": "string"}, "hours": {"type": "integer"}}}
ASKED = {"get_weather": {"city": "Oslo"}, "get_time": {"zone": "Oslo", "hours": 3}}
RESULTS = {"get_weather": "sunny, 21 °C", "get_time": "noon"}
ANSWER = "The tools said: sunny, 21 °C; noon"

OPENAI_TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "get_time", "parameters": CLOCK}},
]
RESPONSES_TOOLS: list[FunctionToolParam] = [
    {"type": "function", "name": "get_weather", "description": "Weather.", "parameters": WEATHER, "strict": False},
    {"type": "function", "name": "get_time", "parameters": CLOCK, "strict": None},
]
ANTHROPIC_TOOLS: list[ToolParam] = [
    {"name": "get_weather", "description": "Weather.", "input_schema": WEATHER},
    {"name": "get_time", "input_schema": CLOCK},
]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", KINDS_WITH_TOOLS)
def test_openai_sdk_makes_a_parallel_tool_call_round_trip(gw: World, upstream: str, stream: bool) -> None:
    model = route_name(upstream, QUICK)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Weather and time in Oslo?"}]

    def ask() -> Any:
        with openai_sdk(gw.url) as client:
            if not stream:
                return client.chat.completions.create(model=model, messages=messages, tools=OPENAI_TOOLS)
            with client.chat.completions.stream(model=model, messages=messages, tools=OPENAI_TOOLS) as events:
                events.until_done()
                return events.get_final_completion()

    choice = ask().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert {call.function.name: orjson.loads(call.function.arguments) for call in calls} == ASKED
    assert len({call.id for call in calls}) == 2
    messages.append(
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in calls
            ],
        }
    )
    messages += [{"role": "tool", "tool_call_id": call.id, "content": RESULTS[call.function.name]} for call in calls]
    final = ask().choices[0]
    assert (final.message.content, final.finish_reason) == (ANSWER, "stop")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", KINDS_WITH_TOOLS)
def test_anthropic_sdk_makes_a_parallel_tool_call_round_trip(gw: World, upstream: str, stream: bool) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "Weather and time in Oslo?"}]
    asked: Any = {
        "model": route_name(upstream, QUICK),
        "max_tokens": MAX_TOKENS,
        "messages": messages,
        "tools": ANTHROPIC_TOOLS,
    }

    def ask() -> Any:
        with anthropic_sdk(gw.url) as client:
            if not stream:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

    message = ask()
    assert message.stop_reason == "tool_use"
    assert {block.name: block.input for block in message.content} == ASKED
    assert len({block.id for block in message.content}) == 2
    messages.append({"role": "assistant", "content": message.content})
    messages.append(
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": block.id, "content": RESULTS[block.name]}
                for block in message.content
            ],
        }
    )
    final = ask()
    assert final.stop_reason == "end_turn"
    assert [block.text for block in final.content] == [ANSWER]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", KINDS_WITH_TOOLS)
def test_openai_sdk_makes_a_parallel_tool_call_round_trip_with_responses(
    gw: World, upstream: str, stream: bool
) -> None:
    """Pitfalls 76 and 117: all calls are one turn, and the output goes back as it came."""
    items: list[Any] = [{"role": "user", "content": "Weather and time in Oslo?"}]
    asked: Any = {"model": route_name(upstream, QUICK), "input": items, "tools": RESPONSES_TOOLS, "store": False}

    def ask() -> Any:
        with openai_sdk(gw.url) as client:
            if not stream:
                return client.responses.create(**asked)
            with client.responses.stream(**asked) as events:
                return events.get_final_response()

    first = ask()
    calls = [item for item in first.output if item.type == "function_call"]
    assert {call.name: orjson.loads(call.arguments) for call in calls} == ASKED
    assert len({call.call_id for call in calls}) == len({call.id for call in calls}) == 2
    items += first.output
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": RESULTS[call.name]} for call in calls]
    final = ask()
    assert (final.output_text, final.status) == (ANSWER, "completed")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", KINDS_WITH_TOOLS)
def test_predict_with_messages_makes_a_parallel_tool_call_round_trip(gw: World, upstream: str, stream: bool) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Weather and time in Oslo?"}]

    def ask() -> dict[str, Any]:
        body = {"messages": messages, "tools": OPENAI_TOOLS, "stream": stream, "max_tokens": MAX_TOKENS}
        with TrussChatClient().call(gw.url, route_name(upstream, QUICK), body) as answer:
            if stream:
                return folded([ChatCompletionChunk.model_validate(event) for event in events_of(answer)])
            message: dict[str, Any] = answer.json()["choices"][0]["message"]
            return message

    calls = ask()["tool_calls"]
    assert {call["function"]["name"]: orjson.loads(call["function"]["arguments"]) for call in calls} == ASKED
    messages.append({"role": "assistant", "tool_calls": calls})
    messages += [
        {"role": "tool", "tool_call_id": call["id"], "content": RESULTS[call["function"]["name"]]} for call in calls
    ]
    assert ask()["content"] == ANSWER


def folded(chunks: list[ChatCompletionChunk]) -> dict[str, Any]:
    """The message that chunks make, read as strictly as the protocol has it: one head a call, in order."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    for delta in [choice.delta for chunk in chunks for choice in chunk.choices]:
        message["content"] += delta.content or ""
        for call in delta.tool_calls or []:
            function = call.function
            assert function is not None
            if call.id:
                assert call.index == len(message["tool_calls"])
                head = {"name": function.name, "arguments": ""}
                message["tool_calls"].append({"id": call.id, "type": "function", "function": head})
            assert call.index == len(message["tool_calls"]) - 1, "calls come one after the other"
            message["tool_calls"][call.index]["function"]["arguments"] += function.arguments or ""
    return message


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_tools_for_a_model_that_only_reads_a_prompt_are_refused_before_it_is_called(
    gw: World, client: str, stream: bool
) -> None:
    before = gw.calls(QUICK)
    model = route_name("raw", QUICK)
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "stream": stream}
    if client == "responses":
        asked = {"model": model, "input": "x", "tools": RESPONSES_TOOLS, "stream": stream}
        answer = requests.post(f"{gw.url}/v1/responses", json=asked, timeout=9)
        assert answer.json()["error"]["code"] == "unsupported_parameter"
    elif client == "openai":
        answer = requests.post(f"{gw.url}/v1/chat/completions", json={**body, "tools": OPENAI_TOOLS}, timeout=9)
        assert answer.json()["error"]["code"] == "unsupported_parameter"
    else:
        answer = requests.post(f"{gw.url}/v1/messages", json={**body, "tools": ANTHROPIC_TOOLS}, timeout=9)
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.status_code == 400
    assert "tools are not supported" in answer.json()["error"]["message"]
    assert gw.calls(QUICK) == before


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_a_tool_call_that_raw_text_cannot_carry_is_an_error_status(gw: World, upstream: str, stream: bool) -> None:
    body = {"prompt": "Weather?", "tools": OPENAI_TOOLS, "stream": stream}
    answer = requests.post(predict_url(gw.url, route_name(upstream, QUICK)), json=body, timeout=PATIENCE_S)
    assert answer.status_code == 502
    assert answer.json() == {"error": "the model called a tool, which raw text can't carry"}


# -- same dialect in and out ----------------------------------------------------------------------------------------

CHAT = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": MAX_TOKENS}
SAME = {
    "openai": ("openai", "/chat/completions", "/v1/chat/completions", CHAT),
    "anthropic": ("anthropic", "/v1/messages", "/v1/messages", CHAT),
    "responses": ("responses", "/responses", "/v1/responses", {"input": PROMPT, "max_output_tokens": MAX_TOKENS}),
    "truss-raw": ("truss", "", "", {"prompt": PROMPT, "max_tokens": MAX_TOKENS, "whatever": [1, 2]}),
    "truss-chat": ("truss", "", "", CHAT),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("pair", SAME)
def test_same_dialect_pairs_relay_every_byte(gw: World, pair: str, stream: bool) -> None:
    kind, upstream_path, path, body = SAME[pair]
    model = route_name(kind, PACED)
    body = {**body, "model": model, "stream": stream}
    direct = requests.post(gw.upstream_url(kind, PACED) + upstream_path, json=body, stream=True, timeout=PATIENCE_S)
    url = gw.url + path if path else predict_url(gw.url, model)
    relayed = requests.post(url, json=body, stream=True, timeout=PATIENCE_S)
    with direct, relayed:
        raise_for_status(direct)
        raise_for_status(relayed)
        assert relayed.headers["content-type"] == direct.headers["content-type"]
        pieces, pieces_direct = list(relayed.iter_content(None)), list(direct.iter_content(None))
        assert b"".join(pieces) == b"".join(pieces_direct)
        if pair == "truss-raw":  # no lifecycle frames to hold back: a piece is what one read brought, and none is split
            assert set(accumulate(map(len, pieces))) <= set(accumulate(map(len, pieces_direct)))
            assert len(pieces) > 1 or not stream
