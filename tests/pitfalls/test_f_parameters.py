"""Pitfalls 95 to 109: parameters, ids, names and schemas."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.neutral.events import BlockStart
from gateway.neutral.restoring import restored
from tests.dialects.requests import USER, WEATHER, chat, chat_tool, message, message_tool
from tests.faults.callers import ask, post
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import ANTHROPIC
from tests.pitfalls.bodies import Json, assistant, calls, response, result, sent_to, talk, tool, use, user
from tests.pitfalls.wires import call, sequencer
from tests.pitfalls.wires import chat as chat_stream


def test_the_newest_version_takes_no_sampling() -> None:
    """Pitfall 95."""
    for client in ("openai", "responses"):
        body = chat(temperature=1, top_p=1) if client == "openai" else response(temperature=1, top_p=1)
        outbound = sent_to("anthropic", client, body, version="2026-10-21")
        assert not {"temperature", "top_p", "top_k"} & set(outbound.body)
        assert outbound.headers["anthropic-version"] == "2026-10-21"
        assert {"temperature", "top_p"} <= set(outbound.dropped)


def test_a_warm_temperature_is_clamped() -> None:
    """Pitfall 96."""
    outbound = sent_to("anthropic", "openai", chat(temperature=1.7))
    assert outbound.body["temperature"] == 1.0
    assert "temperature=clamped" in outbound.adapted


@pytest.mark.parametrize("user_id", ["u" * 200, '{"device": "x@y", "session": "z"}' * 4])
def test_odd_user_ids_are_accepted_and_shortened(user_id: str) -> None:
    """Pitfall 97."""
    outbound = sent_to("openai", "anthropic", message(metadata={"user_id": user_id}))
    sent = outbound.body.get("user") or outbound.body.get("safety_identifier")
    assert sent is not None
    assert len(sent) <= 64
    assert user_id not in orjson.dumps(outbound.body).decode()
    assert sent_to("anthropic", "openai", chat(user="jo@example.com")).body["metadata"]["user_id"] != "jo@example.com"


def test_long_tool_names_are_shortened_and_restored() -> None:
    """Pitfall 98."""
    one, two = "x" * 80 + "_one", "x" * 80 + "_two"
    history = [USER, assistant([use("a", one)]), user([result("a", "1")])]
    body = message(
        messages=history,
        tools=[message_tool(one), message_tool(two)],
        tool_choice={"type": "tool", "name": two},
    )
    outbound = sent_to("openai", "anthropic", body)
    declared = [each["function"]["name"] for each in outbound.body["tools"]]
    assert len(set(declared)) == 2
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in declared)
    assert outbound.body["tool_choice"]["function"]["name"] == declared[1]
    assert outbound.body["messages"][1]["tool_calls"][0]["function"]["name"] == declared[0]
    assert called(outbound.restoration, declared[1]).name == two


def called(restoration: Any, name: str, arguments: str = "{}") -> BlockStart:
    """What the client is told of a call to this tool."""
    dialect = DIALECTS["openai"]
    data = chat_stream(call(0, "a", name, arguments), finish="tool_calls")
    told = restored(sequencer(), restoration).feed(dialect.decoder(dialect.options()).feed(data))
    return next(event for event in told if isinstance(event, BlockStart))


def test_odd_ids_are_valid_for_anthropic_and_still_pair() -> None:
    """Pitfall 99."""
    ids = ["functions.Bash:0", "functions.Bash.0", "functions Bash 0"]
    body = talk(assistant(tool_calls=calls(*ids)), *(tool(id_, id_) for id_ in ids))
    sent = sent_to("anthropic", "openai", body).body["messages"]
    used = [found["id"] for found in sent[1]["content"]]
    assert [found["tool_use_id"] for found in sent[2]["content"]] == used
    assert len(set(used)) == 3
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", id_) for id_ in used)


@pytest.mark.parametrize("word", ["oneOf", "anyOf", "allOf"])
def test_alternatives_at_the_root_of_a_schema(word: str) -> None:
    """Pitfall 100."""
    branches = [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}, "required": ["b"]},
    ]
    schema = {word: branches, "$defs": {"b": {"type": "integer"}}, "$schema": "x", "$id": "y"}
    outbound = sent_to("anthropic", "openai", chat(tools=[chat_tool("f", parameters=schema)]))
    sent = outbound.body["tools"][0]["input_schema"]
    assert not {"oneOf", "anyOf", "allOf", "$schema", "$id"} & set(sent)
    assert sent["type"] == "object"
    assert set(sent["properties"]) == {"a", "b"}
    assert sent["$defs"] == {"b": {"type": "integer"}}
    assert any("input_schema" in told for told in outbound.adapted)
    untouched = sent_to("responses", "openai", chat(tools=[chat_tool("f", parameters=schema)])).body["tools"][0]
    assert untouched["parameters"][word] == branches


def test_missing_schemas_become_objects() -> None:
    """Pitfall 101."""
    shapes: list[Json | None] = [None, {}, {"properties": {}}]
    for parameters in shapes:
        body = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
        assert sent_to("anthropic", "openai", body).body["tools"][0]["input_schema"]["type"] == "object"
        body = message(tools=[{"name": "f", "input_schema": parameters}])
        assert sent_to("openai", "anthropic", body).body["tools"][0]["function"]["parameters"]["type"] == "object"


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses", "truss"])
def test_no_tools_means_no_word_of_tools(upstream: str) -> None:
    """Pitfall 102."""
    sent = sent_to(upstream, "openai", chat(tools=[], tool_choice="auto", parallel_tool_calls=True)).body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sent)


def test_one_call_at_a_time_both_ways() -> None:
    """Pitfall 103."""
    sent = sent_to("anthropic", "openai", chat(tools=[chat_tool()], parallel_tool_calls=False)).body
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    for upstream in ("openai", "responses"):
        back = sent_to(upstream, "anthropic", message(tools=[message_tool()], tool_choice=choice)).body
        assert back["parallel_tool_calls"] is False


@pytest.mark.parametrize("stop", ["x", ["a", "b", "c", "d", "e"], ["a", "", "  "], []])
def test_stops_of_any_shape_are_legal_upstream(stop: Any) -> None:
    """Pitfall 104."""
    sent = sent_to("anthropic", "openai", chat(stop=stop)).body.get("stop_sequences", [])
    assert all(each.strip() for each in sent)
    sent = sent_to("openai", "anthropic", message(stop_sequences=[stop] if isinstance(stop, str) else stop)).body
    assert len(sent.get("stop", [])) <= 4
    assert all(sent.get("stop", ["x"]))


def test_a_limit_is_made_up_only_where_none_is_given() -> None:
    """Pitfall 105."""
    outbound = sent_to("anthropic", "openai", chat())
    assert outbound.body["max_tokens"] == 8192
    assert "max_tokens=default" in outbound.adapted
    assert sent_to("anthropic", "openai", chat(max_tokens=5, max_completion_tokens=7)).body["max_tokens"] == 7


GRAMMAR: Json = {"type": "grammar", "syntax": "lark", "definition": "start: /x+/"}
PATCH: Json = {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": GRAMMAR}


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_free_text_and_namespaced_tools_of_codex(upstream: str) -> None:
    """Pitfall 106."""
    space = {
        "type": "namespace",
        "name": "agents",
        "tools": [{"type": "function", "name": "spawn", "parameters": WEATHER}],
    }
    outbound = sent_to(upstream, "responses", response(tools=[PATCH, space]))
    declared = [each.get("name") or each["function"]["name"] for each in outbound.body["tools"]]
    assert declared == ["apply_patch", "agents__spawn"]
    told = called(outbound.restoration, "agents__spawn")
    assert (told.name, told.namespace) == ("spawn", "agents")
    told = called(outbound.restoration, "apply_patch", '{"input":"*** Begin"}')
    assert (told.name, told.call_kind) == ("apply_patch", "custom")


def test_the_grammar_of_a_namespaced_tool_is_kept() -> None:
    """Pitfall 107."""
    space = {"type": "namespace", "name": "agents", "tools": [PATCH]}
    (sent,) = sent_to("anthropic", "responses", response(tools=[space])).body["tools"]
    assert "start: /x+/" in sent["description"]


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_unknown_hosted_tools_do_no_harm(upstream: str) -> None:
    """Pitfall 108."""
    tools = [{"type": "web_search"}, {"type": "tool_search"}, {"type": "brand_new"}, PATCH]
    outbound = sent_to(upstream, "responses", response(tools=tools))
    assert len(outbound.body["tools"]) == 1
    assert {"tools.web_search", "tools.tool_search", "tools.brand_new"} <= set(outbound.dropped)


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_changed_is_told_in_headers(upstream: HostileUpstream, gateway: Gateway, stream: bool) -> None:
    """Pitfall 109."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(ANTHROPIC.answer(seen))

    upstream.perform(play)
    body = chat(model="anthropic", seed=1, temperature=1.5, stream=stream)
    reply = ask(gateway.port, post("/v1/chat/completions", orjson.dumps(body)))
    assert reply.status == 200
    assert reply.header("x-gateway-dropped") == "seed"
    assert reply.header("x-gateway-adapted") == "max_tokens=default,temperature=clamped"
