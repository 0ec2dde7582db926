"""Thinking, towards an Anthropic upstream: how deep, when not, and what of earlier thinking goes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.dialects.base import Outbound
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import Json, carried, chat, chat_tool, message, message_tool, parse, render

PLAIN = replace(parse("openai", chat(max_tokens=64000)), names={"reasoning": "reasoning_effort"})


def asked(reasoning: rq.ReasoningRequest, max_tokens: int = 64000, **options: Any) -> Outbound:
    return render(replace(PLAIN, reasoning=reasoning, max_tokens=max_tokens), "anthropic", **options)


@pytest.mark.parametrize(
    ("reasoning", "thinking", "effort", "adapted"),
    [
        (rq.ReasoningRequest("on", "none"), {"type": "adaptive"}, "low", "reasoning_effort=effort_low"),
        (rq.ReasoningRequest("on", "minimal"), {"type": "adaptive"}, "low", "reasoning_effort=effort_low"),
        (rq.ReasoningRequest("on", "low"), {"type": "adaptive"}, "low", ""),
        (rq.ReasoningRequest("on", "medium"), {"type": "adaptive"}, "medium", ""),
        (rq.ReasoningRequest("on", "high"), {"type": "adaptive"}, "high", ""),
        (rq.ReasoningRequest("on", "xhigh"), {"type": "adaptive"}, "xhigh", ""),
        (rq.ReasoningRequest("auto", "max"), {"type": "adaptive"}, "max", ""),
        (rq.ReasoningRequest("auto"), {"type": "adaptive"}, None, ""),
        (rq.ReasoningRequest("on", None, 2047), {"type": "adaptive"}, "low", "reasoning_effort=effort_low"),
        (rq.ReasoningRequest("on", None, 2048), {"type": "adaptive"}, "medium", "reasoning_effort=effort_medium"),
        (rq.ReasoningRequest("on", None, 12288), {"type": "adaptive"}, "high", "reasoning_effort=effort_high"),
        (rq.ReasoningRequest("off", "none"), {"type": "disabled"}, None, ""),
        (rq.ReasoningRequest("off", "high"), {"type": "disabled"}, "high", ""),
        (rq.ReasoningRequest(None, "high"), None, "high", ""),
        (rq.ReasoningRequest("on", visible="omit"), {"type": "adaptive", "display": "omitted"}, None, ""),
        (rq.ReasoningRequest("on", visible="summary"), {"type": "adaptive", "display": "summarized"}, None, ""),
        (rq.ReasoningRequest("on", visible="full"), {"type": "adaptive"}, None, ""),
    ],
)
def test_adaptive_thinking(reasoning: rq.ReasoningRequest, thinking: Any, effort: str | None, adapted: str) -> None:
    """mapping.md §6.1, adaptive-capable profile."""
    outbound = asked(reasoning, profile="anthropic")
    assert outbound.body.get("thinking") == thinking
    assert outbound.body.get("output_config") == ({"effort": effort} if effort else None)
    assert outbound.adapted == ((adapted,) if adapted else ())


@pytest.mark.parametrize(
    ("reasoning", "max_tokens", "budget", "adapted"),
    [
        (rq.ReasoningRequest("on", "minimal"), 64000, 1024, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", "low"), 64000, 2048, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", "medium"), 64000, 8192, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", "high"), 64000, 16384, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", "xhigh"), 64000, 24576, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", "max"), 64000, 32000, "reasoning_effort=budget"),
        (rq.ReasoningRequest("auto"), 64000, 8192, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", None, 3000), 64000, 3000, ""),
        (rq.ReasoningRequest("on", "high", 3000), 64000, 3000, ""),
        (rq.ReasoningRequest("on", None, 10), 64000, 1024, "reasoning_effort=budget"),
        (rq.ReasoningRequest("on", None, 3000), 3001, 3000, ""),
        (rq.ReasoningRequest("on", None, 3000), 3000, 1976, "reasoning_effort=budget_reduced"),
        (rq.ReasoningRequest("on", "high"), 2048, 1024, "reasoning_effort=budget_reduced"),
        (rq.ReasoningRequest("on", None, 3000), 2047, None, "thinking=disabled_by_max_tokens"),
        (rq.ReasoningRequest("on", None, 1024), 1025, 1024, ""),
    ],
)
def test_a_budget_of_thinking(
    reasoning: rq.ReasoningRequest, max_tokens: int, budget: int | None, adapted: str
) -> None:
    """Pitfall 90, mapping.md §6.1: the budget fits below the client's own limit, which is never raised."""
    outbound = asked(reasoning, max_tokens, profile="generic")
    expected = {"type": "enabled", "budget_tokens": budget} if budget else {"type": "disabled"}
    assert outbound.body["thinking"] == expected
    assert outbound.body["max_tokens"] == max_tokens
    assert set(outbound.adapted) >= ({adapted} if adapted else set())
    assert len(outbound.adapted) <= 2


def test_a_server_that_can_not_be_told_to_think() -> None:
    outbound = asked(rq.ReasoningRequest("on", "high"), thinking="none")
    assert outbound.dropped == ("reasoning_effort",)
    assert not {"thinking", "output_config"} & set(outbound.body)
    assert asked(rq.ReasoningRequest("off"), thinking="none").dropped == ()
    effort_only = carried("anthropic", message(output_config={"effort": "high"}), "anthropic", thinking="budget")
    assert effort_only.dropped == ("output_config.effort",)


@pytest.mark.parametrize(
    ("reasoning", "options", "max_tokens", "budget"),
    [
        (None, {}, 8192, None),
        (rq.ReasoningRequest("off"), {}, 8192, None),
        (rq.ReasoningRequest("on", "low"), {}, 10240, 2048),
        (rq.ReasoningRequest("on", "high"), {}, 24576, 16384),
        (rq.ReasoningRequest("on", "max"), {}, 32000, 30976),
        (rq.ReasoningRequest("on", "high"), {"max_output": 8192}, 8192, 7168),
        (rq.ReasoningRequest("on", "high"), {"max_tokens": 64000}, 64000, 16384),
        (rq.ReasoningRequest("on", "high"), {"thinking": "none"}, 8192, None),
    ],
)
def test_the_default_limit_leaves_room_for_an_answer_behind_the_thoughts(
    reasoning: rq.ReasoningRequest | None, options: Any, max_tokens: int, budget: int | None
) -> None:
    """`max_tokens` counts thoughts too: 8192 alone would leave 1024 of them for the answer to an effort of medium."""
    body = render(replace(PLAIN, reasoning=reasoning, max_tokens=None), "anthropic", **options).body
    assert body["max_tokens"] == max_tokens
    assert body.get("thinking", {}).get("budget_tokens") == budget


def test_hidden_thoughts_alone_are_nothing_to_drop() -> None:
    """The gateway itself keeps them from the client."""
    for options in ({"thinking": "none"}, {"thinking": "budget"}):
        outbound = render(replace(PLAIN, reasoning=rq.ReasoningRequest(visible="omit")), "anthropic", **options)
        assert outbound.dropped == ()


def test_nothing_said_is_nothing_sent() -> None:
    """mapping.md §6.1: nothing → nothing."""
    for profile in ("generic", "anthropic"):
        assert "thinking" not in carried("openai", chat(), "anthropic", profile=profile).body


def test_no_sampling_fields_beside_thinking() -> None:
    """Pitfall 92."""
    wish = replace(PLAIN, temperature=0.5, top_p=0.9, top_k=5, reasoning=rq.ReasoningRequest("on", "low"))
    outbound = render(wish, "anthropic")
    assert not {"temperature", "top_p", "top_k"} & set(outbound.body)
    assert outbound.dropped == ("temperature", "top_k", "top_p")
    assert render(replace(wish, reasoning=None), "anthropic").body["temperature"] == 0.5


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
@pytest.mark.parametrize("profile", ["generic", "anthropic"])
def test_a_forced_call_switches_thinking_off(choice: Json, profile: str) -> None:
    """Pitfall 91, mapping.md §5.3: the choice is kept."""
    body = message(tools=[message_tool()], tool_choice=choice, thinking={"type": "enabled", "budget_tokens": 1024})
    outbound = carried("anthropic", body | {"max_tokens": 4096}, "anthropic", profile=profile)
    assert outbound.body["tool_choice"] == choice
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert "thinking=disabled_by_tool_choice" in outbound.adapted
    free = body | {"max_tokens": 4096, "tool_choice": {"type": "auto"}}
    assert carried("anthropic", free, "anthropic", profile=profile).body["thinking"]["type"] != "disabled"


# -- what was thought earlier ----------------------------------------------------------------------------------------

RESULT: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "rain"}]}
CALL = rq.ToolCall("a", "get_weather", "{}")


def loop(*thoughts: rq.Part) -> rq.Request:
    """A tool loop: the question, what the assistant thought and called, the result."""
    body = chat(tools=[chat_tool()], max_tokens=64000)
    turns = (
        rq.Turn(rq.Role.USER, (rq.Text("Weather?"),)),
        rq.Turn(rq.Role.ASSISTANT, (*thoughts, CALL)),
        rq.Turn(rq.Role.USER, (rq.ToolResult("a", (rq.Text("rain"),)),)),
    )
    return replace(parse("openai", body), turns=turns, reasoning=rq.ReasoningRequest("auto"))


OURS = rq.Reasoning("Hm.", rq.OpaqueValue("anthropic", "S=="))
FOREIGN = [
    rq.Reasoning("Hm."),
    rq.Reasoning("Hm.", rq.OpaqueValue("none", "", "vllm")),
    rq.Reasoning("Hm.", rq.OpaqueValue("openai-encrypted", "X", "openai")),
    rq.Reasoning("Hm.", rq.OpaqueValue("anthropic", "S==", "deepseek")),
    rq.Reasoning("Hm.", rq.OpaqueValue("foreign", "", "foreign")),
    rq.RedactedReasoning(rq.OpaqueValue("openai-encrypted", "X", "openai")),
]


@pytest.mark.parametrize("profile", ["generic", "anthropic"])
def test_anthropics_own_thinking_goes_back_as_it_came(profile: str) -> None:
    """Pitfall 88, mapping.md §6.3."""
    redacted = rq.RedactedReasoning(rq.OpaqueValue("anthropic", "R==", profile))
    outbound = render(loop(OURS, redacted), "anthropic", profile=profile)
    assert outbound.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "S=="},
        {"type": "redacted_thinking", "data": "R=="},
        {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}},
    ]
    assert outbound.body["thinking"]["type"] != "disabled"
    assert not any(note.startswith("messages.thinking") for note in outbound.adapted)


@pytest.mark.parametrize("profile", ["generic", "anthropic"])
@pytest.mark.parametrize("thought", FOREIGN)
def test_thinking_of_other_servers_never_goes_to_anthropic(thought: rq.Part, profile: str) -> None:
    """Pitfall 87: dropped and reported; without it the loop can't go on thinking, so it does not."""
    outbound = render(loop(thought), "anthropic", profile=profile)
    assert [block["type"] for block in outbound.body["messages"][1]["content"]] == ["tool_use"]
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert "messages.thinking=foreign" in outbound.adapted
    assert "thinking=disabled_by_history" in outbound.adapted


def test_a_loop_that_never_had_thinking() -> None:
    """A budget demands thinking in front of the last calls; adaptive thinking only what there was."""
    assert render(loop(), "anthropic", profile="generic").body["thinking"] == {"type": "disabled"}
    assert render(loop(), "anthropic", profile="anthropic").body["thinking"] == {"type": "adaptive"}


def test_thinking_of_other_servers_outside_of_a_loop_only_goes() -> None:
    turns = (*loop(FOREIGN[0]).turns, rq.Turn(rq.Role.ASSISTANT, (FOREIGN[0], rq.Text("Rain."))), loop().turns[0])
    outbound = render(replace(loop(), turns=turns), "anthropic")
    assert outbound.body["thinking"]["type"] == "enabled"
    assert "messages.thinking=foreign" in outbound.adapted


def test_a_strict_client_is_told_that_its_thinking_would_be_dropped() -> None:
    thought = rq.Reasoning("Hm.", where="messages.1.reasoning_content")
    with pytest.raises(Unsupported) as raised:
        render(replace(loop(thought), is_strict=True), "anthropic")
    assert raised.value.param == "messages.1.reasoning_content"
