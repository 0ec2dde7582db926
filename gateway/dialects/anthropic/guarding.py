"""The order that the events of a message stream may come in: one table (`anthropic-messages.md` §7).

NEW: nothing but pings. OPEN: started, between blocks. In one of the block states, a block of that kind is open; SEALED
is a thinking block that has its signature, WHOLE a block that came complete: both can only stop. TOLD: the finish and
the usage are out. DONE and FAILED: nothing may follow. A pair that is not in the table does not exist.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from gateway.dialects.guard import FrameGuard, Reading
from gateway.neutral.request import Request


class State(Enum):
    NEW = auto()
    OPEN = auto()
    TEXT = auto()
    THINKING = auto()
    SEALED = auto()
    TOOL = auto()
    WHOLE = auto()
    TOLD = auto()
    DONE = auto()
    FAILED = auto()


class Kind(Enum):
    PING = auto()
    MESSAGE_START = auto()
    TEXT_START = auto()
    THINKING_START = auto()
    TOOL_START = auto()
    WHOLE_START = auto()
    """A block of any other type, which comes complete."""
    TEXT_DELTA = auto()
    CITATIONS_DELTA = auto()
    THINKING_DELTA = auto()
    SIGNATURE_DELTA = auto()
    INPUT_DELTA = auto()
    BLOCK_STOP = auto()
    MESSAGE_DELTA = auto()
    MESSAGE_STOP = auto()
    ERROR = auto()
    STRAY = auto()
    """Of a block whose turn it is not; no state takes it, nor the next."""
    UNKNOWN = auto()


_EVENTS: Final = {
    b"ping": Kind.PING,
    b"message_start": Kind.MESSAGE_START,
    b"message_delta": Kind.MESSAGE_DELTA,
    b"message_stop": Kind.MESSAGE_STOP,
    b"error": Kind.ERROR,
}
_STARTS: Final = {b"text": Kind.TEXT_START, b"thinking": Kind.THINKING_START, b"tool_use": Kind.TOOL_START}
_DELTAS: Final = {
    b"text_delta": Kind.TEXT_DELTA,
    b"citations_delta": Kind.CITATIONS_DELTA,
    b"thinking_delta": Kind.THINKING_DELTA,
    b"signature_delta": Kind.SIGNATURE_DELTA,
    b"input_json_delta": Kind.INPUT_DELTA,
}


def _anywhere(state: State) -> dict[Kind, State]:
    return {Kind.PING: state, Kind.ERROR: State.FAILED}


_STOPS: Final = {Kind.BLOCK_STOP: State.OPEN}

TRANSITIONS: Final[dict[State, dict[Kind, State]]] = {
    State.NEW: _anywhere(State.NEW) | {Kind.MESSAGE_START: State.OPEN},
    State.OPEN: _anywhere(State.OPEN)
    | {
        Kind.TEXT_START: State.TEXT,
        Kind.THINKING_START: State.THINKING,
        Kind.TOOL_START: State.TOOL,
        Kind.WHOLE_START: State.WHOLE,
        Kind.MESSAGE_DELTA: State.TOLD,
    },
    State.TEXT: _anywhere(State.TEXT) | _STOPS | {Kind.TEXT_DELTA: State.TEXT, Kind.CITATIONS_DELTA: State.TEXT},
    State.THINKING: _anywhere(State.THINKING)
    | {Kind.THINKING_DELTA: State.THINKING, Kind.SIGNATURE_DELTA: State.SEALED},
    State.SEALED: _anywhere(State.SEALED) | _STOPS,
    State.TOOL: _anywhere(State.TOOL) | _STOPS | {Kind.INPUT_DELTA: State.TOOL},
    State.WHOLE: _anywhere(State.WHOLE) | _STOPS,
    State.TOLD: _anywhere(State.TOLD) | {Kind.MESSAGE_STOP: State.DONE},
    State.DONE: {},
    State.FAILED: {},
}

_EVENT: Final = b'event: %b\ndata: {"type":"%b"'
_START: Final = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":{'
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"'
_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}'
_TYPE: Final = b'"type":"'
_UNKNOWN: Final = Reading(Kind.UNKNOWN)


def guard(request: Request) -> FrameGuard[State, Kind]:
    """Guards the stream that answers this request."""
    return FrameGuard(TRANSITIONS, State.NEW, _Reader())


class _Reader:
    """Tells frames apart by their event and, in a block, by its index and the type that follows it."""

    def __init__(self) -> None:
        self._blocks = 0

    def read(self, frame: bytes) -> Reading[Kind]:
        name = frame[len(b"event: ") : frame.find(b"\n")]
        if frame.count(b"\n") != 1 or not frame.startswith(_EVENT % (name, name)):
            return _UNKNOWN
        match name:
            case b"content_block_delta":
                return self._delta(frame)
            case b"content_block_start":
                return self._start(frame)
            case b"content_block_stop":
                return Reading(Kind.BLOCK_STOP if frame == _STOP % (self._blocks - 1) else Kind.STRAY)
            case _:
                return Reading(_EVENTS.get(name, Kind.UNKNOWN))

    def _start(self, frame: bytes) -> Reading[Kind]:
        """Blocks count from 0 without a gap."""
        begin = _START % self._blocks
        if not frame.startswith(begin):
            return Reading(Kind.STRAY)
        self._blocks += 1
        at = len(begin) + len(_TYPE)
        kind = frame[at : frame.find(b'"', at)] if frame.startswith(_TYPE, len(begin)) else b""
        return Reading(_STARTS.get(kind, Kind.WHOLE_START))

    def _delta(self, frame: bytes) -> Reading[Kind]:
        """Deltas belong to the last block."""
        begin = _DELTA % (self._blocks - 1)
        if not frame.startswith(begin):
            return Reading(Kind.STRAY)
        if not frame.endswith(b"}}"):
            return _UNKNOWN
        end = frame.find(b'"', len(begin))
        return Reading(_DELTAS.get(frame[len(begin) : end], Kind.UNKNOWN), frame[: end + 1], b"}}")
