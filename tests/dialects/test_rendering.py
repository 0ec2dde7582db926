"""Request → upstream bodies, for all sixteen pairs: what is sent, reported, or refused in the client's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import BadRequest, GatewayError, Unsupported
from tests.dialects.requests import (
    BODIES,
    USER,
    WEATHER,
    Json,
    carried,
    chat,
    chat_call,
    chat_tool,
    message,
    message_tool,
    parse,
    predict,
    render,
    response,
    response_tool,
)

UPSTREAMS = ("openai", "anthropic", "responses", "truss")
HI: Json = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}


# -- the plain case, sixteen times -----------------------------------------------------------------------------------

PLAIN_RESPONSE: Json = {
    "model": "theirs",
    "input": [{"type": "message", "role": "user", "content": "Hi"}],
    "include": ["reasoning.encrypted_content"],
    "store": False,
}
PLAIN: dict[tuple[str, str], Json] = {
    ("openai", "openai"): {"model": "theirs", "messages": [USER]},
    ("openai", "anthropic"): {"model": "theirs", "max_tokens": 8192, "messages": [HI]},
    ("openai", "truss"): {"messages": [USER]},
    ("anthropic", "openai"): {"model": "theirs", "messages": [USER], "max_tokens": 64},
    ("anthropic", "anthropic"): {"model": "theirs", "max_tokens": 64, "messages": [HI]},
    ("anthropic", "truss"): {"messages": [USER], "max_tokens": 64},
    ("openai", "responses"): PLAIN_RESPONSE,
    ("anthropic", "responses"): {**PLAIN_RESPONSE, "max_output_tokens": 64},
    ("truss", "responses"): PLAIN_RESPONSE,
    ("responses", "openai"): {"model": "theirs", "messages": [USER]},
    ("responses", "anthropic"): {"model": "theirs", "max_tokens": 8192, "messages": [HI]},
    ("responses", "truss"): {"messages": [USER]},
    ("responses", "responses"): PLAIN_RESPONSE,
    ("truss", "openai"): {"model": "theirs", "messages": [USER]},
    ("truss", "anthropic"): {"model": "theirs", "max_tokens": 8192, "messages": [HI]},
    ("truss", "truss"): {"messages": [USER]},
}


@pytest.mark.parametrize(("client", "upstream"), sorted(PLAIN))
def test_one_message(client: str, upstream: str) -> None:
    """Pitfall 74: single text is a plain string for OpenAI's dialect; pitfall 105: a default for Anthropic's."""
    outbound = carried(client, BODIES[client](), upstream)
    assert outbound.body == PLAIN[client, upstream]
    assert outbound.dropped == ()
    is_default = upstream == "anthropic" and client != "anthropic"
    name = "max_output_tokens" if client == "responses" else "max_tokens"
    assert outbound.adapted == ((f"{name}=default",) if is_default else ())


@pytest.mark.parametrize(("client", "upstream"), sorted(PLAIN))
def test_rendering_twice_gives_the_same_bytes(client: str, upstream: str) -> None:
    """Pitfall 72."""
    bodies = {
        "openai": chat(
            messages=TOOL_CHAT, tools=[chat_tool(), chat_tool("now")], stop=["x"], temperature=0.5, user="u"
        ),
        "anthropic": message(messages=TOOL_MESSAGES, tools=[message_tool(), message_tool("now")], stop_sequences=["x"]),
        "responses": response(input=TOOL_ITEMS, tools=[response_tool(), response_tool("now")], user="u"),
        "truss": {"messages": TOOL_CHAT, "tools": [chat_tool()], "stop": ["x"]},
    }
    first, second = (orjson.dumps(carried(client, bodies[client], upstream).body) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("client", sorted(BODIES))
def test_a_stream_asks_for_what_its_dialect_needs(client: str) -> None:
    """mapping.md §3.2: usage is always asked of an OpenAI upstream."""
    body = BODIES[client](stream=True)
    assert carried(client, body, "openai").body["stream_options"] == {"include_usage": True}
    assert carried(client, body, "anthropic").body["stream"] is True
    truss = carried(client, body, "truss")
    assert truss.body["stream"] is True
    assert truss.headers == {"accept": "*/*"}
    assert carried(client, BODIES[client](), "truss").headers == {"accept": "application/json"}
    assert carried(client, body, "truss", raw_eof="refuse").headers == {"accept": "application/json"}


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_forwarding_changes_only_the_model(upstream: str) -> None:
    dialect = DIALECTS[upstream]
    body = BODIES[upstream](weird={"x": [1]}, model="demo")
    outbound = dialect.forward(body, parse(upstream, body), "theirs", dialect.options())
    assert outbound.body == body | ({} if upstream == "truss" else {"model": "theirs"})
    assert list(outbound.body) == list(body)


# -- fields ----------------------------------------------------------------------------------------------------------


def test_system_text_is_one_string() -> None:
    """Pitfall 70, mapping.md §4.1."""
    lead: list[Json] = [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}]
    assert carried("openai", chat(messages=[*lead, USER]), "anthropic").body["system"] == "A\n\nB"
    blocks = [{"type": "text", "text": "A"}, {"type": "text", "text": ""}, {"type": "text", "text": "B"}]
    for upstream in ("openai", "truss"):
        messages = carried("anthropic", message(system=blocks), upstream).body["messages"]
        assert messages == [{"role": "system", "content": "A\n\nB"}, USER]
    assert "system" not in carried("anthropic", message(system=""), "anthropic").body


def test_several_turns_keep_their_order() -> None:
    history = [USER, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"}]
    assert carried("anthropic", message(messages=history), "openai").body["messages"] == history
    sent = carried("openai", chat(messages=history), "anthropic").body["messages"]
    assert [(m["role"], m["content"][0]["text"]) for m in sent] == [(m["role"], m["content"]) for m in history]


def test_turns_of_one_role_become_one_message_for_anthropic() -> None:
    """mapping.md §4.2; empty and blank text is left out (pitfall 64)."""
    history = [USER, {"role": "user", "content": "  "}, {"role": "user", "content": "there"}]
    sent = carried("openai", chat(messages=history), "anthropic").body["messages"]
    assert sent == [{"role": "user", "content": [*HI["content"], {"type": "text", "text": "there"}]}]


def test_anthropic_needs_a_user_first() -> None:
    history = [{"role": "assistant", "content": "Hello"}, USER]
    outbound = carried("openai", chat(messages=history), "anthropic")
    assert outbound.body["messages"][0] == {"role": "user", "content": [{"type": "text", "text": "(continue)"}]}
    assert "messages=user_inserted" in outbound.adapted
    only_system = carried("openai", chat(messages=[{"role": "system", "content": "Go"}]), "anthropic")
    assert [m["role"] for m in only_system.body["messages"]] == ["user"]


def test_instructions_in_mid_conversation_become_a_reminder_for_anthropic() -> None:
    """mapping.md §4.1."""
    outbound = carried("openai", chat(messages=[USER, {"role": "system", "content": "Be brief"}]), "anthropic")
    texts = [block["text"] for block in outbound.body["messages"][0]["content"]]
    assert texts == ["Hi", "<system-reminder>Be brief</system-reminder>"]
    assert "messages=system_in_user" in outbound.adapted


SAMPLING: Json = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 1, "frequency_penalty": -1}


def test_sampling_fields_of_openai() -> None:
    body = chat(**SAMPLING, top_k=5, min_p=0.1, repetition_penalty=1.1, max_tokens=9)
    generic = carried("openai", body, "openai")
    assert {name: generic.body[name] for name in SAMPLING} == SAMPLING
    assert generic.dropped == ("min_p", "repetition_penalty", "top_k")
    vllm = carried("openai", body, "openai", profile="vllm")
    assert (vllm.body["top_k"], vllm.body["min_p"], vllm.body["repetition_penalty"]) == (5, 0.1, 1.1)
    assert vllm.dropped == ()
    to_anthropic = carried("openai", body, "anthropic")
    assert to_anthropic.body["top_k"] == 5
    assert to_anthropic.dropped == ("frequency_penalty", "min_p", "presence_penalty", "repetition_penalty", "seed")


def test_defaults_are_dropped_without_a_word_but_zeroes_are_not() -> None:
    """mapping.md §3.1; pitfall 95: also a temperature of 0 is reported."""
    defaults = chat(presence_penalty=0, frequency_penalty=0, repetition_penalty=1, min_p=0, logit_bias={})
    assert carried("openai", defaults, "anthropic").dropped == ()
    newest = carried("openai", chat(temperature=0, top_p=0.9, top_k=0), "anthropic", version="2026-10-21")
    assert newest.dropped == ("temperature", "top_k", "top_p")
    assert not {"temperature", "top_p", "top_k"} & set(newest.body)
    assert newest.headers == {"anthropic-version": "2026-10-21"}


def test_a_temperature_above_1_is_clamped_for_anthropic() -> None:
    """Pitfall 96."""
    outbound = carried("openai", chat(temperature=1.7, max_tokens=5), "anthropic")
    assert outbound.body["temperature"] == 1.0
    assert outbound.adapted == ("temperature=clamped",)
    assert carried("openai", chat(temperature=1, max_tokens=5), "anthropic").adapted == ()


@pytest.mark.parametrize(
    ("given", "anthropic", "openai", "adapted"),
    [
        ("x", ["x"], ["x"], ()),
        (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"], ["a", "b", "c", "d"], ("stop=first_4",)),
        (["a", ""], ["a"], ["a"], ("stop=blank_removed",)),
        ([], None, None, ()),
    ],
)
def test_stop_sequences(given: Any, anthropic: Any, openai: Any, adapted: tuple[str, ...]) -> None:
    """Pitfall 104."""
    assert carried("openai", chat(stop=given), "anthropic").body.get("stop_sequences") == anthropic
    outbound = carried("openai", chat(stop=given), "openai")
    assert outbound.body.get("stop") == openai
    assert outbound.adapted == adapted


def test_stop_sequences_are_reported_in_the_clients_words() -> None:
    outbound = carried("anthropic", message(stop_sequences=list("abcde")), "openai")
    assert outbound.adapted == ("stop_sequences=first_4",)
    assert carried("openai", chat(stop=["a", " "]), "anthropic").adapted == ("max_tokens=default", "stop=blank_removed")


def test_max_tokens() -> None:
    """Pitfall 105, mapping.md §3.1 and §3.2."""
    both = chat(max_tokens=5, max_completion_tokens=7)
    assert carried("openai", both, "anthropic").body["max_tokens"] == 7
    assert carried("openai", both, "openai", profile="openai").body["max_completion_tokens"] == 7
    assert "max_tokens" not in carried("openai", chat(), "openai").body
    assert carried("openai", chat(), "anthropic", max_tokens=100).body["max_tokens"] == 100
    for upstream in ("openai", "truss"):
        with pytest.raises(Unsupported, match="max_tokens"):
            carried("anthropic", message(max_tokens=0), upstream)
    assert carried("truss", predict(max_new_tokens=5), "anthropic").body["max_tokens"] == 5


def test_the_user() -> None:
    """mapping.md §3.1, §3.2."""
    assert carried("openai", chat(user="u-1"), "anthropic").body["metadata"] == {"user_id": "u-1"}
    outbound = carried("anthropic", message(metadata={"user_id": "u" * 100}), "openai")
    assert len(outbound.body["user"]) == 64
    assert [note.partition("=")[0] for note in outbound.adapted] == ["metadata.user_id"]
    assert carried("openai", chat(safety_identifier="u-1"), "truss").dropped == ("safety_identifier",)


def test_what_nobody_carries_is_named() -> None:
    """Pitfall 109."""
    body = chat(
        store=True, verbosity="low", service_tier="flex", metadata={"a": "b"}, prompt_cache_key="k", logprobs=True
    )
    names = ("logprobs", "metadata", "prompt_cache_key", "service_tier", "store", "verbosity")
    for upstream in ("openai", "anthropic"):
        assert carried("openai", body, upstream).dropped == names
    assert carried("anthropic", message(container={}, speed="fast"), "openai").dropped == ("container", "speed")
    assert carried("truss", predict(beam_width=2, ignore_eos=True), "openai").dropped == ("beam_width", "ignore_eos")


# -- tools -----------------------------------------------------------------------------------------------------------

TOOL_CHAT: list[Json] = [
    USER,
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [chat_call("a", "get_weather", '{"city":"Oslo"}'), chat_call("b", "now", "{}")],
    },
    {"role": "tool", "tool_call_id": "a", "content": "rain"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
    {"role": "user", "content": "And now?"},
]
TOOL_MESSAGES: list[Json] = [
    HI,
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "b", "name": "now", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "rain"}]},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "noon"}]},
            {"type": "text", "text": "And now?"},
        ],
    },
]


TOOL_ITEMS: list[Json] = [
    {"type": "message", "role": "user", "content": "Hi"},
    {"type": "message", "role": "assistant", "content": "Let me see."},
    {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call", "call_id": "b", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": "rain"},
    {"type": "function_call_output", "call_id": "b", "output": "noon"},
    {"type": "message", "role": "user", "content": "And now?"},
]


def test_a_round_of_calls_towards_responses() -> None:
    """Pitfalls 58, 75, 76: and back again, as one assistant message with all its calls."""
    assert carried("openai", chat(messages=TOOL_CHAT), "responses").body["input"] == TOOL_ITEMS
    assert carried("anthropic", message(messages=TOOL_MESSAGES), "responses").body["input"] == TOOL_ITEMS
    assert carried("responses", response(input=TOOL_ITEMS), "responses").body["input"] == TOOL_ITEMS
    tools = [response_tool(), response_tool("now")]
    assert carried("responses", response(input=TOOL_ITEMS, tools=tools), "anthropic").body["messages"] == TOOL_MESSAGES
    plain = carried("responses", response(input=TOOL_ITEMS, tools=tools), "openai").body["messages"]
    assert plain == [*TOOL_CHAT[:3], {"role": "tool", "tool_call_id": "b", "content": "noon"}, TOOL_CHAT[4]]


def test_a_round_of_calls_towards_anthropic() -> None:
    """Pitfalls 58 and 62: one user message, results first; text in front of the calls."""
    outbound = carried("openai", chat(messages=TOOL_CHAT, tools=[chat_tool()]), "anthropic")
    assert outbound.body["messages"] == TOOL_MESSAGES


@pytest.mark.parametrize("upstream", ["openai", "truss"])
def test_a_round_of_calls_towards_openai(upstream: str) -> None:
    """Pitfall 59: tool messages directly behind the calls, then the user's."""
    outbound = carried("anthropic", message(messages=TOOL_MESSAGES, tools=[message_tool()]), upstream)
    expected = [*TOOL_CHAT[:3], {"role": "tool", "tool_call_id": "b", "content": "noon"}, TOOL_CHAT[4]]
    assert outbound.body["messages"] == expected


def test_results_come_before_other_content_wherever_the_client_put_them() -> None:
    """anthropic-messages.md §3."""
    mixed = [*TOOL_MESSAGES[:2], {"role": "user", "content": TOOL_MESSAGES[2]["content"][::-1]}]
    sent = carried("anthropic", message(messages=mixed, tools=[message_tool()]), "anthropic").body["messages"]
    assert [block["type"] for block in sent[2]["content"]] == ["tool_result", "tool_result", "text"]
    sent = carried("anthropic", message(messages=mixed, tools=[message_tool()]), "openai").body["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.parametrize("content", ["", None, "  "])
def test_calls_without_text_have_no_empty_text(content: str | None) -> None:
    """Pitfalls 61 and 64."""
    history = [USER, {"role": "assistant", "content": content, "tool_calls": [chat_call("a", "f", "{}")]}, TOOL_CHAT[2]]
    sent = carried("openai", chat(messages=history, tools=[chat_tool()]), "anthropic").body["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["tool_use"]


def test_text_without_calls_is_one_block() -> None:
    """Pitfall 63."""
    history = [USER, {"role": "assistant", "content": "Hello", "tool_calls": []}, USER]
    sent = carried("openai", chat(messages=history), "anthropic").body["messages"]
    assert sent[1]["content"] == [{"type": "text", "text": "Hello"}]
    sent = carried("openai", chat(messages=history), "openai").body["messages"]
    assert sent[1] == {"role": "assistant", "content": "Hello"}


def test_texts_around_a_call_stay_apart() -> None:
    """mapping.md §4.2: neighbours joined as they are, others with a blank line; behind a call moves in front."""
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    texts = [{"type": "text", "text": text} for text in ("A", "B", "C")]
    turn = {"role": "assistant", "content": [*texts[:2], use, texts[2]]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}
    sent = carried("anthropic", message(messages=[USER, turn, result], tools=[message_tool()]), "openai").body
    assert sent["messages"][1]["content"] == "AB\n\nC"
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": ""}


@pytest.mark.parametrize(
    ("text", "sent"), [("no such city", "Error: no such city"), ("error 404", "error 404"), ("Error: x", "Error: x")]
)
def test_a_failed_tool_says_so_in_its_text(text: str, sent: str) -> None:
    """Pitfall 81; the flag survives towards Anthropic."""
    result = {"type": "tool_result", "tool_use_id": "a", "content": text, "is_error": True}
    history = [*TOOL_MESSAGES[:2], {"role": "user", "content": [result]}]
    body = message(messages=history, tools=[message_tool()])
    assert carried("anthropic", body, "openai").body["messages"][2]["content"] == sent
    assert carried("anthropic", body, "anthropic").body["messages"][2]["content"][0]["is_error"] is True


@pytest.mark.parametrize(
    ("arguments", "input_", "is_repaired"),
    [
        ('{"x":1}', {"x": 1}, False),
        ("", {}, False),
        ("  ", {}, False),
        ("null", {}, False),
        ('"{\\"x\\":1}"', {"x": 1}, True),
        ("[1]", {"value": [1]}, True),
        ("7", {"value": 7}, True),
        ('"hello"', {"value": "hello"}, True),
        ('{"x":123456789012345678901234}', {"x": 1.2345678901234568e23}, True),
        ('{"x":', {"x": None}, True),
        ('{"x":{"y":[1,"abc', {"x": {"y": [1, "abc"]}}, True),
        ('{"x":1,', {"x": 1}, True),
        ('{"x":1} trailing', {"_raw": '{"x":1} trailing'}, True),
        ("[" * 300 + "]" * 300, {"_raw": "[" * 300 + "]" * 300}, True),
    ],
)
def test_arguments_are_always_an_object_for_anthropic(arguments: str, input_: Json, is_repaired: bool) -> None:
    """Pitfall 82, mapping.md §5.5."""
    history = [USER, {"role": "assistant", "tool_calls": [chat_call("a", "f", arguments)]}, TOOL_CHAT[2]]
    outbound = carried("openai", chat(messages=history, tools=[chat_tool()], max_tokens=5), "anthropic")
    assert outbound.body["messages"][1]["content"][0]["input"] == input_
    assert outbound.adapted == (("tool_calls.arguments=repaired",) if is_repaired else ())
    orjson.dumps(outbound.body)


def test_tool_declarations() -> None:
    """Pitfall 101: a schema is always an object's; other keys and their order stay."""
    tools = [chat_tool(), {"type": "function", "function": {"name": "now"}}, chat_tool("x", parameters={"$defs": {}})]
    sent = carried("openai", chat(tools=tools), "anthropic").body["tools"]
    assert sent[0] == {"name": "get_weather", "description": "Weather", "input_schema": WEATHER}
    assert sent[1] == {"name": "now", "input_schema": {"type": "object", "properties": {}}}
    assert sent[2]["input_schema"] == {"type": "object", "$defs": {}}
    back = carried("anthropic", message(tools=[message_tool(type="custom", cache_control={})]), "openai").body["tools"]
    assert back == [chat_tool()]


@pytest.mark.parametrize(
    ("choice", "to_anthropic"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "get_weather"}}, {"type": "tool", "name": "get_weather"}),
    ],
)
def test_tool_choices_both_ways(choice: Any, to_anthropic: Json | None) -> None:
    """mapping.md §5.3."""
    sent = carried("openai", chat(tools=[chat_tool()], tool_choice=choice), "anthropic").body
    assert sent.get("tool_choice") == to_anthropic
    back = carried("anthropic", message(tools=[message_tool()], tool_choice=to_anthropic), "openai").body
    assert back.get("tool_choice") == choice


def test_parallel_calls_both_ways() -> None:
    """Pitfall 103, with and without a choice."""
    single = carried("openai", chat(tools=[chat_tool()], parallel_tool_calls=False), "anthropic").body
    assert single["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    forced = chat(tools=[chat_tool()], parallel_tool_calls=False, tool_choice="required")
    assert carried("openai", forced, "anthropic").body["tool_choice"] == {
        "type": "any",
        "disable_parallel_tool_use": True,
    }
    none = chat(tools=[chat_tool()], parallel_tool_calls=False, tool_choice="none")
    assert carried("openai", none, "anthropic").body["tool_choice"] == {"type": "none"}
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    back = carried("anthropic", message(tools=[message_tool()], tool_choice=choice), "openai").body
    assert (back["tool_choice"], back["parallel_tool_calls"]) == ("auto", False)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_without_tools_nothing_is_said_of_tools(upstream: str) -> None:
    """Pitfall 102; a choice that demands one is refused (mapping.md §5.3)."""
    outbound = carried("openai", chat(tools=[], tool_choice="auto", parallel_tool_calls=False), upstream)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(outbound.body)
    assert "tool_choice" in outbound.dropped
    with pytest.raises(Unsupported) as raised:
        carried("openai", chat(tools=[], tool_choice="required"), upstream)
    assert raised.value.param == "tool_choice"


# -- refused by name -------------------------------------------------------------------------------------------------


def chat_part(part: Json) -> Json:
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": "See:"}, part]}])


REFUSED: list[tuple[str, Json, str, str]] = [
    (
        "openai",
        chat_part({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}),
        "messages.0.content.1",
        "audio",
    ),
    ("openai", chat_part({"type": "file", "file": {"file_id": "f"}}), "messages.0.content.1", "file"),
    ("openai", chat(n=2), "n", "several answers"),
    ("openai", chat(modalities=["text", "audio"]), "modalities", "text"),
    (
        "openai",
        chat(messages=[USER, {"role": "assistant", "content": "So"}], continue_final_message=True),
        "continue_final_message",
        "beginning",
    ),
    ("anthropic", message(messages=[USER, {"role": "assistant", "content": "So"}]), "messages", "beginning"),
]


@pytest.mark.parametrize(("client", "body", "param", "words"), REFUSED)
def test_what_can_not_be_carried_is_refused_by_its_wire_path(client: str, body: Json, param: str, words: str) -> None:
    """Pitfalls 67 and 79: refused by name, never dropped in silence."""
    with pytest.raises(Unsupported) as raised:
        carried(client, body, "anthropic")
    assert raised.value.param == param
    assert raised.value.message.startswith(f"{param}: ")
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("client", "body", "param"),
    [
        ("openai", chat(response_format={"type": "json_object"}), "response_format"),
        ("anthropic", message(output_config={"format": {"type": "json_schema"}}), "output_config.format"),
    ],
)
def test_structured_output_is_refused_where_it_can_not_be_asked_for(client: str, body: Json, param: str) -> None:
    """mapping.md §3: the output's shape is never dropped in silence."""
    with pytest.raises(Unsupported) as raised:
        carried(client, body, "truss")
    assert raised.value.param == param


def test_a_conversation_that_ends_with_the_assistant_is_refused_for_anthropic() -> None:
    """Pitfall 79, mapping.md §4.5."""
    with pytest.raises(GatewayError) as raised:
        carried("openai", chat(messages=[USER, {"role": "assistant", "content": "So"}]), "anthropic")
    assert raised.value.param == "messages.1"


def test_reasoning_in_history_is_dropped_and_named() -> None:
    """Pitfalls 86 and 87."""
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "S"}
    history = [USER, {"role": "assistant", "content": [thinking, {"type": "text", "text": "Yes"}]}, USER]
    outbound = carried("anthropic", message(messages=history), "openai")
    assert b"Hm." not in orjson.dumps(outbound.body)
    assert outbound.dropped == ("messages.reasoning",)


# -- truss -----------------------------------------------------------------------------------------------------------

TALK: list[Json] = [{"role": "system", "content": "S"}, USER, {"role": "assistant", "content": "A"}, USER]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("plain", "System: S\nUser: Hi\nAssistant: A\nUser: Hi\nAssistant:"),
        (
            "chatml",
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("mistral", "<s>[INST] S [/INST][INST] Hi [/INST] A</s>[INST] Hi [/INST]"),
    ],
)
def test_a_conversation_as_a_prompt(template: str, prompt: str) -> None:
    """truss.md §2.4."""
    outbound = carried("openai", chat(messages=TALK), "truss", input="prompt", template=template)
    assert outbound.body["prompt"] == prompt
    assert outbound.body.get("stop") == (["\nUser:"] if template == "plain" else None)


def test_one_user_message_is_the_prompt_verbatim() -> None:
    """truss.md §2.4, rule 1: also text that holds markers."""
    marked = chat(messages=[{"role": "user", "content": "<|im_start|>{}"}])
    assert carried("openai", marked, "truss", input="prompt", template="chatml").body == {"prompt": "<|im_start|>{}"}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    joined = carried("openai", chat(messages=[{"role": "user", "content": parts}]), "truss", input="prompt")
    assert joined.body == {"prompt": "ab"}


@pytest.mark.parametrize(
    ("template", "marker"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("mistral", "[/INST]")]
)
def test_text_that_fakes_a_role_is_refused(template: str, marker: str) -> None:
    """truss.md §2.4, rule 5."""
    history = [USER, {"role": "assistant", "content": "A"}, {"role": "user", "content": f"x{marker}y"}]
    with pytest.raises(BadRequest) as raised:
        carried("openai", chat(messages=history), "truss", input="prompt", template=template)
    assert raised.value.param == "messages.2"
    assert marker in raised.value.message


def test_sampling_fields_under_the_models_own_names() -> None:
    """truss.md §2.4: only what the client set, renamed; "" is never sent."""
    renames = {"max_tokens": "max_new_tokens", "stop": "stop_words_list", "top_p": ""}
    body = chat(max_tokens=5, stop="x", top_p=0.5, min_p=0.1, repetition_penalty=1.2)
    outbound = carried(
        "openai", body, "truss", params=renames, accepts=("repetition_penalty",), extra_body={"fast": True}
    )
    assert outbound.body == {
        "messages": [USER],
        "max_new_tokens": 5,
        "stop_words_list": ["x"],
        "repetition_penalty": 1.2,
        "fast": True,
    }
    assert outbound.dropped == ("min_p", "top_p")


def test_a_prompt_has_no_tools() -> None:
    """truss.md §2.4."""
    with pytest.raises(Unsupported, match="tools are not supported") as raised:
        carried("openai", chat(tools=[chat_tool()]), "truss", input="prompt")
    assert raised.value.param == "tools"
    switched_off = carried("openai", chat(tools=[chat_tool()], tool_choice="none"), "truss", input="prompt")
    assert switched_off.body == {"prompt": "Hi"}
    with pytest.raises(Unsupported) as raised:
        carried("openai", chat(messages=TOOL_CHAT), "truss", input="prompt")
    assert raised.value.param == "messages.1.tool_calls.0"


@pytest.mark.parametrize("field", ["logprobs", "n", "logit_bias", "response_format"])
def test_what_changes_the_meaning_is_refused_for_truss(field: str) -> None:
    """truss.md §2.4."""
    values = {"logprobs": True, "n": 2, "logit_bias": {"5": 1}, "response_format": {"type": "json_object"}}
    with pytest.raises(Unsupported) as raised:
        carried("openai", chat(**{field: values[field]}), "truss")
    assert raised.value.param == field


def test_a_body_that_is_no_chat_can_be_forwarded_and_nothing_else() -> None:
    request = parse("truss", {"image": "…"})
    assert request.own_dialect_only is not None
    assert request.own_dialect_only.param == "prompt"
    assert render(parse("truss", predict()), "truss", input="prompt").body == {"prompt": "Hi"}


@pytest.mark.parametrize("asks", [True, False])
def test_a_truss_engine_is_asked_for_usage_where_the_operator_says_so(asks: bool) -> None:
    outbound = render(parse("openai", chat(stream=True)), "truss", include_usage=asks)
    assert ("stream_options" in outbound.body) is asks
