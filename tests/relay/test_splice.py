"""Two answers become one that obeys the grammar, wherever the first one broke."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InternalError, Overloaded, Refused, TooSlow, Truncated
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    Citation,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Reason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.grammar import Grammar
from gateway.neutral.response import fold
from gateway.relay.splice import TRANSITIONS, Input, Splice, State
from tests.properties.answers import answers, text_only

CUT = Truncated("cut")


def text(*texts: str, index: int = 0) -> list[Event]:
    """A whole block of text."""
    return [BlockStart(index, BlockKind.TEXT), *(TextDelta(index, part) for part in texts), BlockStop(index)]


def answer(*texts: str, usage: Usage | None = None) -> list[Event]:
    """A whole answer of one block of text."""
    return [Start("id", usage=usage), *text(*texts), Finish(Reason.STOP), Usage(output=len(texts)), End()]


FIRST = answer("Salt ", "wind ", "combs ")
SECOND = answer("the ", "shore.")
CALL: list[Event] = [
    BlockStart(0, BlockKind.TOOL, id="x", name="f"),
    ArgsDelta(0, "{}"),
    BlockStop(0),
    Finish(Reason.TOOL_CALLS),
    End(),
]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def checked(events: list[Event]) -> list[Event]:
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    return events


def broken(events: Sequence[Event], error: GatewayError = CUT, **limits: int) -> tuple[Splice, list[Event]]:
    """A splice that saw these events and then a failure."""
    splice = Splice(**limits)
    return splice, splice.take([*events, Failed(error)])


def resumed(splice: Splice, events: list[Event]) -> list[Event]:
    splice.resume()
    return splice.take(events)


# -- going on --------------------------------------------------------------------------------------------------------

PLACES = range(2, len(FIRST) - 2)
"""Behind content, and before the model was done."""


@pytest.mark.parametrize(("at", "is_split"), [*product(PLACES, [False, True])])
def test_an_answer_cut_anywhere_goes_on_as_one(at: int, is_split: bool) -> None:
    """One start, one finish, and the text of both without a seam."""
    splice, events = broken(FIRST[:at])
    assert (splice.state, splice.cut) == (State.CUT, CUT)
    assert splice.text == text_of(FIRST[:at]) == text_of(events)
    if is_split:
        splice.resume()
        events += [taken for event in SECOND for taken in splice.take([event])]
    else:
        events += resumed(splice, SECOND)
    checked(events)
    assert text_of(events) == text_of(FIRST[:at]) + "the shore."
    assert [type(event) for event in events].count(Start) == 1
    assert splice.state is State.OVER


@pytest.mark.parametrize("at", PLACES[:-1])
def test_an_open_block_goes_on_and_is_stopped_once(at: int) -> None:
    """The client sees one block, not the seam."""
    splice, events = broken(FIRST[:at])
    assert [block.text for block in fold(checked(events + resumed(splice, SECOND))).blocks] == [
        text_of(FIRST[:at]) + "the shore."
    ]


def test_what_follows_a_block_that_had_stopped_is_the_next_block() -> None:
    splice, events = broken(FIRST[: PLACES[-1]])
    blocks = fold(checked(events + resumed(splice, SECOND))).blocks
    assert [block.text for block in blocks] == ["Salt wind combs ", "the shore."]


def test_an_answer_that_was_complete_already_is_only_finished() -> None:
    """The second upstream finds nothing to add: the open block is stopped before the finish."""
    splice, events = broken(FIRST[:3])
    checked(events := events + resumed(splice, [Start(), Finish(Reason.STOP), End()]))
    assert events[-3:] == [BlockStop(0), Finish(Reason.STOP), End()]


def test_several_blocks_of_text_keep_their_numbers() -> None:
    first = [Start(), *text("a"), *text("b", index=1), BlockStart(2, BlockKind.TEXT), TextDelta(2, "c")]
    splice, events = broken(first)
    assert splice.text == "abc"
    second = [Start(), *text("d"), *text("e", index=1), Finish(Reason.STOP), End()]
    blocks = fold(checked(events + resumed(splice, second))).blocks
    assert [block.text for block in blocks] == ["a", "b", "cd", "e"]


def test_a_call_in_the_continuation_is_a_block_of_its_own() -> None:
    """Text, then a call, is what models say anyway; the text that was open ends before it."""
    splice, events = broken(FIRST[:3])
    response = fold(checked(events + resumed(splice, [Start(), *CALL])))
    assert [(block.kind, block.text) for block in response.blocks] == [
        (BlockKind.TEXT, "Salt "),
        (BlockKind.TOOL, "{}"),
    ]
    assert response.finish.reason is Reason.TOOL_CALLS


def test_reasoning_in_the_continuation_stands_where_it_came() -> None:
    """Nothing is lost; the text around it is still prefix and continuation."""
    thought: list[Event] = [BlockStart(0, BlockKind.REASONING), ReasoningDelta(0, "hm"), BlockStop(0)]
    splice, events = broken(FIRST[:3])
    second = [Start(), *thought, *text("the shore.", index=1), Finish(Reason.STOP), End()]
    response = fold(checked(events + resumed(splice, second)))
    assert [block.text for block in response.blocks] == ["Salt ", "hm", "the shore."]
    assert response.text() == "Salt the shore."


def test_signs_of_life_pass() -> None:
    splice, _ = broken(FIRST[:3])
    assert resumed(splice, [Start(), Ping()]) == [Ping()]


def test_what_is_not_cut_is_not_touched() -> None:
    """The very events, so that a route which may go on costs an answer nothing but its text."""
    assert Splice().take(FIRST) == FIRST


# -- usage -----------------------------------------------------------------------------------------------------------


def test_usage_is_what_both_upstreams_counted() -> None:
    """Each of them will be paid for. What the first never said stays out of the sum."""
    splice, events = broken(answer("Salt ", usage=Usage(input=10, cache_read=4))[:3])
    events += resumed(splice, [Start(usage=Usage(input=12)), *text("wind")])
    assert events[-3] == Usage(input=22, cache_read=4)
    told = splice.take([Finish(Reason.STOP), Usage(output=7, is_final=True), End()])
    assert told[1] == Usage(input=22, output=7, cache_read=4, is_final=True)


def test_usage_of_a_continuation_that_came_to_nothing_counts_too() -> None:
    splice, _ = broken(answer("Salt ", usage=Usage(input=10))[:3])
    assert resumed(splice, [Start(usage=Usage(input=11)), Failed(CUT)]) == [Usage(input=21)]
    assert resumed(splice, [Start(), Usage(input=12, output=3)]) == [Usage(input=33, output=3)]
    assert splice.output_tokens == 3


# -- not going on ----------------------------------------------------------------------------------------------------

RICH: dict[str, list[Event]] = {
    "call": CALL[:2],
    "reasoning": [BlockStart(0, BlockKind.REASONING), ReasoningDelta(0, "hm")],
    "sealed": [BlockStart(0, BlockKind.REDACTED)],
    "refusal": [BlockStart(0, BlockKind.REFUSAL), RefusalDelta(0, "no")],
    "citation": [BlockStart(0, BlockKind.TEXT), TextDelta(0, "a"), Citation(0, {}, "any")],
    "done": [*text("a"), Finish(Reason.STOP)],
}


@pytest.mark.parametrize("events", RICH.values(), ids=RICH)
def test_what_a_beginning_cannot_hold_is_never_continued(events: list[Event]) -> None:
    """The honest error stays, and no text is kept for nothing."""
    splice, taken = broken([Start(), *events])
    assert taken == [Start(), *events, Failed(CUT)]
    assert splice.state is State.OVER
    assert splice.text == ""


@pytest.mark.parametrize("error", [Refused("no"), InternalError("we")], ids=repr)
def test_what_another_upstream_cannot_mend_is_told(error: GatewayError) -> None:
    splice, taken = broken(FIRST[:3], error)
    assert taken[-1] == Failed(error)
    assert splice.state is State.OVER


@pytest.mark.parametrize("error", [CUT, TooSlow("idle"), Overloaded("busy")], ids=repr)
def test_what_another_upstream_can_mend_is_kept_back(error: GatewayError) -> None:
    splice, taken = broken(FIRST[:3], error)
    assert taken == FIRST[:3]
    assert splice.cut is error


def test_a_failure_before_any_content_takes_the_usual_way() -> None:
    """The client was sent nothing: the next target begins anew."""
    splice, taken = broken(FIRST[:1])
    assert taken == [FIRST[0], Failed(CUT)]
    assert splice.state is State.OVER


def test_an_answer_goes_on_once() -> None:
    splice, _ = broken(FIRST[:3])
    assert resumed(splice, [*SECOND[:3], Failed(CUT)])[-1] == Failed(CUT)
    assert splice.state is State.OVER


def test_a_continuation_that_said_nothing_is_no_continuation() -> None:
    """The client saw nothing of it, whatever it broke by: the next one may be tried."""
    splice, events = broken(FIRST[:3])
    assert resumed(splice, [Start(), Failed(Refused("no"))]) == []
    assert splice.state is State.CUT
    assert text_of(checked(events + resumed(splice, SECOND))) == "Salt the shore."


def test_as_often_as_allowed() -> None:
    splice, events = broken(FIRST[:3], max_cuts=2)
    events += resumed(splice, [*SECOND[:3], Failed(CUT)])
    assert splice.text == "Salt the "
    events += resumed(splice, answer("end"))
    assert text_of(checked(events)) == "Salt the end"


def test_too_much_text_is_not_kept() -> None:
    """Memory is bounded; such an answer can't go on."""
    splice, taken = broken([Start(), *text("12345", "678")[:3]], max_text=7)
    assert splice.text == ""
    assert taken[-1] == Failed(CUT)
    assert broken([Start(), *text("12345", "67")[:3]], max_text=7)[0].text == "1234567"


def test_when_nobody_goes_on_it_is_over() -> None:
    splice, _ = broken(FIRST[:3])
    splice.give_up()
    assert (splice.state, splice.text) == (State.OVER, "")


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert not TRANSITIONS[State.OVER]
    assert set().union(*TRANSITIONS.values()) == set(Input)


def test_a_long_answer_is_kept_whole() -> None:
    """However many texts it came in."""
    splice = Splice()
    texts = [f"{number} " for number in range(1000)]
    for event in [Start(), *text(*texts)[:-1]]:
        splice.take([event])
    assert splice.text == "".join(texts)


@given(answers(text_only), answers(text_only), st.data())
def test_events_one_by_one_are_told_as_all_at_once(
    first: list[Event], second: list[Event], data: st.DataObject
) -> None:
    """Before the cut and behind it."""
    at = data.draw(st.integers(1, len(first) - 1))
    single, whole = Splice(), Splice()
    for events in ([*first[:at], Failed(CUT)], second):
        one_by_one = [taken for event in events for taken in single.take([event])]
        assert one_by_one == whole.take(list(events))
        assert (single.state, single.text) == (whole.state, whole.text)
        if single.state is not State.CUT:
            return
        single.resume()
        whole.resume()
