"""Pitfalls 83 to 94: reasoning, its signatures, and who may see it again."""

from __future__ import annotations

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.sealing import Sealer
from gateway.relay.carrier import PassThrough
from tests.dialects.requests import USER, chat, chat_tool, message, message_tool, parse
from tests.pitfalls.bodies import Json, assistant, result, sent_to, text, use, user
from tests.pitfalls.wires import (
    block,
    events,
    frames,
    named,
    seen_by_anthropic,
    seen_by_openai,
    sequencer,
    streamed,
    text_block,
)
from tests.pitfalls.wires import chat as chat_stream
from tests.pitfalls.wires import message as message_stream

THOUGHT: Json = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
TOKEN = Sealer().seal("deepseek")


def thinking(signature: str, said: str = "Hm.") -> Json:
    return {"type": "thinking", "thinking": said, "signature": signature}


@pytest.mark.parametrize("client", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "delta",
    [{"reasoning": "Hm."}, {"reasoning_content": "Hm."}, {"reasoning": "Hm.", "reasoning_content": "Hm."}],
    ids=["new", "old", "both"],
)
def test_reasoning_appears_once(client: str, delta: Json) -> None:
    """Pitfall 83."""
    sent = streamed("openai", client, chat_stream(delta, {"content": "Hi"}))
    if client == "openai":
        assert seen_by_openai(sent).reasoning == "Hm."
    else:
        assert [found.get("thinking") for found in seen_by_anthropic(sent)] == ["Hm.", None]


@pytest.mark.parametrize(("profile", "field"), [("deepseek", "reasoning_content"), ("vllm", "reasoning")])
def test_reasoning_goes_back_in_the_field_that_is_read(profile: str, field: str) -> None:
    """Pitfall 84."""
    token = Sealer().seal(profile)
    history = [USER, assistant([thinking(token), use("a")]), user([result("a", "1")])]
    sent = sent_to("openai", "anthropic", message(messages=history, tools=[message_tool("f")]), profile=profile)
    assert sent.body["messages"][1][field] == "Hm."


def test_deepseek_gets_reasoning_in_every_message_once_it_gets_any() -> None:
    """Pitfall 85."""
    history = [
        USER,
        assistant([text("Yes")]),
        USER,
        assistant([thinking(TOKEN), use("a")]),
        user([result("a", "1")]),
    ]
    body = message(messages=history, tools=[message_tool("f")], thinking={"type": "enabled", "budget_tokens": 1024})
    sent = sent_to("openai", "anthropic", body, profile="deepseek").body
    spoken = [each for each in sent["messages"] if each["role"] == "assistant"]
    assert all(each.get("reasoning_content") for each in spoken) or sent["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("profile", ["openai", "generic"])
def test_strict_servers_never_get_reasoning(profile: str) -> None:
    """Pitfall 86."""
    history = [USER, assistant([thinking(TOKEN), text("Yes")]), USER]
    outbound = sent_to("openai", "anthropic", message(messages=history), profile=profile)
    assert "reasoning" not in orjson.dumps(outbound.body).decode()
    assert "Hm." not in orjson.dumps(outbound.body).decode()


@pytest.mark.parametrize("signature", [TOKEN, "", Sealer(b"k").seal("x")], ids=["ours", "none", "sealed"])
def test_made_up_signatures_never_reach_anthropic(signature: str) -> None:
    """Pitfall 87: from an OpenAI client's echo of our own answers."""
    detail = {"type": "reasoning.text", "text": "", "signature": signature, "format": "anthropic-claude-v1", "index": 0}
    spoken = assistant("Yes", reasoning_content="Hm.", reasoning_details=[detail])
    sent = sent_to("anthropic", "openai", chat(messages=[USER, spoken, USER])).body
    assert [found["type"] for found in sent["messages"][1]["content"]] == ["text"]
    true = {**detail, "signature": "c2lnbmVk"}
    spoken = assistant("Yes", reasoning_content="Hm.", reasoning_details=[true])
    sent = sent_to("anthropic", "openai", chat(messages=[USER, spoken, USER])).body
    assert sent["messages"][1]["content"][0] == THOUGHT


def test_thinking_passes_byte_for_byte() -> None:
    """Pitfall 88: both ways, odd escapes and decomposed characters included."""
    odd = "e\u0301 \u2028 \u00a0"
    data = message_stream(
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": odd},
            {"type": "signature_delta", "signature": "c2lnbmVk"},
        ),
        text_block(1, "Hi"),
    ).replace(b'"thinking_delta"', b'"thinking\\u005fdelta"')
    dialect = DIALECTS["anthropic"]
    relay = PassThrough(dialect.decoder(dialect.options()), sequencer(), lambda error: error)
    assert relay.feed(data).data == data
    body = message(messages=[USER, assistant([thinking("c2lnbmVk", odd), text("Hi")]), USER])
    forwarded = dialect.forward(body, parse("anthropic", body), "theirs", dialect.options()).body
    assert forwarded["messages"] == body["messages"]


def test_a_thinking_block_always_has_a_signature() -> None:
    """Pitfall 89."""
    sent = streamed("openai", "anthropic", chat_stream({"reasoning_content": "Hm."}, {"content": "Hi"}))
    signature = seen_by_anthropic(sent)[0]["signature"]
    assert signature.startswith("gw1.")
    assert Sealer().open(signature) is not None


@pytest.mark.parametrize(
    ("limit", "thinking_sent"),
    [
        (20000, {"type": "enabled", "budget_tokens": 16384}),
        (3000, {"type": "enabled", "budget_tokens": 1976}),
        (1500, None),
    ],
)
def test_a_budget_stays_below_the_limit(limit: int, thinking_sent: Json | None) -> None:
    """Pitfall 90: the client's own limit is never raised."""
    body = chat(reasoning_effort="high", max_tokens=limit)
    outbound = sent_to("anthropic", "openai", body, profile="generic")
    assert outbound.body["max_tokens"] == limit
    assert outbound.body.get("thinking") in (thinking_sent, thinking_sent or {"type": "disabled"})


def test_a_forced_tool_switches_thinking_off() -> None:
    """Pitfall 91."""
    body = chat(reasoning_effort="high", tools=[chat_tool("f")], tool_choice="required", max_tokens=30000)
    for profile in ("anthropic", "generic"):
        outbound = sent_to("anthropic", "openai", body, profile=profile)
        assert outbound.body["tool_choice"] == {"type": "any"}
        assert outbound.body.get("thinking", {"type": "disabled"}) == {"type": "disabled"}
        assert any("disabled_by_tool_choice" in told for told in outbound.adapted)


def test_no_sampling_while_thinking() -> None:
    """Pitfall 92."""
    body = chat(reasoning_effort="high", temperature=0.5, top_k=5, max_tokens=30000)
    for profile in ("anthropic", "generic"):
        outbound = sent_to("anthropic", "openai", body, profile=profile)
        assert not {"temperature", "top_k"} & set(outbound.body)
        assert {"temperature", "top_k"} <= set(outbound.dropped)


def test_reasoning_details_have_an_index() -> None:
    """Pitfall 93."""
    data = message_stream(
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "c2lnbmVk"},
        ),
        block(1, {"type": "redacted_thinking", "data": "eA=="}),
        text_block(2, "Hi"),
    )
    deltas = [choice["delta"] for found in frames(streamed("anthropic", "openai", data)) for choice in found["choices"]]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
    assert [(detail["type"], detail["index"]) for detail in details] == [
        ("reasoning.text", 0),
        ("reasoning.encrypted", 1),
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n\n"])
def test_blank_reasoning_is_no_block(blank: str) -> None:
    """Pitfall 94."""
    sent = streamed("openai", "anthropic", chat_stream({"reasoning_content": blank}, {"content": "Hi"}))
    assert [found["content_block"]["type"] for found in named(sent, "content_block_start")] == ["text"]
    assert events("openai", chat_stream({"reasoning_content": blank}, {"content": "Hi"}))
