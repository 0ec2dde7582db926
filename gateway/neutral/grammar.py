"""The order events may come in: one table.

IDLE: nothing happened yet. OPEN: started, between blocks. In one of the block states, a block of that kind is open.
SEALED: a reasoning block has its signature and can only stop. DONE: the model finished, usage may still come.
ENDED and FAILED: nothing may follow. A pair that is not in the table does not exist.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

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
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)


class State(Enum):
    IDLE = auto()
    OPEN = auto()
    TEXT = auto()
    REASONING = auto()
    SEALED = auto()
    TOOL = auto()
    REFUSAL = auto()
    WHOLE = auto()
    DONE = auto()
    ENDED = auto()
    FAILED = auto()


OPENS: Final[dict[BlockKind, State]] = {
    BlockKind.TEXT: State.TEXT,
    BlockKind.REASONING: State.REASONING,
    BlockKind.TOOL: State.TOOL,
    BlockKind.REFUSAL: State.REFUSAL,
    BlockKind.REDACTED: State.WHOLE,
    BlockKind.OPAQUE: State.WHOLE,
}


def _anywhere(state: State) -> dict[type[Event], State]:
    return {Ping: state, Usage: state, Failed: State.FAILED}


TRANSITIONS: Final[dict[State, dict[type[Event], State]]] = {
    State.IDLE: {Ping: State.IDLE, Start: State.OPEN, Failed: State.FAILED},
    State.OPEN: _anywhere(State.OPEN) | {BlockStart: State.OPEN, Finish: State.DONE},
    State.TEXT: _anywhere(State.TEXT) | {TextDelta: State.TEXT, Citation: State.TEXT, BlockStop: State.OPEN},
    State.REASONING: _anywhere(State.REASONING)
    | {ReasoningDelta: State.REASONING, ReasoningSignature: State.SEALED, BlockStop: State.OPEN},
    State.SEALED: _anywhere(State.SEALED) | {BlockStop: State.OPEN},
    State.TOOL: _anywhere(State.TOOL) | {ArgsDelta: State.TOOL, BlockStop: State.OPEN},
    State.REFUSAL: _anywhere(State.REFUSAL) | {RefusalDelta: State.REFUSAL, BlockStop: State.OPEN},
    State.WHOLE: _anywhere(State.WHOLE) | {BlockStop: State.OPEN},
    State.DONE: _anywhere(State.DONE) | {End: State.ENDED},
    State.ENDED: {},
    State.FAILED: {},
}


class GrammarError(ValueError):
    """An event that may not come here: a fault of ours, never of an upstream."""


class Grammar:
    """Checks a sequence of events, one by one: also that blocks count from 0 and deltas belong to the open one."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self._index = -1

    def check(self, event: Event) -> None:
        """Takes the event or raises GrammarError, naming both the state and the event."""
        following = TRANSITIONS[self.state].get(type(event))
        if following is None:
            raise GrammarError(f"{type(event).__name__} may not come in state {self.state.name}")
        if isinstance(event, BlockStart):
            self._index += 1
            following = OPENS[event.kind]
        if getattr(event, "index", self._index) != self._index:
            raise GrammarError(f"{event!r} does not belong to block {self._index}")
        self.state = following
