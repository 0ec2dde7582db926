"""The order events may come in."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.errors import Truncated
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
from gateway.neutral.grammar import OPENS, TRANSITIONS, Grammar, GrammarError, State
from gateway.neutral.request import OpaqueValue

SEAL = OpaqueValue("anthropic", "x")
STOP = Finish(Reason.STOP)
DELTAS: dict[BlockKind, Event] = {
    BlockKind.TEXT: TextDelta(0, "a"),
    BlockKind.REASONING: ReasoningDelta(0, "a"),
    BlockKind.REFUSAL: RefusalDelta(0, "a"),
    BlockKind.TOOL: ArgsDelta(0, "{}"),
}
ANYWHERE: list[Event] = [Ping(), Usage(output=1)]


def check(*events: Event) -> State:
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    return grammar.state


def test_the_table_is_total() -> None:
    """Every state has a row, every event a place, every kind of block a state; only the two ends have no way out."""
    assert set(TRANSITIONS) == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(get_args(Event))
    assert set(OPENS) == set(BlockKind)
    reached = {state for row in TRANSITIONS.values() for state in row.values()} | set(OPENS.values()) | {State.IDLE}
    assert reached == set(State)
    assert [state for state in State if not TRANSITIONS[state]] == [State.ENDED, State.FAILED]


@pytest.mark.parametrize("kind", DELTAS)
def test_a_block_is_started_filled_and_stopped(kind: BlockKind) -> None:
    events: list[Event] = [Start(), BlockStart(0, kind), DELTAS[kind], DELTAS[kind], BlockStop(0), STOP, Usage(), End()]
    assert check(*events) is State.ENDED


def test_a_block_may_be_empty_and_an_answer_too() -> None:
    assert check(Start(), BlockStart(0, BlockKind.TOOL), BlockStop(0), STOP, End()) is State.ENDED
    assert check(Ping(), Start(), STOP, End()) is State.ENDED


def test_citations_and_signatures_have_their_own_blocks() -> None:
    cited: list[Event] = [BlockStart(0, BlockKind.TEXT), Citation(0, {}, "anthropic"), TextDelta(0, "a"), BlockStop(0)]
    signed: list[Event] = [BlockStart(1, BlockKind.REASONING), ReasoningSignature(1, SEAL), BlockStop(1)]
    whole: list[Event] = [BlockStart(2, BlockKind.REDACTED, payload=SEAL), BlockStop(2)]
    assert check(Start(), *cited, *signed, *whole) is State.OPEN


@pytest.mark.parametrize("state", [state for state in State if TRANSITIONS[state]])
def test_an_answer_may_fail_anywhere_and_is_over_then(state: State) -> None:
    grammar = Grammar()
    grammar.state = state
    grammar.check(Failed(Truncated("cut")))
    for event in (*ANYWHERE, STOP, End(), Failed(Truncated("again"))):
        with pytest.raises(GrammarError, match="may not come in state FAILED"):
            grammar.check(event)


@pytest.mark.parametrize("state", [state for state in State if TRANSITIONS[state] and state is not State.IDLE])
@pytest.mark.parametrize("event", ANYWHERE, ids=repr)
def test_usage_and_pings_change_nothing(state: State, event: Event) -> None:
    grammar = Grammar()
    grammar.state = state
    grammar.check(event)
    assert grammar.state is state


TEXT_BLOCK = (Start(), BlockStart(0, BlockKind.TEXT))
ILLEGAL: dict[str, tuple[Event, ...]] = {
    "content before the start": (BlockStart(0, BlockKind.TEXT),),
    "usage before the start": (Usage(),),
    "two starts": (Start(), Start()),
    "a delta outside of a block": (Start(), TextDelta(-1, "a")),
    "a stop outside of a block": (Start(), BlockStop(-1)),
    "a block in a block": (*TEXT_BLOCK, BlockStart(1, BlockKind.TEXT)),
    "a finish in a block": (*TEXT_BLOCK, STOP),
    "an end in a block": (*TEXT_BLOCK, End()),
    "an end before the finish": (Start(), End()),
    "two finishes": (Start(), STOP, STOP),
    "a block after the finish": (Start(), STOP, BlockStart(0, BlockKind.TEXT)),
    "a delta in a whole block": (Start(), BlockStart(0, BlockKind.OPAQUE), TextDelta(0, "a")),
    "reasoning behind its signature": (
        Start(),
        BlockStart(0, BlockKind.REASONING),
        ReasoningSignature(0, SEAL),
        ReasoningDelta(0, "a"),
    ),
    "anything after the end": (Start(), STOP, End(), Ping()),
    "a first block that isn't 0": (Start(), BlockStart(1, BlockKind.TEXT)),
    "blocks that skip a number": (*TEXT_BLOCK, BlockStop(0), BlockStart(2, BlockKind.TEXT)),
    "a delta of another block": (*TEXT_BLOCK, TextDelta(1, "a")),
    "the stop of another block": (*TEXT_BLOCK, BlockStop(1)),
}


@pytest.mark.parametrize("events", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_what_is_not_in_the_table_does_not_exist(events: tuple[Event, ...]) -> None:
    """All but the last of these events are legal."""
    grammar = Grammar()
    for event in events[:-1]:
        grammar.check(event)
    with pytest.raises(GrammarError):
        grammar.check(events[-1])


@pytest.mark.parametrize("kind", DELTAS)
def test_a_block_takes_only_deltas_of_its_kind(kind: BlockKind) -> None:
    for other, delta in DELTAS.items():
        if other is not kind:
            with pytest.raises(GrammarError, match=f"{type(delta).__name__} may not come in state {OPENS[kind].name}"):
                check(Start(), BlockStart(0, kind), delta)


def test_an_error_names_the_event_and_the_block() -> None:
    with pytest.raises(GrammarError, match=r"TextDelta\(index=3, .*\) does not belong to block 0"):
        check(*TEXT_BLOCK, TextDelta(3, "a"))
