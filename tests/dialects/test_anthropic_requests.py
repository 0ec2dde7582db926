"""The other fields of a request: as Anthropic clients send them, and as Anthropic upstreams get them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound
from gateway.dialects.sealing import Sealer
from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import USER, Json, carried, chat, chat_call, chat_tool, message, parse, render

CACHE = {"type": "ephemeral"}


def said(text: str, role: str = "assistant") -> Json:
    return {"role": role, "content": text}


# -- what Anthropic clients send -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, rq.ReasoningRequest("on", None, 2000)),
        ({"type": "adaptive"}, rq.ReasoningRequest("auto")),
        ({"type": "adaptive", "display": "omitted"}, rq.ReasoningRequest("auto", visible="omit")),
        ({"type": "adaptive", "display": "summarized"}, rq.ReasoningRequest("auto", visible="summary")),
        ({"type": "adaptive", "display": None}, rq.ReasoningRequest("auto")),
        ({"type": "disabled"}, rq.ReasoningRequest("off")),
        ({"type": "between_tools"}, rq.ReasoningRequest("off")),
    ],
)
def test_how_the_client_wants_it_to_think(thinking: Json, reasoning: rq.ReasoningRequest) -> None:
    """mapping.md §6.1."""
    assert parse("anthropic", message(thinking=thinking)).reasoning == reasoning
    with_effort = parse("anthropic", message(thinking=thinking, output_config={"effort": "max"}))
    assert with_effort.reasoning == replace(reasoning, effort="max")


def test_a_schema_in_its_new_place_and_its_old_one() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    new = parse("anthropic", message(output_config={"format": form}))
    old = parse("anthropic", message(output_format=form))
    assert new.output == old.output == rq.JsonSchemaFormat({"type": "object"})
    assert (new.name_of("output"), old.name_of("output")) == ("output_config.format", "output_format")
    assert parse("anthropic", message(output_config={"format": None, "effort": None})).output is None


def test_signatures_are_opened() -> None:
    """mapping.md §6.3: a token of ours holds another server's value, anything else is Anthropic's, nothing is none."""
    sealer = Sealer(b"secret")
    value = rq.OpaqueValue("openai-encrypted", "X", "openai")
    blocks = [
        {"type": "thinking", "thinking": "A", "signature": sealer.seal("vllm")},
        {"type": "thinking", "thinking": "B", "signature": "S=="},
        {"type": "thinking", "thinking": "C", "signature": ""},
        {"type": "thinking", "thinking": "D", "signature": "gw1.broken"},
        {"type": "redacted_thinking", "data": sealer.seal("openai", value)},
        {"type": "redacted_thinking", "data": "R=="},
    ]
    body = message(messages=[USER, {"role": "assistant", "content": blocks}, USER])
    parts = DIALECTS["anthropic"].parse(Inbound(body, sealer=sealer)).turns[1].parts
    assert parts == (
        rq.Reasoning("A", rq.OpaqueValue("none", "", "vllm")),
        rq.Reasoning("B", rq.OpaqueValue("anthropic", "S==")),
        rq.Reasoning("C"),
        rq.Reasoning("D", rq.OpaqueValue("foreign", "", "foreign")),
        rq.RedactedReasoning(value),
        rq.RedactedReasoning(rq.OpaqueValue("anthropic", "R==")),
    )


def test_blocks_that_only_anthropic_knows_are_kept_for_it() -> None:
    """Server tools run at Anthropic: what they said means nothing elsewhere."""
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    body = message(messages=[USER, {"role": "assistant", "content": [use, found, {"type": "text", "text": "Y"}]}, USER])
    parts = parse("anthropic", body).turns[1].parts
    assert parts[:2] == (
        rq.Opaque("anthropic", "server_tool_use", use),
        rq.Opaque("anthropic", "web_search_tool_result", found),
    )
    assert carried("anthropic", body, "anthropic").body["messages"][1]["content"][:2] == [use, found]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "container_1"}, "container"),
        ({"container": {"id": "container_1", "skills": []}}, "container.id"),
        ({"thread": {"continue": "thread_1"}}, "thread.continue"),
    ],
)
def test_state_at_anthropic_ties_a_request_to_it(fields: Json, param: str) -> None:
    """mapping.md §3.2: refused elsewhere, forwarded there."""
    refusal = parse("anthropic", message(**fields)).own_dialect_only
    assert refusal is not None
    assert refusal.param == param


def test_fields_that_only_anthropic_knows_are_named_when_dropped() -> None:
    fields: Json = {
        "container": {"skills": []},
        "mcp_servers": [],
        "context_management": {"edits": []},
        "inference_geo": "eu",
        "cache_control": CACHE,
        "diagnostics": {},
        "thread": {},
        "fallbacks": [],
        "output_config": {"task_budget": 5},
        "metadata": {"user_id": "u", "team": "t"},
        "thinking": {"type": "disabled", "pace": 1},
    }
    request = parse("anthropic", message(**fields))
    plain = {name for name in fields if name not in ("output_config", "metadata", "thinking")}
    expected = (plain - {"cache_control"}) | {"output_config.task_budget", "metadata.team", "thinking.pace"}
    assert set(request.extras["anthropic"]) == expected
    assert request.own_dialect_only is None
    assert {"cache_control", *expected} <= set(carried("anthropic", message(**fields), "openai").dropped)


def test_service_tiers_and_speed() -> None:
    """mapping.md §3.2."""
    assert parse("anthropic", message(service_tier="standard_only")).service_tier == "standard_only"
    assert parse("anthropic", message(service_tier="auto")).service_tier == "auto"
    fast = parse("anthropic", message(speed="fast"))
    assert (fast.service_tier, fast.name_of("service_tier")) == ("priority", "speed")
    assert parse("anthropic", message(speed="standard")) == parse("anthropic", message())
    both = parse("anthropic", message(speed="fast", service_tier="auto"))
    assert (both.service_tier, both.extras) == ("auto", {"anthropic": {"speed": "fast"}})


def test_either_version_and_any_length_of_user_id() -> None:
    """Pitfall 97; sampling fields are taken whatever the client's version (mapping.md §3.2)."""
    user_id = '{"user":"@' + "x" * 10_000
    body = message(temperature=0.5, top_p=0.5, top_k=3, max_tokens=0, metadata={"user_id": user_id})
    for version in ("2023-06-01", "2026-10-21", "", "next"):
        request = parse("anthropic", body, headers={"anthropic-version": version})
        assert (request.temperature, request.top_p, request.top_k, request.max_tokens) == (0.5, 0.5, 3, 0)
        assert request.user_id == user_id
    sent = render(parse("anthropic", body | {"max_tokens": 5}), "anthropic").body["metadata"]["user_id"]
    assert len(sent) == 64


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema", "schema": 5}}}, "output_config.format.schema"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_format": {"type": "xml"}}, "output_format.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"speed": "slow"}, "speed"),
        ({"messages": [USER, {"role": "system", "content": [{"type": "tool_use"}]}]}, "messages.1.content.0.id"),
        ({"tools": [{"name": "f", "cache_control": 1}]}, "tools.0.cache_control"),
        ({"tools": [{"type": "web_search_20250305", "name": "f"}, {"type": 7}]}, "tools.1.type"),
        ({"system": [{"type": "search_result", "source": "", "title": "", "content": []}]}, "system.0"),
    ],
)
def test_a_bad_value_is_refused_at_its_path(fields: Json, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse("anthropic", message(**fields))
    assert raised.value.param == param


# -- what Anthropic upstreams get ------------------------------------------------------------------------------------


def test_breakpoints_of_the_cache_are_kept() -> None:
    """mapping.md §3.1: on the blocks they stood on, an hour where longer was asked; tools, system and messages."""
    base = parse("openai", chat(max_tokens=5))
    request = replace(
        base,
        system=(rq.Text("A", cache=CACHE), rq.Text("B")),
        tools=(rq.FunctionTool("f", cache={"type": "ephemeral", "ttl": "1h"}),),
        turns=(rq.Turn(rq.Role.USER, (rq.Text("C", cache={"ttl": "30m"}), rq.Text("D", cache={"ttl": "5m"}))),),
    )
    outbound = render(request, "anthropic")
    hour = {"type": "ephemeral", "ttl": "1h"}
    assert outbound.body["system"] == [
        {"type": "text", "text": "A", "cache_control": CACHE},
        {"type": "text", "text": "B"},
    ]
    assert outbound.body["tools"][0]["cache_control"] == hour
    assert [block["cache_control"] for block in outbound.body["messages"][0]["content"]] == [hour, CACHE]
    assert (outbound.dropped, outbound.adapted) == ((), ())


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_breakpoint_behind_everything(client: str) -> None:
    """mapping.md §3.1: an extension in OpenAI's dialect; it counts as one of four."""
    long = {"type": "ephemeral", "ttl": "1h"}
    body = {"openai": chat, "anthropic": message}[client](cache_control=long, max_tokens=5)
    assert carried(client, body, "anthropic").body["cache_control"] == long
    assert carried(client, body, "openai").dropped == ("cache_control",)
    texts = tuple(rq.Text(str(i), cache=CACHE) for i in range(4))
    outbound = render(replace(parse(client, body), turns=(rq.Turn(rq.Role.USER, texts),)), "anthropic")
    assert ["cache_control" in block for block in outbound.body["messages"][0]["content"]] == [False, True, True, True]


def test_at_most_four_breakpoints() -> None:
    """anthropic-messages.md §3."""
    texts = tuple(rq.Text(str(i), cache=CACHE) for i in range(6))
    request = replace(parse("openai", chat(max_tokens=5)), turns=(rq.Turn(rq.Role.USER, texts),))
    outbound = render(request, "anthropic")
    marked = [block["text"] for block in outbound.body["messages"][0]["content"] if "cache_control" in block]
    assert marked == ["2", "3", "4", "5"]
    assert outbound.adapted == ("cache_control=last_4",)


@pytest.mark.parametrize(
    ("tier", "sent", "dropped", "adapted"),
    [
        ("auto", "auto", (), ()),
        ("default", "standard_only", (), ("service_tier=standard_only",)),
        ("flex", None, ("service_tier",), ()),
        ("priority", None, ("service_tier",), ()),
    ],
)
def test_service_tiers(tier: str, sent: Any, dropped: tuple[str, ...], adapted: tuple[str, ...]) -> None:
    """mapping.md §3.1."""
    outbound = carried("openai", chat(service_tier=tier, max_tokens=5), "anthropic")
    assert (outbound.body.get("service_tier"), outbound.dropped, outbound.adapted) == (sent, dropped, adapted)


def test_what_the_version_or_the_model_does_not_sample() -> None:
    """Pitfall 95."""
    body = chat(temperature=0.5, top_p=0.9, top_k=3, max_tokens=5)
    for options in ({"version": "2026-10-21"}, {"profile": "anthropic"}, {"sampling": False}):
        outbound = carried("openai", body, "anthropic", **options)
        assert not {"temperature", "top_p", "top_k"} & set(outbound.body)
        assert outbound.dropped == ("temperature", "top_k", "top_p")
    legacy = carried("openai", body, "anthropic", profile="anthropic-legacy")
    assert (legacy.body["temperature"], legacy.body["top_k"], legacy.dropped) == (0.5, 3, ("top_p",))


def test_a_personal_user_id_is_hashed() -> None:
    outbound = carried("openai", chat(user="ada@example.org", max_tokens=5), "anthropic")
    assert len(outbound.body["metadata"]["user_id"]) == 64
    assert outbound.adapted == ("user=hashed",)


def test_the_default_limit_stays_below_what_the_model_can() -> None:
    outbound = carried("openai", chat(), "anthropic", max_output=4096)
    assert outbound.body["max_tokens"] == 4096
    assert outbound.adapted == ("max_tokens=default",)


@pytest.mark.parametrize(("name", "value"), [("logprobs", True), ("seed", 7), ("verbosity", "low"), ("min_tokens", 3)])
def test_a_strict_client_loses_nothing(name: str, value: Any) -> None:
    request = parse("openai", chat(**{name: value}))
    assert render(request, "anthropic").dropped == (name,)
    with pytest.raises(Unsupported) as raised:
        render(replace(request, is_strict=True), "anthropic")
    assert raised.value.param == name


def test_a_beginning_is_continued_only_by_models_that_do() -> None:
    """Pitfall 79, mapping.md §4.5: without trailing blanks, and without thinking."""
    body = message(max_tokens=9000, messages=[USER, said("{ \n")], thinking={"type": "enabled", "budget_tokens": 1024})
    with pytest.raises(Unsupported) as raised:
        carried("anthropic", body, "anthropic")
    assert raised.value.param == "messages"
    outbound = carried("anthropic", body, "anthropic", prefill=True)
    assert outbound.body["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "{"}]}
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert "thinking=disabled_by_prefill" in outbound.adapted


def test_a_conversation_that_ends_with_a_call_can_not_be_continued() -> None:
    history = [USER, {"role": "assistant", "tool_calls": [chat_call("a", "f", "{}")]}]
    with pytest.raises(Unsupported) as raised:
        carried("openai", chat(messages=history, tools=[chat_tool("f")]), "anthropic", prefill=True)
    assert raised.value.param == "messages.1"


@pytest.mark.parametrize(
    ("mid_system", "roles", "system"),
    [("user", ["user", "assistant", "user"], None), ("hoist", ["user", "assistant", "user"], "Be brief")],
)
def test_instructions_in_mid_conversation(mid_system: str, roles: list[str], system: str | None) -> None:
    """Pitfall 69, mapping.md §4.1."""
    body = message(messages=[USER, said("Hello"), USER, said("Be brief", "system")])
    sent = carried("anthropic", body, "anthropic", mid_system=mid_system).body
    assert [turn["role"] for turn in sent["messages"]] == roles
    assert sent.get("system") == system


def test_instructions_of_their_own_only_behind_a_user() -> None:
    body = message(messages=[USER, said("Be brief", "system"), said("Hello"), said("Be kind", "system"), USER])
    outbound = carried("anthropic", body, "anthropic", mid_system="native")
    assert [turn["role"] for turn in outbound.body["messages"]] == ["user", "system", "assistant", "user"]
    assert "messages=system_in_user" in outbound.adapted


def test_other_servers_own_items_in_a_history_are_dropped_and_named() -> None:
    """What a hosted tool of another vendor did is not the user's content; unknown content of the user's is refused."""
    item = rq.Opaque("openai_responses", "web_search_call", {}, where="input.1")
    turns = (
        rq.Turn(rq.Role.USER, (rq.Text("Hi"),)),
        rq.Turn(rq.Role.ASSISTANT, (item, rq.Text("Hello"))),
        rq.Turn(rq.Role.USER, (rq.Text("Bye"),)),
    )
    request = replace(parse("openai", chat(max_tokens=5)), turns=turns)
    outbound = render(request, "anthropic")
    assert outbound.dropped == ("messages.web_search_call",)
    assert [block["type"] for block in outbound.body["messages"][1]["content"]] == ["text"]
    with pytest.raises(Unsupported) as raised:
        render(replace(request, turns=(rq.Turn(rq.Role.USER, (item,)),)), "anthropic")
    assert raised.value.param == "input.1"
