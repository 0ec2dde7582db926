"""When is what sent to the client, and what does a failure mean? Pure: batches of events in, actions out.

WAITING: nothing of the answer was sent; what came so far is held, and a failure may still try another target.
STREAMING: content is out, the commit point is passed; a failure is told to the client.
CUT: it broke after the commit point, and nobody was told, because another upstream may go on; if none does, it is told.
RESUMED: of an answer that goes on: nothing of this part was sent, which is no reason to say so.
DONE, REFUSED, BROKEN: over; complete, given up before the commit point, broken after it.
A pair that is not in the table does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.errors import GatewayError
from gateway.neutral.events import CONTENT, End, Event, Failed, Ping, Start

MAX_HELD: Final = 1024 * 1024
"""Bytes held before the commit point. Far more than an answer's preamble, even one that repeats its request. Beyond,
signs of life are thrown away, since they commit to nothing and must not fill our memory; what says more is relayed."""


class State(Enum):
    __hash__ = object.__hash__  # as they are compared; Enum's own takes the name's, in Python

    WAITING = auto()
    STREAMING = auto()
    CUT = auto()
    RESUMED = auto()
    DONE = auto()
    REFUSED = auto()
    BROKEN = auto()


class Input(Enum):
    """What a batch of events amounts to."""

    __hash__ = object.__hash__  # as they are compared; Enum's own takes the name's, in Python

    LIFECYCLE = auto()
    CONTENT = auto()
    END = auto()
    FAILURE = auto()
    CUT = auto()
    """A failure that another upstream may mend."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Pass the commit point, with a response head if none is out. `start` is the upstream's own, where it came."""

    start: Start | None


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The body is complete, or its failure was told in it."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Cut the connection without a last chunk: the wire has no other way to say that the answer broke."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing of the answer was sent: the error may go to another target, or become the response."""

    error: GatewayError


Action = Commit | Send | Close | Abort | GiveUp


class _Do(Enum):
    HOLD = auto()
    BEGIN = auto()
    PASS = auto()
    COMPLETE = auto()
    GIVE_UP = auto()
    TELL = auto()


TRANSITIONS: Final[dict[State, dict[Input, tuple[State, tuple[_Do, ...]]]]] = {
    State.WAITING: {
        Input.LIFECYCLE: (State.WAITING, (_Do.HOLD,)),
        Input.CONTENT: (State.STREAMING, (_Do.BEGIN, _Do.PASS)),
        Input.END: (State.DONE, (_Do.BEGIN, _Do.PASS, _Do.COMPLETE)),
        Input.FAILURE: (State.REFUSED, (_Do.GIVE_UP,)),
        Input.CUT: (State.REFUSED, (_Do.GIVE_UP,)),
    },
    State.STREAMING: {
        Input.LIFECYCLE: (State.STREAMING, (_Do.PASS,)),
        Input.CONTENT: (State.STREAMING, (_Do.PASS,)),
        Input.END: (State.DONE, (_Do.PASS, _Do.COMPLETE)),
        Input.FAILURE: (State.BROKEN, (_Do.PASS, _Do.TELL)),
        Input.CUT: (State.CUT, (_Do.PASS,)),
    },
    State.RESUMED: {
        Input.LIFECYCLE: (State.RESUMED, (_Do.HOLD,)),
        Input.CONTENT: (State.STREAMING, (_Do.PASS,)),
        Input.END: (State.DONE, (_Do.PASS, _Do.COMPLETE)),
        Input.FAILURE: (State.BROKEN, (_Do.PASS, _Do.TELL)),
        Input.CUT: (State.CUT, (_Do.PASS,)),
    },
    State.CUT: {Input.FAILURE: (State.BROKEN, (_Do.PASS, _Do.TELL))},
    State.DONE: {},
    State.REFUSED: {},
    State.BROKEN: {},
}
_OVER: Final = frozenset({State.CUT, State.DONE, State.REFUSED, State.BROKEN})
"""Nothing more is read."""
_LAST: Final = (End, Failed)
_STREAMING: Final = State.STREAMING
"""Asked for with each event; Python 3.11 looks a member of an enum up for 0.1 µs."""


def amounts_to(events: Sequence[Event]) -> Input:
    """A failure outweighs the end, the end outweighs content."""
    last = type(events[-1]) if events else None
    if last is Failed:
        return Input.FAILURE
    if last is End:
        return Input.END
    return Input.CONTENT if any(type(event) in CONTENT for event in events) else Input.LIFECYCLE


class Relay:
    """One answer on its way to the client."""

    def __init__(self, state: State = State.WAITING) -> None:
        """`state`: RESUMED where another upstream's answer goes on."""
        self.state = state
        self.error: GatewayError | None = None
        self._held = b""
        self._start: Start | None = None

    @property
    def is_over(self) -> bool:
        return self.state in _OVER

    def passes(self, events: Sequence[Event]) -> bool:
        """Whether all that the table does with these is to pass their bytes on: so it is with nearly every batch."""
        return self.state is _STREAMING and not (events and type(events[-1]) in _LAST)

    def take(self, events: Sequence[Event], data: bytes, *, is_told: bool = True) -> list[Action]:
        """Events, and the client's bytes for them. `is_told`: whether `data` tells the failure among them, if any."""
        if self.passes(events):
            return [Send(data)] if data else []
        what = amounts_to(events)
        if what is Input.FAILURE and isinstance(events[-1], Failed):
            self.error = events[-1].error
        if self._start is None:
            self._start = next((event for event in events if isinstance(event, Start)), None)
        if what is Input.LIFECYCLE and len(self._held) + len(data) > MAX_HELD:
            if all(type(event) is Ping for event in events):
                return []
            what = Input.CONTENT
        return self._step(what, data, is_told=is_told)

    def cut(self, error: GatewayError, data: bytes) -> list[Action]:
        """What came last, and that it broke then in a way that another upstream may mend."""
        self.error = error
        return self._step(Input.CUT, data, is_told=True)

    def _step(self, what: Input, data: bytes, *, is_told: bool) -> list[Action]:
        self.state, todo = TRANSITIONS[self.state][what]
        return [action for do in todo for action in self._do(do, data, is_told=is_told)]

    def _do(self, do: _Do, data: bytes, *, is_told: bool) -> list[Action]:
        match do:
            case _Do.HOLD:
                self._held += data
                return []
            case _Do.BEGIN:
                return [Commit(self._start)]
            case _Do.PASS:
                data, self._held = self._held + data, b""
                return [Send(data)] if data else []
            case _Do.COMPLETE:
                return [Close()]
            case _Do.TELL:
                return [Close() if is_told else Abort()]
            case _Do.GIVE_UP:
                assert self.error is not None
                return [GiveUp(self.error)]
