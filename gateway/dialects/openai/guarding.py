"""The order that chat completion chunks may come in: one table (`openai-chat.md` §5, the grammar to emit).

NEW: nothing but keep-alives. OPEN: the role came, no tool call yet. CALLING: a call was begun, and arguments belong to
the last one. COUNTING: finished, and the client is still owed the usage it asked for. IF_COUNTED: finished, and the
usage it asked for comes only if somebody counted. CLOSING: only `[DONE]` is left. DONE and FAILED: nothing may follow.
A pair that is not in the table does not exist.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from gateway.dialects.guard import FrameGuard, Reading
from gateway.dialects.openai.encoding import reasoning_field
from gateway.neutral.request import Request


class State(Enum):
    NEW = auto()
    OPEN = auto()
    CALLING = auto()
    COUNTING = auto()
    IF_COUNTED = auto()
    CLOSING = auto()
    DONE = auto()
    FAILED = auto()


class Kind(Enum):
    KEEP_ALIVE = auto()
    ROLE = auto()
    CONTENT = auto()
    REFUSAL = auto()
    REASONING = auto()
    REASONING_DETAILS = auto()
    ANNOTATIONS = auto()
    TOOL_HEAD = auto()
    TOOL_ARGUMENTS = auto()
    FINISH = auto()
    FINISH_BEFORE_USAGE = auto()
    """The finish of a stream that ends in a usage chunk."""
    FINISH_BEFORE_ANY_USAGE = auto()
    """The finish of a stream that ends in a usage chunk if there is usage to tell."""
    USAGE = auto()
    TERMINATOR = auto()
    ERROR = auto()
    STRAY = auto()
    """Of a tool call whose turn it is not; no state takes it, nor the next two."""
    FOREIGN = auto()
    """Of another id, object, time or model than the chunks before."""
    UNKNOWN = auto()


_DELTAS: Final = {
    b"role": Kind.ROLE,
    b"content": Kind.CONTENT,
    b"refusal": Kind.REFUSAL,
    b"reasoning_details": Kind.REASONING_DETAILS,
    b"annotations": Kind.ANNOTATIONS,
}
"""Kinds of a delta by its first field, beside reasoning; tool calls are told apart by what stands in them."""


_FINISHES: Final = {
    Kind.FINISH: State.CLOSING,
    Kind.FINISH_BEFORE_USAGE: State.COUNTING,
    Kind.FINISH_BEFORE_ANY_USAGE: State.IF_COUNTED,
}


def _anywhere(state: State) -> dict[Kind, State]:
    return {Kind.KEEP_ALIVE: state, Kind.ERROR: State.FAILED}


def _answering(state: State) -> dict[Kind, State]:
    content = {kind: state for kind in (*_DELTAS.values(), Kind.REASONING) if kind is not Kind.ROLE}
    return _anywhere(state) | content | _FINISHES | {Kind.TOOL_HEAD: State.CALLING}


TRANSITIONS: Final[dict[State, dict[Kind, State]]] = {
    State.NEW: _anywhere(State.NEW) | {Kind.ROLE: State.OPEN},
    State.OPEN: _answering(State.OPEN),
    State.CALLING: _answering(State.CALLING) | {Kind.TOOL_ARGUMENTS: State.CALLING},
    State.COUNTING: _anywhere(State.COUNTING) | {Kind.USAGE: State.CLOSING},
    State.IF_COUNTED: _anywhere(State.IF_COUNTED) | {Kind.USAGE: State.CLOSING, Kind.TERMINATOR: State.DONE},
    State.CLOSING: _anywhere(State.CLOSING) | {Kind.TERMINATOR: State.DONE},
    State.DONE: {},
    State.FAILED: {},
}

_IDENTITY: Final = re.compile(
    rb'data: \{"id":"[^"]*","object":"chat\.completion\.chunk","created":\d+,"model":"(?:[^"\\]|\\.)*"'
)
_CHOICES: Final = b'"choices":['
_DELTA: Final = b'"choices":[{"index":0,"delta":'
_USAGE: Final = b'"choices":[],"usage":{'
_CALL: Final = b'{"tool_calls":[{"index":%d,"'
_UNKNOWN: Final = Reading(Kind.UNKNOWN)


def guard(request: Request) -> FrameGuard[State, Kind]:
    """Guards the stream that answers this request."""
    return FrameGuard(TRANSITIONS, State.NEW, _Reader(request))


class _Reader:
    """Tells chunks apart by their one delta; knows the head that all of them share once the first one came."""

    def __init__(self, request: Request) -> None:
        end = b'}],"usage":null}' if request.include_usage else b"}]}"
        self._suffix = b'"finish_reason":null' + end
        self._finished = b'"' + end
        self._finish = _finish(request)
        self._deltas = {**_DELTAS, reasoning_field(request).encode(): Kind.REASONING}
        self._identity = b""
        self._calls = 0

    def read(self, frame: bytes) -> Reading[Kind]:
        if b"\n" in frame:
            return _UNKNOWN
        if frame.startswith(b'data: {"id":'):
            return self._chunk(frame)
        if frame == b"data: [DONE]":
            return Reading(Kind.TERMINATOR)
        if frame.startswith(b'data: {"error":{'):
            return Reading(Kind.ERROR)
        return Reading(Kind.KEEP_ALIVE) if frame.startswith(b":") else _UNKNOWN

    def _chunk(self, frame: bytes) -> Reading[Kind]:
        if not self._identity and (found := _IDENTITY.match(frame)) is not None:
            self._identity = found[0]
        if not self._identity or not frame.startswith(self._identity):
            return Reading(Kind.FOREIGN)
        at = frame.find(_CHOICES, len(self._identity))
        if frame.startswith(_DELTA, at):
            return self._delta(frame, at + len(_DELTA))
        return Reading(Kind.USAGE) if frame.startswith(_USAGE, at) else _UNKNOWN

    def _delta(self, frame: bytes, at: int) -> Reading[Kind]:
        """A chunk whose delta begins `at`."""
        if frame.startswith(b"{}", at):
            is_whole = b'"finish_reason":"' in frame[at:] and frame.endswith(self._finished)
            return Reading(self._finish) if is_whole else _UNKNOWN
        if not frame.endswith(self._suffix):
            return _UNKNOWN
        if frame.startswith(b'{"tool_calls":', at):
            return self._call(frame, at)
        name, end = _name(frame, at + 2)
        return Reading(self._deltas.get(name, Kind.UNKNOWN), frame[:end], self._suffix)

    def _call(self, frame: bytes, at: int) -> Reading[Kind]:
        """A head begins the next call, in order; arguments, or a custom tool's input, belong to the last one."""
        head, more = _CALL % self._calls, _CALL % (self._calls - 1)
        if frame.startswith(head, at) and _name(frame, at + len(head))[0] == b"id":
            self._calls += 1
            return Reading(Kind.TOOL_HEAD)
        name, end = _name(frame, at + len(more))
        if frame.startswith(more, at) and name in (b"function", b"custom"):
            return Reading(Kind.TOOL_ARGUMENTS, frame[:end], self._suffix)
        return Reading(Kind.STRAY)


def _finish(request: Request) -> Kind:
    if not request.include_usage:
        return Kind.FINISH
    return Kind.FINISH_BEFORE_USAGE if request.wording.estimates_usage else Kind.FINISH_BEFORE_ANY_USAGE


def _name(frame: bytes, at: int) -> tuple[bytes, int]:
    """The name of a field that begins `at`, behind its quote, and where its own quote ends it."""
    end = frame.find(b'"', at)
    return frame[at:end], end + 1
