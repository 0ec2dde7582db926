"""History as clients send it → history as servers take it."""

from __future__ import annotations

import pytest

from gateway.dialects.identity import spell_user
from gateway.dialects.report import Report
from gateway.dialects.turns import tidy
from gateway.neutral.request import Part, Request, Role, Text, ToolCall, ToolResult, Turn

CALL_A, CALL_B = ToolCall("a", "weather", "{}"), ToolCall("b", "now", "{}")
RESULT_A, RESULT_B = ToolResult("a", (Text("rain"),)), ToolResult("b", (Text("noon"),))
MISSING = Text("[tool result missing]")


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def assistant(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


def tidied(*turns: Turn) -> tuple[list[Turn], tuple[str, ...]]:
    request = Request("m", turns)
    report = Report(request)
    return tidy(request, report), report.adapted


def test_a_clean_conversation_stays_as_it_is() -> None:
    turns = [user(Text("hi")), assistant(CALL_A), user(RESULT_A, Text("and?")), assistant(Text("rain"))]
    assert tidied(*turns) == (turns, ())


def test_results_that_come_one_message_each_are_one_turn_in_the_order_of_the_calls() -> None:
    """Pitfall 58."""
    turns, adapted = tidied(assistant(CALL_A, CALL_B), user(RESULT_B), user(RESULT_A), user(Text("so?")))
    assert turns == [assistant(CALL_A, CALL_B), user(RESULT_A, RESULT_B, Text("so?"))]
    assert adapted == ()


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    """Pitfall 60."""
    turns, adapted = tidied(assistant(CALL_A, CALL_B), user(RESULT_B))
    assert turns[1] == user(ToolResult("a", (MISSING,), is_error=True), RESULT_B)
    assert adapted == ("messages=tool_result_synthesised",)


def test_a_call_behind_which_the_user_only_speaks_gets_its_result_too() -> None:
    turns, _ = tidied(assistant(CALL_A), user(Text("never mind")))
    assert turns[1] == user(ToolResult("a", (MISSING,), is_error=True), Text("never mind"))


def test_a_result_without_a_call_becomes_text() -> None:
    """Pitfall 60."""
    turns, adapted = tidied(user(RESULT_A, Text("so?")))
    assert turns == [user(Text("Tool result for a:"), Text("rain"), Text("so?"))]
    assert adapted == ("messages=tool_result_as_text",)


def test_of_two_results_for_one_call_the_last_counts() -> None:
    turns, adapted = tidied(assistant(CALL_A), user(RESULT_A, ToolResult("a", (Text("sun"),))))
    assert turns[1] == user(ToolResult("a", (Text("sun"),)))
    assert adapted == ("messages=tool_result_repeated",)


def test_instructions_between_call_and_result_move_behind_the_result() -> None:
    """Pitfall 69."""
    system = Turn(Role.SYSTEM, (Text("be brief"),))
    turns, adapted = tidied(assistant(CALL_A), system, user(RESULT_A))
    assert turns[1] == user(RESULT_A, Text("<system-reminder>be brief</system-reminder>"))
    assert adapted == ("messages=system_in_user",)


def test_a_last_call_waits_for_nothing() -> None:
    assert tidied(user(Text("hi")), assistant(CALL_A))[0] == [user(Text("hi")), assistant(CALL_A)]


@pytest.mark.parametrize(
    ("user_id", "hides_personal", "is_kept"),
    [("u-1", True, True), ("x" * 65, False, False), ("a@example.com", True, False), ("a@example.com", False, True)],
)
def test_a_user_id_is_kept_or_hashed_never_cut(user_id: str, hides_personal: bool, is_kept: bool) -> None:
    """Pitfall 97."""
    report = Report(Request("m", (), user_id=user_id, names={"user_id": "user"}))
    spelled = spell_user(user_id, 64, report, hides_personal=hides_personal)
    assert (spelled == user_id) is is_kept
    assert len(spelled) <= 64
    assert report.adapted == (() if is_kept else ("user=hashed",))


def test_calls_of_one_turn_with_one_id_are_told_apart() -> None:
    """Some servers number no calls, and clients give back what they got."""
    asked = [ToolCall("x", "f", "{}"), ToolCall("x", "g", "{}")]
    results = [ToolResult("x", (Text("1"),)), ToolResult("x", (Text("2"),))]
    request = Request("demo", (Turn(Role.ASSISTANT, tuple(asked)), Turn(Role.USER, tuple(results))))
    report = Report(request)
    called, answered = tidy(request, report)
    assert [part.id for part in called.parts if isinstance(part, ToolCall)] == ["x", "x_2"]
    told = [(part.call_id, part.parts) for part in answered.parts if isinstance(part, ToolResult)]
    assert told == [("x", (Text("1"),)), ("x_2", (Text("2"),))]
    assert report.adapted == ()


def test_ids_that_come_again_in_a_later_turn_are_told_apart_where_they_have_to_be() -> None:
    rounds = (Turn(Role.ASSISTANT, (ToolCall("call_0", "f", "{}"),)), Turn(Role.USER, (ToolResult("call_0"),)))
    request = Request("demo", rounds * 3)
    ids = [
        part.id
        for turn in tidy(request, Report(request), unique_ids=True)
        for part in turn.parts
        if isinstance(part, ToolCall)
    ]
    assert ids == ["call_0", "call_0_2", "call_0_3"]
    for turn, id_ in zip(tidy(request, Report(request), unique_ids=True)[1::2], ids, strict=True):
        assert turn.parts == (ToolResult(id_),)
    kept = [part.id for turn in tidy(request, Report(request)) for part in turn.parts if isinstance(part, ToolCall)]
    assert kept == ["call_0"] * 3


def test_empty_instructions_in_mid_conversation_say_nothing() -> None:
    request = Request("demo", (Turn(Role.USER, (Text("Hi"),)), Turn(Role.SYSTEM, (Text(""),))))
    assert tidy(request, Report(request)) == [Turn(Role.USER, (Text("Hi"),))]
