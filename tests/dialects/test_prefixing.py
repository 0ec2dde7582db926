"""An upstream is given the text that the client got, to the letter, or isn't asked."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound, Json
from gateway.neutral.continuing import going_on
from gateway.neutral.request import Request

TEXT = "Salt  wind"
BLANK = "Salt wind \n"
CHAT: Json = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
MESSAGES: Json = {**CHAT, "max_tokens": 64}
ABLE: list[tuple[str, dict[str, Any]]] = [
    ("openai", {"profile": "vllm"}),
    ("openai", {"profile": "sglang"}),
    ("openai", {"profile": "llamacpp"}),
    ("openai", {"profile": "deepseek"}),
    ("openai", {"prefill": "partial"}),
    ("anthropic", {"profile": "anthropic-legacy"}),
    ("anthropic", {"prefill": True}),
    ("truss", {"profile": "vllm"}),
]
UNABLE: list[tuple[str, dict[str, Any]]] = [
    ("openai", {}),
    ("openai", {"profile": "openai"}),
    ("anthropic", {}),
    ("anthropic", {"profile": "anthropic"}),
    ("truss", {}),
    ("truss", {"prefill": "vllm"}),
    ("truss", {"profile": "vllm", "input": "prompt"}),
]


def takes(dialect: str, options: dict[str, Any], text: str) -> bool:
    prefixing = DIALECTS[dialect].prefixing
    assert prefixing is not None
    return prefixing.takes(text, DIALECTS[dialect].options(**options))


def asked(dialect: str, body: Json) -> Request:
    return DIALECTS[dialect].parse(Inbound(body, {"model": "m"}))


def rest_of(request: Request, text: str) -> Request:
    rest = going_on(request, text, None)
    assert rest is not None
    return rest


def put(dialect: str, body: Json, text: str, **options: Any) -> Json | None:
    prefixing = DIALECTS[dialect].prefixing
    assert prefixing is not None
    return prefixing.put(body, rest_of(asked(dialect, body), text), text, DIALECTS[dialect].options(**options))


@pytest.mark.parametrize(("dialect", "options"), ABLE, ids=str)
def test_who_takes_a_beginning_is_given_exactly_the_text(dialect: str, options: dict[str, Any]) -> None:
    """Also where the request is translated: whatever renders it writes the text as it is."""
    assert takes(dialect, options, TEXT)
    target, made = DIALECTS[dialect], DIALECTS[dialect].options(**options)
    for client, body in (("openai", CHAT), ("anthropic", MESSAGES)):
        for text in (TEXT, BLANK, " "):
            if takes(dialect, options, text):
                messages = target.render(rest_of(asked(client, body), text), "m", made).body["messages"]
                assert [message["role"] for message in messages] == ["user", "assistant"]
                assert _said(messages[-1]) == text


def _said(message: Json) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


@pytest.mark.parametrize(("dialect", "options"), UNABLE, ids=str)
def test_who_takes_none_is_not_asked(dialect: str, options: dict[str, Any]) -> None:
    assert not takes(dialect, options, TEXT)


def test_there_is_no_beginning_for_the_responses_api() -> None:
    assert DIALECTS["responses"].prefixing is None


def test_anthropic_refuses_a_beginning_that_ends_in_a_blank() -> None:
    """anthropic-messages.md §3: and the text is never altered, so such an upstream can't go on with it."""
    assert not takes("anthropic", {"prefill": True}, BLANK)
    assert not takes("anthropic", {"prefill": True}, "a\u00a0")
    assert takes("anthropic", {"prefill": True}, " a")
    assert takes("openai", {"profile": "vllm"}, BLANK)


def test_a_chat_body_gets_one_message_and_the_flags_of_its_profile() -> None:
    body = {**CHAT, "max_tokens": 64, "chat_template_kwargs": {"a": 1}}
    message = {"role": "assistant", "content": TEXT}
    flags = {"add_generation_prompt": False, "continue_final_message": True}
    assert put("openai", body, TEXT, profile="vllm") == {
        **body,
        **flags,
        "messages": [*CHAT["messages"], message],
        "max_tokens": 62,
    }
    assert put("openai", CHAT, TEXT, profile="ollama") == {**CHAT, "messages": [*CHAT["messages"], message]}
    prefixed = {**message, "prefix": True}
    assert put("openai", CHAT, TEXT, profile="deepseek") == {**CHAT, "messages": [*CHAT["messages"], prefixed]}
    limited = put("openai", {**CHAT, "max_completion_tokens": 64}, TEXT, profile="ollama")
    assert limited is not None
    assert (limited["max_completion_tokens"], "max_tokens" in limited) == (62, False)


def test_a_message_body_gets_one_message_unless_it_asks_for_thinking() -> None:
    message = {"role": "assistant", "content": TEXT}
    assert put("anthropic", MESSAGES, TEXT, prefill=True) == {
        **MESSAGES,
        "messages": [*MESSAGES["messages"], message],
        "max_tokens": 62,
    }
    thinking = {**MESSAGES, "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}}
    assert put("anthropic", thinking, TEXT, prefill=True) is None


def test_a_predict_body_has_to_hold_messages() -> None:
    body = {"messages": CHAT["messages"], "stream": True}
    told = put("truss", body, TEXT, profile="vllm")
    assert told is not None
    assert told["messages"][-1] == {"role": "assistant", "content": TEXT}
    assert put("truss", {"prompt": "Hello", "stream": True}, TEXT, profile="vllm") is None


def test_a_body_is_not_changed_but_copied() -> None:
    """The client's own is needed for the next target."""
    body = {**CHAT, "messages": list(CHAT["messages"])}
    put("openai", body, TEXT, profile="vllm")
    assert body == CHAT
