"""mapping.md §6.2 and §6.3: reasoning through every client and back to where it came from, or reported as left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.sealing import Sealer
from gateway.errors import Unsupported
from tests.dialects.two_turns import BODIES, Json, answered, parse, returned, thoughts
from tests.pitfalls.wires import block, chat, event, message, text_block

THINKING: Json = {"type": "thinking", "thinking": "", "signature": ""}
SAID: Json = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}


def thought(index: int, text: str, signature: str) -> bytes:
    deltas: list[Json] = [{"type": "thinking_delta", "thinking": text}] if text else []
    return block(index, THINKING, *deltas, {"type": "signature_delta", "signature": signature})


def response(**reasoning: Any) -> bytes:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], **reasoning}
    body = {"id": "r", "model": "theirs", "created_at": 1, "output": [item, SAID], "status": "completed"}
    items = [event("response.output_item.done", output_index=i, item=found) for i, found in enumerate((item, SAID))]
    return b"".join([event("response.created", response=body), *items, event("response.completed", response=body)])


DETAIL: Json = {
    "type": "reasoning.text",
    "text": "Hm é",
    "signature": "U0lH=",
    "format": "anthropic-claude-v1",
    "index": 0,
}
ENCRYPTED: Json = {"type": "reasoning.encrypted", "data": "RU5D=", "format": "google-gemini-v1", "index": 0}
SUMMARY: Json = {"type": "summary_text", "text": "Hm é"}
RAW: Json = {"type": "reasoning_text", "text": "Hm é"}

# name: upstream, its options, what it answers, what it has to get back, what must never reach a server of another kind
CASES: dict[str, tuple[str, Json, bytes, list[Json], str]] = {
    "signed": (
        "anthropic",
        {"profile": "anthropic-legacy"},
        message(thought(0, "Hm é", "U0lH="), text_block(1, "Hi")),
        [{"type": "thinking", "thinking": "Hm é", "signature": "U0lH="}],
        "U0lH=",
    ),
    "omitted": (
        "anthropic",
        {"profile": "anthropic"},
        message(thought(0, "", "U0lH="), text_block(1, "Hi")),
        [{"type": "thinking", "thinking": "", "signature": "U0lH="}],
        "U0lH=",
    ),
    "redacted": (
        "anthropic",
        {"profile": "anthropic-legacy"},
        message(block(0, {"type": "redacted_thinking", "data": "UkVE="}), text_block(1, "Hi")),
        [{"type": "redacted_thinking", "data": "UkVE="}],
        "UkVE=",
    ),
    "bare": ("openai", {"profile": "sglang"}, chat({"reasoning_content": "Hm é"}, {"content": "Hi"}), [], ""),
    "details": (
        "openai",
        {"profile": "openrouter"},
        chat({"reasoning_details": [DETAIL]}, {"content": "Hi"}),
        [DETAIL],
        "U0lH=",
    ),
    "encrypted": (
        "openai",
        {"profile": "openrouter"},
        chat({"reasoning_details": [ENCRYPTED]}, {"content": "Hi"}),
        [ENCRYPTED],
        "RU5D=",
    ),
    "summary": (
        "responses",
        {"profile": "openai"},
        response(summary=[SUMMARY], encrypted_content="RU5D="),
        [{"type": "reasoning", "id": "rs_1", "summary": [SUMMARY], "encrypted_content": "RU5D="}],
        "RU5D=",
    ),
    "sealed": (
        "responses",
        {"profile": "generic"},
        response(encrypted_content="RU5D="),
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "RU5D="}],
        "RU5D=",
    ),
}
CASES["bare"][3].append({"reasoning_content": "Hm é"})
STRANGERS: dict[str, list[tuple[str, Json]]] = {
    "anthropic": [
        ("openai", {"profile": "sglang"}),
        ("openai", {"profile": "openai"}),
        ("responses", {}),
        ("truss", {}),
    ],
    "openai": [("responses", {}), ("openai", {"profile": "openai"}), ("truss", {"input": "messages"})],
    "responses": [
        ("anthropic", {}),
        ("openai", {"profile": "openrouter"}),
        ("openai", {"profile": "sglang"}),
        ("truss", {"input": "messages"}),
    ],
}
every_client = pytest.mark.parametrize("client", ["openai", "anthropic", "responses", "truss"])
either_form = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
with_and_without_key = pytest.mark.parametrize("key", [b"", b"k" * 32], ids=["no key", "key"])


@pytest.mark.parametrize("name", CASES)
@every_client
@either_form
@with_and_without_key
def test_a_server_gets_its_own_reasoning_back_as_it_was(name: str, client: str, stream: bool, key: bytes) -> None:
    """§6.3: byte-identical, whatever the client's dialect, and reported as nothing."""
    upstream, options, data, expected, _ = CASES[name]
    sealer = Sealer(key)
    held = answered(client, upstream, data, stream=stream, sealer=sealer, hides=False, **options)
    asked = returned(client, held, upstream, sealer=sealer, **options)
    assert [_bare(found) for found in thoughts(asked)] == [_bare(found) for found in expected]
    assert not any("thinking" in note or "reasoning" in note for note in (*asked.adapted, *asked.dropped))


def _bare(found: Json) -> Json:
    """Whether a text is a summary is lost on the way (§6.3, Lost)."""
    return {
        "text" if name == "summary" and isinstance(value, str) else name: value for name, value in found.items()
    } | ({"type": "reasoning.text"} if found.get("type") == "reasoning.summary" else {})


@pytest.mark.parametrize("name", CASES)
@every_client
@either_form
def test_no_other_server_ever_sees_a_seal(name: str, client: str, stream: bool) -> None:
    """§1 and §6.3: an opaque value is only sent where its format is read; what is left out is reported."""
    upstream, options, data, _, secret = CASES[name]
    held = answered(client, upstream, data, stream=stream, sealer=Sealer(), hides=False, **options)
    for stranger, its in STRANGERS[upstream]:
        asked = returned(client, held, stranger, sealer=Sealer(), **its)
        body = orjson.dumps(asked.body).decode()
        assert "gw1." not in body
        if secret:
            assert secret not in body
            assert any("thinking=foreign" in note or ".reasoning" in note for note in (*asked.adapted, *asked.dropped))


@pytest.mark.parametrize("name", ["signed", "redacted", "summary"])
@every_client
def test_a_strict_client_is_told_instead(name: str, client: str) -> None:
    """§3 and §6.3: in strict mode what would be left out is refused."""
    upstream, options, data, _, _ = CASES[name]
    held = answered(client, upstream, data, stream=True, sealer=Sealer(), hides=False, **options)
    stranger, its = STRANGERS[upstream][0]
    with pytest.raises(Unsupported) as caught:
        returned(client, held, stranger, sealer=Sealer(), strict=True, **its)
    assert caught.value.param


@pytest.mark.parametrize("name", ["bare", "summary", "sealed", "encrypted"])
@pytest.mark.parametrize("client", ["anthropic", "responses"])
def test_a_token_of_another_gateway_is_foreign(name: str, client: str) -> None:
    """§6.3: with a key, only tokens of ours are opened; anything else is dropped and reported."""
    upstream, options, data, _, secret = CASES[name]
    held = answered(client, upstream, data, stream=True, sealer=Sealer(b"theirs"), hides=False, **options)
    asked = returned(client, held, upstream, sealer=Sealer(b"ours"), **options)
    assert "messages.thinking=foreign" in [note.replace("input.", "messages.") for note in asked.adapted]
    assert not secret or secret not in orjson.dumps(asked.body).decode()


@pytest.mark.parametrize("name", CASES)
@every_client
@either_form
def test_hidden_reasoning_shows_no_text_and_its_seal_comes_back(name: str, client: str, stream: bool) -> None:
    """§6.2: suppressed by `expose_reasoning: false`; what a vendor sealed is no text, and goes back."""
    upstream, options, data, expected, secret = CASES[name]
    held = answered(client, upstream, data, stream=stream, sealer=Sealer(), hides=True, **options)
    assert "Hm" not in orjson.dumps(held).decode()
    if secret:
        asked = returned(client, held, upstream, sealer=Sealer(), **options)
        assert secret in orjson.dumps(asked.body).decode()
        assert len(thoughts(asked)) == len(expected)


@either_form
def test_several_hidden_seals_are_told_apart(stream: bool) -> None:
    """§6.2: a chat client that was shown no text holds seals alone, each of which is whole."""
    data = message(
        thought(0, "one", "UzE="), block(1, {"type": "redacted_thinking", "data": "UkVE="}), thought(2, "two", "UzI=")
    )
    held = answered("openai", "anthropic", data, stream=stream, sealer=Sealer(), hides=True)
    assert thoughts(returned("openai", held, "anthropic", sealer=Sealer())) == [
        {"type": "thinking", "thinking": "", "signature": "UzE="},
        {"type": "redacted_thinking", "data": "UkVE="},
        {"type": "thinking", "thinking": "", "signature": "UzI="},
    ]


def test_several_seals_of_a_stream_can_not_be_told_apart_by_a_chat_client() -> None:
    """§6.3, Lost: their texts are one there, so the signed ones are dropped and reported; the redacted one is whole."""
    data = message(
        thought(0, "one", "UzE="), block(1, {"type": "redacted_thinking", "data": "UkVE="}), thought(2, "two", "UzI=")
    )
    held = answered("openai", "anthropic", data, stream=True, sealer=Sealer(), hides=False)
    asked = returned("openai", held, "anthropic", sealer=Sealer())
    assert thoughts(asked) == [{"type": "redacted_thinking", "data": "UkVE="}]
    assert "messages.thinking=foreign" in asked.adapted


def test_bare_reasoning_of_an_anthropic_client_is_signed_by_us_and_never_empty() -> None:
    """§6.3: the token names origin and format, and imitates no vendor's."""
    (held,) = answered(
        "anthropic", "openai", CASES["bare"][2], stream=True, sealer=Sealer(), hides=False, profile="sglang"
    )
    signature = held["content"][0]["signature"]
    assert signature.startswith("gw1.")
    opened = Sealer().open(signature)
    assert opened is not None
    assert (opened.origin, opened.format, opened.data) == ("sglang", "none", "")


@pytest.mark.parametrize("signature", ["", "bm90IG91cnM="])
def test_a_signature_without_our_prefix_is_anthropics_of_anthropic_clients(signature: str) -> None:
    """§6.3: no prefix → format `anthropic`; an empty one is dropped."""
    held = [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": signature}]}]
    asked = returned("anthropic", [*held], "anthropic", sealer=Sealer())
    kept = [{"type": "thinking", "thinking": "Hm", "signature": signature}] if signature else []
    assert thoughts(asked) == kept


def test_encrypted_content_without_our_prefix_is_openais_of_responses_clients() -> None:
    """§6.3: no prefix → format `openai-encrypted`: nothing for Anthropic."""
    held = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "RU5D="}, SAID]
    asked = returned("responses", held, "anthropic", sealer=Sealer())
    assert thoughts(asked) == []
    assert any("thinking=foreign" in note for note in asked.adapted)


@pytest.mark.parametrize("profile", ["anthropic", "anthropic-legacy"])
def test_thinking_that_nobody_is_shown_is_asked_for_without_its_text(profile: str) -> None:
    """§6.2: only so can it come back as it was made; the text would be taken out of it here."""
    dialect = DIALECTS["anthropic"]
    request = replace(parse("openai", BODIES["openai"] | {"reasoning_effort": "low"}, Sealer()), hides_reasoning=True)
    assert dialect.render(request, "theirs", dialect.options(profile=profile)).body["thinking"]["display"] == "omitted"
