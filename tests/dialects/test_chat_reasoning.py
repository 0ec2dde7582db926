"""Reasoning at OpenAI chat servers: asked for in each one's way, given back to none but its own (mapping.md §6)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects.sealing import FOREIGN, Sealer
from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import USER, Json, carried, chat, message, parse, predict, render

KWARGS = "chat_template_kwargs"
ARGS = "chat_template_args"


def asked(wish: rq.ReasoningRequest, profile: str, **options: Any) -> tuple[Json, tuple[str, ...], tuple[str, ...]]:
    """The fields that ask for reasoning, and what is reported of them."""
    turns = (rq.Turn(rq.Role.USER, (rq.Text("Hi"),)),)
    request = rq.Request("demo", turns, reasoning=wish, names={"reasoning": "thinking"})
    outbound = render(request, "openai", profile=profile, **options)
    body = {name: value for name, value in outbound.body.items() if name not in ("model", "messages")}
    return body, outbound.dropped, outbound.adapted


R = rq.ReasoningRequest
ASKED: list[tuple[str, R, Json, tuple[str, ...]]] = [
    ("openai", R("on", "low"), {"reasoning_effort": "low"}, ()),
    ("openai", R("off"), {"reasoning_effort": "none"}, ()),
    ("openai", R("off", "none"), {"reasoning_effort": "none"}, ()),
    ("openai", R("auto"), {}, ()),
    ("openai", R("auto", "high"), {"reasoning_effort": "high"}, ()),
    ("openai", R(effort="max"), {"reasoning_effort": "max"}, ()),
    ("openai", R("on", budget=2047), {"reasoning_effort": "low"}, ("thinking=effort_low",)),
    ("openai", R("on", budget=12287), {"reasoning_effort": "medium"}, ("thinking=effort_medium",)),
    ("openai", R("on", budget=12288), {"reasoning_effort": "high"}, ("thinking=effort_high",)),
    ("openai", R("on"), {"reasoning_effort": "medium"}, ()),
    ("generic", R("on", "max"), {"reasoning_effort": "high"}, ("thinking=effort_high",)),
    ("generic", R("on", "minimal"), {"reasoning_effort": "low"}, ("thinking=effort_low",)),
    ("vllm", R("off"), {KWARGS: {"enable_thinking": False}}, ()),
    ("vllm", R("on"), {KWARGS: {"enable_thinking": True}}, ()),
    ("vllm", R("on", "xhigh"), {KWARGS: {"enable_thinking": True}, "reasoning_effort": "xhigh"}, ()),
    ("vllm", R("auto"), {}, ()),
    (
        "sglang",
        R("on", "xhigh"),
        {KWARGS: {"enable_thinking": True}, "reasoning_effort": "high"},
        ("thinking=effort_high",),
    ),
    ("llamacpp", R("on", "high"), {KWARGS: {"enable_thinking": True}}, ("thinking=switched_on",)),
    ("baseten", R("on", "high"), {ARGS: {"enable_thinking": True}, "reasoning_effort": "high"}, ()),
    ("deepseek", R("off"), {"thinking": {"type": "disabled"}}, ()),
    ("deepseek", R("on", "max"), {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}, ()),
    ("deepseek", R("on"), {"thinking": {"type": "enabled"}}, ()),
    ("deepseek", R("auto"), {}, ()),
    ("openrouter", R("on", "low"), {"reasoning": {"effort": "low"}}, ()),
    ("openrouter", R("on", budget=4000), {"reasoning": {"max_tokens": 4000}}, ()),
    ("openrouter", R("on", "low", 4000), {"reasoning": {"effort": "low"}}, ("thinking=by_effort",)),
    ("openrouter", R("on"), {"reasoning": {"enabled": True}}, ()),
    ("openrouter", R("off"), {"reasoning": {"enabled": False}}, ()),
    ("openrouter", R(visible="omit"), {"reasoning": {"exclude": True}}, ()),
    ("openrouter", R("auto"), {}, ()),
]


@pytest.mark.parametrize(("profile", "reasoning", "body", "adapted"), ASKED)
def test_reasoning_is_asked_for_in_each_servers_own_way(profile: str, reasoning: R, body: Json, adapted: Any) -> None:
    """mapping.md §6.1."""
    assert asked(reasoning, profile) == (body, (), adapted)


@pytest.mark.parametrize(
    ("profile", "reasoning", "options"),
    [
        ("generic", R("off"), {}),
        ("generic", R("on"), {"reasoning": "none"}),
        ("generic", R(effort="high"), {"reasoning": "none"}),
        ("llamacpp", R(effort="high"), {}),
    ],
)
def test_what_can_not_be_asked_is_dropped_by_name(profile: str, reasoning: R, options: Json) -> None:
    assert asked(reasoning, profile, **options) == ({}, ("thinking",), ())


def test_nothing_said_is_nothing_sent() -> None:
    for profile in ("openai", "vllm", "deepseek", "openrouter"):
        assert set(carried("anthropic", message(), "openai", profile=profile).body) - {"max_completion_tokens"} <= {
            "model",
            "messages",
            "max_tokens",
        }


# -- read ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "read", "name"),
    [
        ({"reasoning_effort": "low"}, R("on", "low"), "reasoning_effort"),
        ({"reasoning_effort": "none"}, R("off", "none"), "reasoning_effort"),
        ({"reasoning": {"effort": "low"}}, R("on", "low"), "reasoning"),
        ({"reasoning": {"max_tokens": 2000}}, R("on", budget=2000), "reasoning"),
        ({"reasoning": {"enabled": False}}, R("off"), "reasoning"),
        ({"reasoning": {"enabled": True, "exclude": True}}, R("on", visible="omit"), "reasoning"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, R("on", budget=9), "thinking"),
        ({"thinking": {"type": "disabled"}}, R("off"), "thinking"),
        ({"thinking": {"type": "adaptive"}, "reasoning_effort": "high"}, R("auto", "high"), "reasoning_effort"),
        ({KWARGS: {"enable_thinking": False}}, R("off"), KWARGS),
        ({"include_reasoning": False}, R(visible="omit"), "include_reasoning"),
        ({"reasoning": {}}, None, "reasoning"),
        ({KWARGS: {"other": 1}}, None, KWARGS),
        ({}, None, "reasoning_effort"),
    ],
)
def test_a_chat_client_may_ask_in_any_way(fields: Json, read: R | None, name: str) -> None:
    """mapping.md §6.1."""
    for client, body in (("openai", chat(**fields)), ("truss", predict(**fields))):
        request = parse(client, body)
        assert request.reasoning == read
        assert request.name_of("reasoning") == name


def test_what_is_not_read_of_it_is_kept_to_be_reported() -> None:
    body = chat(chat_template_kwargs={"enable_thinking": True, "x": 1}, reasoning={"effort": "low", "y": 2})
    assert parse("openai", body).extras == {"openai": {KWARGS: {"x": 1}, "reasoning.y": 2}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({KWARGS: []}, KWARGS),
    ],
)
def test_a_bad_wish_is_refused_at_its_path(fields: Json, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse("openai", chat(**fields))
    assert raised.value.param == param


def thoughts(**fields: Any) -> list[rq.Part]:
    said = {"role": "assistant", "content": "Yes", **fields}
    return [part for part in parse("openai", chat(messages=[USER, said])).parts() if not isinstance(part, rq.Text)]


SIGNED = {"type": "reasoning.text", "text": "", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
SEAL = rq.OpaqueValue("anthropic", "S")


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"reasoning_content": "Hm."}, [rq.Reasoning("Hm.")]),
        ({"reasoning": "Hm."}, [rq.Reasoning("Hm.")]),
        ({"reasoning_content": "Hm.", "reasoning": "Hm."}, [rq.Reasoning("Hm.")]),
        ({"reasoning_content": None, "reasoning_details": []}, []),
        ({"reasoning_content": "Hm.", "reasoning_details": [SIGNED]}, [rq.Reasoning("Hm.", SEAL)]),
        ({"reasoning_details": [SIGNED]}, [rq.Reasoning("", SEAL)]),
        ({"reasoning": "Hm.", "reasoning_details": [{**SIGNED, "text": "Hm."}]}, [rq.Reasoning("Hm.", SEAL)]),
        (
            {"reasoning_content": "One.Two.", "reasoning_details": [SIGNED, {**SIGNED, "index": 1}]},
            [rq.Reasoning("One.Two.")],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "format": "openai-responses-v1"}]},
            [rq.RedactedReasoning(rq.OpaqueValue("openai-responses-v1", "D"))],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "In short."}]},
            [rq.Reasoning("In short.", is_summary=True)],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "S"}]},
            [rq.Reasoning("Hm.", rq.OpaqueValue("openrouter-details", "S"))],
        ),
    ],
)
def test_earlier_reasoning_is_read_once_with_its_seal(fields: Json, read: list[rq.Part]) -> None:
    """Pitfall 83, mapping.md §6.2: the signature that we stream has no text of its own."""
    assert thoughts(**fields) == read


def test_reasoning_among_the_content_is_read() -> None:
    """mapping.md §11: Mistral's."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes"}]
    assert thoughts(content=content) == [rq.Reasoning("Hm.")]


# -- given back ------------------------------------------------------------------------------------------------------


HI = rq.Turn(rq.Role.USER, (rq.Text("Hi"),))
YES = rq.Text("Yes")
CALL = rq.ToolCall("a", "f", "{}")


def thinking(seal: rq.OpaqueValue | None = None) -> rq.Part:
    return rq.Reasoning("Hm.", seal, where="here")


def by(origin: str) -> rq.OpaqueValue:
    """What the token says that we gave a client for this server's reasoning."""
    opened = Sealer().open(Sealer().seal(origin))
    assert opened is not None
    return opened


def said(*answers: list[rq.Part], **options: Any) -> tuple[list[Json], tuple[str, ...], tuple[str, ...]]:
    """An assistant's messages as the upstream sees them again, and what is reported."""
    turns = [turn for parts in answers for turn in (HI, rq.Turn(rq.Role.ASSISTANT, tuple(parts)))]
    outbound = render(rq.Request("demo", (*turns, HI)), "openai", **options)
    return [m for m in outbound.body["messages"] if m["role"] == "assistant"], outbound.dropped, outbound.adapted


@pytest.mark.parametrize(
    ("profile", "field"), [("vllm", "reasoning"), ("sglang", "reasoning_content"), ("deepseek", "reasoning_content")]
)
def test_a_server_gets_its_own_reasoning_back_in_the_field_it_reads(profile: str, field: str) -> None:
    """Pitfall 84, mapping.md §6.3."""
    (answer,), dropped, adapted = said([thinking(by(profile)), YES], profile=profile)
    assert (answer["content"], answer[field]) == ("Yes", "Hm.")
    assert (dropped, adapted) == ((), ())


def test_another_servers_reasoning_is_left_out_and_named() -> None:
    """Pitfall 87, mapping.md §6.3."""
    for seal in (by("sglang"), SEAL, FOREIGN):
        (answer,), _, adapted = said([thinking(seal), YES], profile="vllm")
        assert b"Hm." not in orjson.dumps(answer)
        assert "messages.thinking=foreign" in adapted


@pytest.mark.parametrize("profile", ["generic", "openai"])
def test_servers_that_know_no_reasoning_never_get_any(profile: str) -> None:
    """Pitfall 86."""
    (answer,), dropped, _ = said([thinking(by(profile)), YES], profile=profile)
    assert answer == {"role": "assistant", "content": "Yes"}
    assert dropped == ("messages.reasoning",)


def test_all_answers_have_reasoning_where_the_server_wants_all_of_them_to() -> None:
    """Pitfall 85: a blank where there is none, once any has it."""
    own = [thinking(by("deepseek")), YES]
    answers, _, _ = said(own, [YES], profile="deepseek")
    assert [answer["reasoning_content"] for answer in answers] == ["Hm.", " "]
    answers, _, _ = said([YES], profile="deepseek")
    assert "reasoning_content" not in answers[0]
    answers, _, _ = said([CALL], profile="deepseek")
    assert answers[0]["reasoning_content"] == " "


def test_no_blanks_where_thinking_is_off() -> None:
    """Pitfall 85."""
    turns = (HI, rq.Turn(rq.Role.ASSISTANT, (CALL,)), HI)
    outbound = render(rq.Request("demo", turns, reasoning=R("off")), "openai", profile="deepseek")
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert "reasoning_content" not in outbound.body["messages"][1]


def test_only_answers_with_calls_have_their_reasoning_where_that_is_enough() -> None:
    own = thinking(by("ollama"))
    answers, _, _ = said([own, YES], [own, CALL], profile="ollama")
    assert ["reasoning" in answer for answer in answers] == [False, True]
    never, _, _ = said([own, CALL], profile="ollama", echo_reasoning="never")
    assert "reasoning" not in never[0]


def test_details_carry_seals_back_to_the_server_that_reads_them() -> None:
    """mapping.md §6.3: an Anthropic model behind a router gets its signature, byte for byte."""
    redacted = rq.RedactedReasoning(rq.OpaqueValue("anthropic", "D"))
    (answer,), _, adapted = said([thinking(SEAL), redacted, YES], profile="openrouter")
    assert answer["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1", "index": 1},
    ]
    assert adapted == ()
    (answer,), _, adapted = said([redacted, YES], profile="vllm")
    assert "reasoning" not in answer
    assert adapted == ("messages.thinking=foreign",)


def test_details_of_a_chat_client_come_back_as_they_were() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "In short.", "index": 0},
        {"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "google-gemini-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "D", "format": "openai-responses-v1", "index": 2},
    ]
    answer = {"role": "assistant", "content": "Yes", "reasoning_details": details}
    outbound = carried("truss", {"messages": [USER, answer, USER]}, "openai", profile="openrouter")
    assert outbound.body["messages"][1]["reasoning_details"] == details


def test_a_strict_request_is_not_robbed_of_its_reasoning() -> None:
    """mapping.md §3."""
    request = rq.Request("demo", (HI, rq.Turn(rq.Role.ASSISTANT, (thinking(), YES)), HI), is_strict=True)
    with pytest.raises(Unsupported) as raised:
        render(request, "openai")
    assert raised.value.param == "here"
