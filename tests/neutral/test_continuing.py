"""The request for the rest of an answer: the client's own, and the text it got."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import Unsupported
from gateway.neutral.continuing import going_on, may_go_on
from gateway.neutral.request import (
    ChoiceMode,
    JsonObjectFormat,
    JsonSchemaFormat,
    Request,
    Role,
    Text,
    ToolChoice,
    Turn,
)

USER = Turn(Role.USER, (Text("Hello"),))
ASKED = Request("m", (USER,), stream=True)


def test_the_request_for_the_rest_is_the_clients_own_and_one_message() -> None:
    """No instruction, no other word."""
    request = going_on(ASKED, "Salt  wind \n", None)
    assert request == replace(ASKED, turns=(USER, Turn(Role.ASSISTANT, (Text("Salt  wind \n"),))), prefill=True)


@pytest.mark.parametrize(
    ("limit", "text", "told", "rest"),
    [
        (None, "x" * 400, 100, None),
        (100, "x" * 40, None, 90),
        (100, "x" * 40, 30, 70),
        (100, "x" * 40, 1, 90),
        (100, "x", None, 99),
    ],
)
def test_a_limit_holds_for_both_answers_together(limit: int | None, text: str, told: int | None, rest: int) -> None:
    request = going_on(replace(ASKED, max_tokens=limit), text, told)
    assert request is not None
    assert request.max_tokens == rest


def test_nothing_is_asked_for_when_the_limit_is_used_up() -> None:
    assert going_on(replace(ASKED, max_tokens=10), "x" * 40, None) is None
    assert going_on(replace(ASKED, max_tokens=10), "x", 10) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": False},
        {"n": 2},
        {"logprobs": True},
        {"output": JsonObjectFormat()},
        {"output": JsonSchemaFormat({})},
        {"prefill": True},
        {"turns": (USER, Turn(Role.ASSISTANT, (Text("Sa"),)))},
        {"turns": ()},
        {"tool_choice": ToolChoice(ChoiceMode.REQUIRED)},
        {"tool_choice": ToolChoice(ChoiceMode.NAMED, ("f",))},
        {"tool_choice": ToolChoice(ChoiceMode.ALLOWED, ("f",))},
        {"own_dialect_only": Unsupported("no")},
    ],
    ids=str,
)
def test_what_a_beginning_would_not_be_true_to_never_goes_on(changes: dict[str, Any]) -> None:
    assert not may_go_on(replace(ASKED, **changes))


@pytest.mark.parametrize(
    "changes", [{}, {"n": 1}, {"tool_choice": ToolChoice(ChoiceMode.AUTO)}, {"max_tokens": 9}], ids=str
)
def test_a_plain_question_may(changes: dict[str, Any]) -> None:
    assert may_go_on(replace(ASKED, **changes))
