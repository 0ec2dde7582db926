"""A whole answer is a folded stream."""

from __future__ import annotations

import pytest

from gateway.errors import InternalError, Truncated
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
    ReasoningSignature,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.request import OpaqueValue
from gateway.neutral.response import Block, Collector, Response, fold

SEAL = OpaqueValue("anthropic", "sealed")
STOP = Finish(Reason.STOP, raw="end_turn")
ANSWER: list[Event] = [
    Start("id", "model", 7),
    BlockStart(0, BlockKind.REASONING),
    ReasoningDelta(0, "a"),
    Ping(),
    ReasoningDelta(0, "b"),
    ReasoningSignature(0, SEAL),
    BlockStop(0),
    BlockStart(1, BlockKind.TEXT),
    TextDelta(1, "c"),
    Citation(1, {"n": 1}, "anthropic"),
    TextDelta(1, "d"),
    Citation(1, {"n": 2}, "anthropic"),
    BlockStop(1),
    BlockStart(2, BlockKind.TOOL, "call", "f", "custom"),
    ArgsDelta(2, "{"),
    ArgsDelta(2, "}"),
    BlockStop(2),
    BlockStart(3, BlockKind.REDACTED, payload=SEAL),
    BlockStop(3),
    BlockStart(4, BlockKind.REFUSAL),
    RefusalDelta(4, "no"),
    BlockStop(4),
    STOP,
    Usage(output=2, is_final=True),
    End(),
]


def test_a_stream_folds_into_its_blocks() -> None:
    assert fold(ANSWER) == Response(
        Start("id", "model", 7),
        [
            Block(BlockKind.REASONING, "ab", signature=SEAL),
            Block(
                BlockKind.TEXT, "cd", citations=[Citation(1, {"n": 1}, "anthropic"), Citation(1, {"n": 2}, "anthropic")]
            ),
            Block(BlockKind.TOOL, "{}", id="call", name="f", call_kind="custom"),
            Block(BlockKind.REDACTED, payload=SEAL),
            Block(BlockKind.REFUSAL, "no"),
        ],
        STOP,
        Usage(output=2, is_final=True),
    )


def test_text_is_that_of_one_kind() -> None:
    """Text and refusals are told apart; several blocks are joined in order."""
    more: list[Event] = [BlockStart(5, BlockKind.TEXT), TextDelta(5, "e"), BlockStop(5)]
    response = fold([*ANSWER[:-3], *more, *ANSWER[-3:]])
    assert response.text() == "cde"
    assert response.text(BlockKind.REFUSAL) == "no"
    assert response.text(BlockKind.REASONING) == "ab"


def test_a_failure_is_raised() -> None:
    """A broken answer never becomes a whole one."""
    with pytest.raises(Truncated, match="cut"):
        fold([*ANSWER[:-3], Failed(Truncated("cut"))])


def test_events_without_a_finish_are_our_own_fault() -> None:
    with pytest.raises(InternalError, match="without Finish or Failed"):
        fold(ANSWER[:-3])


def test_an_empty_answer_is_an_answer() -> None:
    assert fold([Start(), STOP, End()]) == Response(Start(), [], STOP, None)


def test_events_may_come_one_by_one() -> None:
    collector = Collector()
    for event in ANSWER:
        collector.take(event)
    assert collector.response() == fold(ANSWER)


def test_usage_of_the_start_is_where_later_totals_begin() -> None:
    events: list[Event] = [Start(usage=Usage(input=5, output=1)), Usage(output=9, is_final=True), STOP, End()]
    assert fold(events).usage == Usage(input=5, output=9, is_final=True)


def test_unknown_keeps_what_was_known() -> None:
    """mapping.md §7.2: null or missing is not zero."""
    known = Usage(input=1, output=2, cache_read=3, cache_write=4, reasoning=5)
    assert known.merged(Usage()) == known
    assert Usage().merged(known) == known


def test_later_totals_replace_earlier_ones() -> None:
    """They are cumulative, so they are never added; an explicit zero replaces too."""
    assert Usage(input=10, output=1).merged(Usage(output=7)) == Usage(input=10, output=7)
    assert Usage(input=10, cache_read=4).merged(Usage(cache_read=0)) == Usage(input=10, cache_read=0)
