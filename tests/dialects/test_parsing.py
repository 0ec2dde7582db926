"""Client bodies → Request: what is read, and what is refused with which path and words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound
from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from gateway.neutral.request import Request
from tests.dialects.requests import (
    BODIES,
    USER,
    Json,
    chat,
    chat_call,
    chat_tool,
    message,
    message_tool,
    parse,
    predict,
)

BAD_CHAT: list[tuple[Json, str, str]] = [
    ({"messages": [USER]}, "model", "expected a string, got nothing"),
    (chat(model=7), "model", "expected a string, got an integer"),
    (chat(messages=5), "messages", "expected an array, got an integer"),
    (chat(messages=[]), "messages", "expected a non-empty array"),
    (chat(messages=None), "messages", "expected a non-empty array"),
    (chat(messages=["Hi"]), "messages.0", "expected an object, got a string"),
    (chat(messages=[{"content": "Hi"}]), "messages.0.role", "got nothing"),
    (chat(messages=[{"role": "robot", "content": "Hi"}]), "messages.0.role", "got 'robot'"),
    (chat(messages=[{"role": "user", "content": 5}]), "messages.0.content", "expected a string or an array of parts"),
    (chat(messages=[{"role": "user", "content": [5]}]), "messages.0.content.0", "expected an object, got an integer"),
    (
        chat(messages=[{"role": "user", "content": [{"type": 7}]}]),
        "messages.0.content.0.type",
        "expected a string, got an integer",
    ),
    (chat(messages=[USER, {"role": "user", "content": [{"type": "text"}]}]), "messages.1.content.0.text", "nothing"),
    (chat(messages=[{"role": "tool", "content": "x"}]), "messages.0.tool_call_id", "expected a string, got nothing"),
    (
        chat(messages=[{"role": "assistant", "tool_calls": {}}]),
        "messages.0.tool_calls",
        "expected an array, got an object",
    ),
    (
        chat(messages=[{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": 5}}]}]),
        "messages.0.tool_calls.0.function.arguments",
        "expected a string of JSON",
    ),
    (chat(temperature="hot"), "temperature", "expected a number, got a string"),
    (chat(temperature=3), "temperature", "expected a number between 0 and 2, got 3"),
    (chat(temperature=True), "temperature", "expected a number, got a boolean"),
    (chat(max_tokens=0), "max_tokens", "expected an integer of at least 1, got 0"),
    (chat(max_completion_tokens=1.5), "max_completion_tokens", "expected an integer, got a number"),
    (chat(stop=5), "stop", "expected a string or an array of strings, got an integer"),
    (chat(stop=["a", 5]), "stop.1", "expected a string, got an integer"),
    (chat(stream="yes"), "stream", "expected a boolean, got a string"),
    (chat(stream_options=[]), "stream_options", "expected an object, got an array"),
    (chat(tools={}), "tools", "expected an array, got an object"),
    (chat(tools=[{"type": "function"}]), "tools.0.function", "expected an object, got nothing"),
    (chat(tools=[chat_tool(parameters=[])]), "tools.0.function.parameters", "expected an object, got an array"),
    (chat(tool_choice="maybe"), "tool_choice", "expected one of auto, none, required or an object"),
    (chat(tool_choice=5), "tool_choice", "expected an object, got an integer"),
    (chat(response_format={"type": "xml"}), "response_format.type", "got 'xml'"),
    (chat(logit_bias=[]), "logit_bias", "expected an object, got an array"),
    (
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]),
        "messages.0.content.0.image_url.url",
        "expected a data URL",
    ),
]
BAD_MESSAGES: list[tuple[Json, str, str]] = [
    ({"max_tokens": 5, "messages": [USER]}, "model", "expected a string, got nothing"),
    ({"model": "demo", "messages": [USER]}, "max_tokens", "expected an integer, got nothing"),
    (message(max_tokens="5"), "max_tokens", "expected an integer, got a string"),
    (message(max_tokens=-1), "max_tokens", "expected an integer of at least 0, got -1"),
    (message(messages=5), "messages", "expected an array, got an integer"),
    (message(messages=[{"role": "tool", "content": "x"}]), "messages.0.role", "got 'tool'"),
    (message(messages=[{"role": "user", "content": [{"type": 7}]}]), "messages.0.content.0.type", "got an integer"),
    (message(messages=[{"role": "user", "content": 7}]), "messages.0.content", "expected a string or an array"),
    (
        message(
            messages=[{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": ""}]}]
        ),
        "messages.0.content.0.input",
        "expected an object, got a string",
    ),
    (
        message(messages=[{"role": "user", "content": [{"type": "tool_result"}]}]),
        "messages.0.content.0.tool_use_id",
        "expected a string, got nothing",
    ),
    (
        message(messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "path"}}]}]),
        "messages.0.content.0.source.type",
        "expected one of base64, url, file",
    ),
    (message(system=5), "system", "expected a string or an array"),
    (message(system=[{"type": "image", "source": {"type": "url", "url": "u"}}]), "system.0", "expected a text block"),
    (message(stop_sequences=[5]), "stop_sequences.0", "expected a string, got an integer"),
    (message(temperature=1.5), "temperature", "expected a number between 0 and 1, got 1.5"),
    (message(top_k=-1), "top_k", "expected an integer of at least 0, got -1"),
    (message(tools=[{"description": "?"}]), "tools.0.name", "expected a string, got nothing"),
    (message(tools=[message_tool(input_schema="x")]), "tools.0.input_schema", "expected an object, got a string"),
    (message(tool_choice="auto"), "tool_choice", "expected an object, got a string"),
    (message(tool_choice={"type": "tool"}), "tool_choice.name", "expected a string, got nothing"),
    (message(thinking={"type": "deep"}), "thinking.type", "got 'deep'"),
    (message(metadata="me"), "metadata", "expected an object, got a string"),
]
BAD_PREDICTS: list[tuple[Json, str, str]] = [
    ({}, "prompt", "expected either prompt or messages, got neither"),
    (predict(messages=[USER]), "prompt", "expected either prompt or messages, got both"),
    ({"prompt": 5}, "prompt", "expected a string, got an integer"),
    ({"messages": 5}, "messages", "expected an array, got an integer"),
    (predict(max_length=5), "max_length", "counts the prompt too"),
    (predict(max_tokens=5, max_new_tokens=6), "max_new_tokens", "differs from max_tokens"),
    (predict(temperature="hot"), "temperature", "expected a number, got a string"),
]


@pytest.mark.parametrize(("body", "param", "words"), BAD_CHAT)
def test_a_bad_chat_body_is_refused_at_its_path(body: Json, param: str, words: str) -> None:
    refused("openai", body, param, words)


@pytest.mark.parametrize(("body", "param", "words"), BAD_MESSAGES)
def test_a_bad_messages_body_is_refused_at_its_path(body: Json, param: str, words: str) -> None:
    refused("anthropic", body, param, words)


def refused(client: str, body: Json, param: str, words: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse(client, body)
    assert raised.value.param == param
    assert raised.value.message.startswith((param, "body"))
    assert words in raised.value.message


@pytest.mark.parametrize(("body", "param", "words"), BAD_PREDICTS)
def test_a_predict_body_that_is_no_chat_goes_to_truss_upstreams_only(body: Json, param: str, words: str) -> None:
    """truss.md §2.2: bodies are free-form; what can't be translated says why."""
    request = parse("truss", body)
    assert isinstance(request.own_dialect_only, BadRequest)
    assert request.own_dialect_only.param == param
    assert words in request.own_dialect_only.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "stop_sequences",
    "system",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "output_config",
    "thinking",
    "reasoning_effort",
    "metadata",
    "user",
    "stream",
    "stream_options",
    "prompt",
    "max_new_tokens",
    "stop_words_list",
    "do_sample",
    "max_length",
    "n",
    "logit_bias",
    "modalities",
    "seed",
    "role",
    "content",
    "type",
    "text",
    "name",
    "id",
    "function",
    "arguments",
    "tool_calls",
    "tool_call_id",
    "tool_use_id",
    "input",
    "source",
    "image_url",
    "url",
)
WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "tool",
        "system",
        "text",
        "image",
        "image_url",
        "tool_use",
        "tool_result",
        "function",
        "custom",
    ]
)
LIKELY = st.recursive(
    JSON | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), LIKELY, max_size=8)


@pytest.mark.parametrize("client", sorted(DIALECTS))
@settings(max_examples=60, deadline=None)
@given(body=OBJECTS, has_basics=st.booleans())
def test_any_object_is_a_request_or_a_bad_request(client: str, body: Json, has_basics: bool) -> None:
    """Nothing else: no KeyError, no TypeError, and every refusal names a field."""
    inbound = Inbound(BODIES[client]() | body if has_basics else body)
    assert isinstance(outcome(client, inbound), Request | str)


def outcome(client: str, inbound: Inbound) -> Request | str | None:
    """The request, or the field at fault."""
    try:
        return DIALECTS[client].parse(inbound)
    except (BadRequest, Unsupported) as error:
        return error.param


# -- what is read ----------------------------------------------------------------------------------------------------


def test_instructions_in_front_become_system_text_in_their_order() -> None:
    """Pitfall 70: `developer` too."""
    lead: list[Json] = [
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
    ]
    request = parse("openai", chat(messages=[*lead, USER, {"role": "system", "content": "C"}]))
    assert [text.text for text in request.system] == ["A", "B"]
    assert [turn.role for turn in request.turns] == [rq.Role.USER, rq.Role.SYSTEM]


def test_null_is_the_same_as_absent() -> None:
    """openai-chat.md §1."""
    fields = ("stream", "temperature", "stop", "tools", "tool_choice", "max_tokens", "response_format", "user", "seed")
    assert parse("openai", chat(**dict.fromkeys(fields))) == parse("openai", chat())


def test_max_completion_tokens_wins_and_is_what_errors_name() -> None:
    """Pitfall 105."""
    request = parse("openai", chat(max_tokens=5, max_completion_tokens=7))
    assert (request.max_tokens, request.name_of("max_tokens")) == (7, "max_completion_tokens")
    request = parse("openai", chat(max_tokens=5))
    assert (request.max_tokens, request.name_of("max_tokens")) == (5, "max_tokens")


@pytest.mark.parametrize(
    ("given_", "mode", "names"),
    [
        ("auto", "auto", ()),
        ("none", "none", ()),
        ("required", "required", ()),
        ({"type": "function", "function": {"name": "f"}}, "named", ("f",)),
        ({"name": "f"}, "named", ("f",)),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [chat_tool("f"), chat_tool("g")]}},
            "allowed",
            ("f", "g"),
        ),
    ],
)
def test_openais_tool_choices(given_: Any, mode: str, names: tuple[str, ...]) -> None:
    request = parse("openai", chat(tools=[chat_tool("f")], tool_choice=given_))
    assert request.tool_choice == rq.ToolChoice(rq.ChoiceMode(mode), names)


def test_the_old_function_calls_pair_by_their_order() -> None:
    """mapping.md §4.2."""
    history: list[Json] = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "42"},
    ]
    request = parse("openai", chat(messages=history, functions=[{"name": "f"}], function_call={"name": "f"}))
    call, result = list(request.parts())[1:3]
    assert isinstance(call, rq.ToolCall)
    assert isinstance(result, rq.ToolResult)
    assert call.id == result.call_id == "call_legacy_1"
    assert request.tools == (rq.FunctionTool("f"),)
    assert request.tool_choice == rq.ToolChoice(rq.ChoiceMode.NAMED, ("f",))


def test_arguments_sent_as_an_object_become_text() -> None:
    """Pitfall 14, in history."""
    call: Json = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    request = parse("openai", chat(messages=[{"role": "assistant", "tool_calls": [call]}]))
    assert next(request.parts()) == rq.ToolCall("a", "f", '{"x":1}')


def test_parts_know_where_they_stood() -> None:
    calls = [chat_call("a", "f", "{}"), chat_call("b", "g", "{}")]
    request = parse("openai", chat(messages=[USER, {"role": "assistant", "content": "x", "tool_calls": calls}]))
    assert [part.where for part in request.parts()] == [
        "messages.0.content",
        "messages.1.content",
        "messages.1.tool_calls.0",
        "messages.1.tool_calls.1",
    ]


def test_unknown_fields_are_kept_for_their_own_dialect() -> None:
    unknown: Json = {"model": "demo", "messages": [{**USER, "cookie": 1}], "guided_json": {}, "store": None}
    assert parse("openai", unknown).extras == {"openai": {"messages.cookie": 1, "guided_json": {}}}
    assert parse("anthropic", message(mcp_servers=[])).extras == {"anthropic": {"mcp_servers": []}}
    assert parse("truss", predict(beam_width=2)).extras == {"truss": {"beam_width": 2}}


def test_anthropics_choice_says_whether_calls_may_be_parallel() -> None:
    """Pitfall 103."""
    choice = {"type": "any", "disable_parallel_tool_use": True}
    request = parse("anthropic", message(tools=[message_tool()], tool_choice=choice))
    assert request.tool_choice == rq.ToolChoice(rq.ChoiceMode.REQUIRED)
    assert request.parallel_tools is False
    request = parse("anthropic", message(tools=[message_tool()], tool_choice={"type": "tool", "name": "get_weather"}))
    assert request.tool_choice == rq.ToolChoice(rq.ChoiceMode.NAMED, ("get_weather",))
    assert request.parallel_tools is None


def test_an_anthropic_conversation() -> None:
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
    ]
    result: Json = {
        "type": "tool_result",
        "tool_use_id": "a",
        "content": [{"type": "text", "text": "7"}],
        "is_error": True,
    }
    body = message(system=[{"type": "text", "text": "Be kind."}, {"type": "text", "text": ""}])
    body["messages"] = [USER, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    request = parse("anthropic", body)
    assert request.system == (rq.Text("Be kind."),)
    assert request.turns[1].parts == (
        rq.Reasoning("Hm.", rq.OpaqueValue("anthropic", "S")),
        rq.RedactedReasoning(rq.OpaqueValue("anthropic", "D")),
        rq.Text("Let me see."),
        rq.ToolCall("a", "f", '{"x":1}'),
    )
    assert request.turns[2].parts == (rq.ToolResult("a", (rq.Text("7"),), is_error=True),)
    assert not request.prefill


# -- truss -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "named", "models"),
    [
        ({}, "m", ("m", "default")),
        ({}, None, ("default",)),
        ({}, 7, ("default",)),
        ({"model": "abc"}, "m", ("abc",)),
        ({"model": "abc", "env": "production"}, None, ("abc@production", "abc")),
        ({"env": "staging"}, "m", ("m@staging", "m", "default@staging", "default")),
        ({"model": "abc", "deployment": "d1"}, "m", ("abc@d1",)),
        ({"host_model": "abc-staging"}, "m", ("abc-staging", "abc@staging", "abc")),
        ({"host_model": "abc"}, "m", ("abc",)),
    ],
)
def test_which_model_a_predict_call_means(path: Json, named: Any, models: tuple[str, ...]) -> None:
    """truss.md §2.1: what the URL says comes first, and then the body's `model` is a placeholder."""
    request = parse("truss", predict(model=named), path=path)
    assert (request.model, *request.aliases) == models


@pytest.mark.parametrize(
    ("body", "accept", "agent", "form", "is_streamed"),
    [
        (predict(stream=True), "*/*", "curl", "raw", True),
        (predict(), "*/*", "curl", "raw", False),
        (predict(stream=True), "text/event-stream", "curl", "sse", True),
        (predict(stream=True), "application/json", "curl", "raw", False),
        (predict(stream=True), "application/json, text/plain", "curl", "raw", True),
        (predict(stream=True), "application/json", "OpenAI/Python 3.54", "raw", True),
        ({"messages": [USER], "stream": True}, "application/json", "curl", "sse", True),
        ({"messages": [USER]}, "*/*", "curl", "sse", False),
    ],
)
def test_how_a_predict_call_is_answered(body: Json, accept: str, agent: str, form: str, is_streamed: bool) -> None:
    """truss.md §2.3, §0.5: exactly `application/json` collects, unless an OpenAI client asks."""
    request = parse("truss", body, headers={"accept": accept, "user-agent": agent})
    assert (request.form, request.stream) == (form, is_streamed)


def test_names_of_other_frameworks() -> None:
    """truss.md §2.2."""
    request = parse("truss", predict(max_new_tokens=5, stop_words_list=["x"], do_sample=False))
    assert (request.max_tokens, request.stop, request.temperature) == (5, ("x",), 0)
    assert request.name_of("max_tokens") == "max_new_tokens"
    assert request.name_of("stop") == "stop_words_list"
    assert parse("truss", predict(max_new_tokens=5, max_tokens=5)).max_tokens == 5
    assert parse("truss", predict(do_sample=True)).temperature is None
    assert parse("truss", predict(do_sample=False, temperature=0.5)).temperature == 0.5


def test_msgpack_is_not_read() -> None:
    with pytest.raises(BadRequest) as raised:
        parse("truss", predict(), headers={"content-type": "application/octet-stream"})
    assert raised.value.status == 415
