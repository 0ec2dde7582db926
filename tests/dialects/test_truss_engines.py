"""A Truss model with a known engine answers as that engine does (truss.md §2.4)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import Unsupported
from gateway.neutral.events import BlockKind
from gateway.neutral.request import OpaqueValue
from gateway.neutral.response import Response, fold
from tests.dialects.cases import sequence
from tests.dialects.requests import Json, carried, chat, chat_tool

TRUSS = DIALECTS["truss"]
THOUGHT = "<think>Hm.</think>Yes"
SEALED: Json = {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "x"}]}


def answered(delta: Json, is_whole: bool, **options: Any) -> Response:
    settings = TRUSS.options(**options)
    choice = {"index": 0, "message" if is_whole else "delta": delta, "finish_reason": "stop"}
    body = {"id": "c", "created": 1, "model": "m", "choices": [choice]}
    if is_whole:
        return fold(sequence(TRUSS.load(body, settings)))
    decoder = TRUSS.decoder(settings)
    pieces = decoder.feed(b"data: " + orjson.dumps(body) + b"\n\ndata: [DONE]\n\n")
    return fold(sequence([*pieces, *decoder.eof(is_framed=True)[1]]))


@pytest.mark.parametrize("is_whole", [True, False])
def test_tags_are_taken_out_of_its_text(is_whole: bool) -> None:
    """mapping.md §6.2."""
    answer = answered({"content": THOUGHT}, is_whole, profile="vllm", think_tags=True)
    assert (answer.text(BlockKind.REASONING), answer.text()) == ("Hm.", "Yes")
    assert answered({"content": THOUGHT}, is_whole, profile="vllm").text() == THOUGHT


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_it_sealed_is_known_as_its_engines(is_whole: bool) -> None:
    """mapping.md §6.3."""
    answer = answered(SEALED, is_whole, profile="openrouter")
    assert answer.start.origin == "openrouter"
    assert answer.blocks[0].signature == OpaqueValue("x", "S", "openrouter")


def test_a_schema_that_no_answer_can_follow_is_not_refused() -> None:
    """A call is demanded, so that no text comes: instructor asks for both. Else it would change the answer."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    body = chat(tools=[chat_tool()], response_format=form)
    demanded = carried("openai", body | {"tool_choice": "required"}, "truss")
    assert "response_format" not in demanded.body
    assert demanded.body["tool_choice"] == "required"
    assert "response_format=left_out_for_tool_choice" in demanded.adapted
    with pytest.raises(Unsupported, match="response_format"):
        carried("openai", body, "truss")
    assert "response_format" in carried("openai", body | {"tool_choice": "required"}, "truss", profile="vllm").body
