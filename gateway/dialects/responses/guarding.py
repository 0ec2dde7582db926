"""The order that the events of a response stream may come in: one table (`openai-responses.md` §5).

NEW: nothing but keep-alives. CREATED and OPEN: begun, between items. In a state named after what an item holds, that
item was added; with TOLD its content is complete, with ANNOUNCED a part of it was announced. CLOSED: only the end of
the item is missing. DONE and FAILED: nothing may follow. A pair that is not in the table does not exist.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from gateway.dialects.guard import FrameGuard, Reading
from gateway.neutral.request import Request


class State(Enum):
    NEW = auto()
    CREATED = auto()
    OPEN = auto()
    MESSAGE = auto()
    TEXT = auto()
    REFUSAL = auto()
    REASONING = auto()
    SUMMARY = auto()
    THOUGHT = auto()
    FUNCTION = auto()
    CUSTOM = auto()
    PART_TOLD = auto()
    SUMMARY_TOLD = auto()
    CLOSED = auto()
    DONE = auto()
    FAILED = auto()


class Kind(Enum):
    KEEP_ALIVE = auto()
    CREATED = auto()
    IN_PROGRESS = auto()
    MESSAGE = auto()
    REASONING = auto()
    FUNCTION = auto()
    CUSTOM = auto()
    TEXT_PART = auto()
    REFUSAL_PART = auto()
    THOUGHT_PART = auto()
    SUMMARY_PART = auto()
    TEXT_DELTA = auto()
    ANNOTATION = auto()
    REFUSAL_DELTA = auto()
    THOUGHT_DELTA = auto()
    SUMMARY_DELTA = auto()
    ARGUMENTS_DELTA = auto()
    INPUT_DELTA = auto()
    TEXT_DONE = auto()
    REFUSAL_DONE = auto()
    THOUGHT_DONE = auto()
    SUMMARY_DONE = auto()
    ARGUMENTS_DONE = auto()
    INPUT_DONE = auto()
    PART_DONE = auto()
    SUMMARY_PART_DONE = auto()
    ITEM_DONE = auto()
    COMPLETED = auto()
    INCOMPLETE = auto()
    FAILED = auto()
    STRAY = auto()
    """Of an item whose turn it is not; no state takes it, nor the next."""
    UNKNOWN = auto()


_ITEMS: Final = {
    b"message": Kind.MESSAGE,
    b"reasoning": Kind.REASONING,
    b"function_call": Kind.FUNCTION,
    b"custom_tool_call": Kind.CUSTOM,
}
_PARTS: Final = {
    b"output_text": Kind.TEXT_PART,
    b"refusal": Kind.REFUSAL_PART,
    b"reasoning_text": Kind.THOUGHT_PART,
    b"summary_text": Kind.SUMMARY_PART,
}
_WITHIN: Final = {
    b"output_text.delta": Kind.TEXT_DELTA,
    b"output_text.annotation.added": Kind.ANNOTATION,
    b"output_text.done": Kind.TEXT_DONE,
    b"refusal.delta": Kind.REFUSAL_DELTA,
    b"refusal.done": Kind.REFUSAL_DONE,
    b"reasoning_text.delta": Kind.THOUGHT_DELTA,
    b"reasoning_text.done": Kind.THOUGHT_DONE,
    b"reasoning_summary_text.delta": Kind.SUMMARY_DELTA,
    b"reasoning_summary_text.done": Kind.SUMMARY_DONE,
    b"function_call_arguments.delta": Kind.ARGUMENTS_DELTA,
    b"function_call_arguments.done": Kind.ARGUMENTS_DONE,
    b"custom_tool_call_input.delta": Kind.INPUT_DELTA,
    b"custom_tool_call_input.done": Kind.INPUT_DONE,
    b"content_part.done": Kind.PART_DONE,
    b"reasoning_summary_part.done": Kind.SUMMARY_PART_DONE,
}
_LIFECYCLE: Final = {
    b"created": Kind.CREATED,
    b"in_progress": Kind.IN_PROGRESS,
    b"completed": Kind.COMPLETED,
    b"incomplete": Kind.INCOMPLETE,
    b"failed": Kind.FAILED,
}


def _anywhere(state: State) -> dict[Kind, State]:
    return {Kind.KEEP_ALIVE: state, Kind.FAILED: State.FAILED}


_BETWEEN: Final = {
    Kind.MESSAGE: State.MESSAGE,
    Kind.REASONING: State.REASONING,
    Kind.FUNCTION: State.FUNCTION,
    Kind.CUSTOM: State.CUSTOM,
    Kind.COMPLETED: State.DONE,
    Kind.INCOMPLETE: State.DONE,
}
_ENDS: Final = {Kind.ITEM_DONE: State.OPEN}

TRANSITIONS: Final[dict[State, dict[Kind, State]]] = {
    State.NEW: {Kind.KEEP_ALIVE: State.NEW, Kind.CREATED: State.CREATED},
    State.CREATED: _anywhere(State.CREATED) | {Kind.IN_PROGRESS: State.OPEN},
    State.OPEN: _anywhere(State.OPEN) | _BETWEEN,
    State.MESSAGE: _anywhere(State.MESSAGE) | {Kind.TEXT_PART: State.TEXT, Kind.REFUSAL_PART: State.REFUSAL},
    State.TEXT: _anywhere(State.TEXT)
    | {Kind.TEXT_DELTA: State.TEXT, Kind.ANNOTATION: State.TEXT, Kind.TEXT_DONE: State.PART_TOLD},
    State.REFUSAL: _anywhere(State.REFUSAL) | {Kind.REFUSAL_DELTA: State.REFUSAL, Kind.REFUSAL_DONE: State.PART_TOLD},
    State.REASONING: _anywhere(State.REASONING)
    | _ENDS
    | {Kind.SUMMARY_PART: State.SUMMARY, Kind.THOUGHT_PART: State.THOUGHT},
    State.SUMMARY: _anywhere(State.SUMMARY)
    | {Kind.SUMMARY_DELTA: State.SUMMARY, Kind.SUMMARY_DONE: State.SUMMARY_TOLD},
    State.THOUGHT: _anywhere(State.THOUGHT) | {Kind.THOUGHT_DELTA: State.THOUGHT, Kind.THOUGHT_DONE: State.PART_TOLD},
    State.FUNCTION: _anywhere(State.FUNCTION)
    | {Kind.ARGUMENTS_DELTA: State.FUNCTION, Kind.ARGUMENTS_DONE: State.CLOSED},
    State.CUSTOM: _anywhere(State.CUSTOM) | {Kind.INPUT_DELTA: State.CUSTOM, Kind.INPUT_DONE: State.CLOSED},
    State.PART_TOLD: _anywhere(State.PART_TOLD) | {Kind.PART_DONE: State.CLOSED},
    State.SUMMARY_TOLD: _anywhere(State.SUMMARY_TOLD) | {Kind.SUMMARY_PART_DONE: State.CLOSED},
    State.CLOSED: _anywhere(State.CLOSED) | _ENDS,
    State.DONE: {},
    State.FAILED: {},
}

_NAME: Final = b"event: response."
_DATA: Final = b'\ndata: {"type":"response.%b",'
_NUMBERING: Final = b',"sequence_number":%d}'
_RESPONSE: Final = b'"response":{"id":"'
_ADDED: Final = b'"output_index":%d,"item":{"id":"'
_DONE: Final = b'"output_index":%d,"item":{"id":"%b",'
_ANNOUNCED: Final = (b"content_part.added", b"reasoning_summary_part.added")
_OF_CALLS: Final = (b"function_call_arguments", b"custom_tool_call_input")
_INSIDE: Final = b'"item_id":"%b","output_index":%d,'
_TYPE: Final = b'","type":"'
_PART: Final = b'"part":{"type":"'
_UNKNOWN: Final = Reading(Kind.UNKNOWN)


def guard(request: Request) -> FrameGuard[State, Kind]:
    """Guards the stream that answers this request."""
    return FrameGuard(TRANSITIONS, State.NEW, _Reader(), _NUMBERING)


class _Reader:
    """Tells events apart by their names, and checks that each is of the response and the item whose turn it is."""

    def __init__(self) -> None:
        self._items = 0
        self._response = b""
        self._item = b""

    def read(self, frame: bytes) -> Reading[Kind]:
        if frame.startswith(b":"):
            return Reading(Kind.KEEP_ALIVE) if b"\n" not in frame else _UNKNOWN
        line = frame.find(b"\n")
        name = frame[len(_NAME) : line]
        begin = _DATA % name
        if frame.count(b"\n") != 1 or not (frame.startswith(_NAME) and frame.startswith(begin, line)):
            return _UNKNOWN
        at = line + len(begin)
        if name in _LIFECYCLE:
            return Reading(self._lifecycle(name, frame, at))
        if name == b"output_item.added":
            return Reading(self._added(frame, at))
        if name == b"output_item.done":
            return Reading(Kind.ITEM_DONE if self._begins(_DONE, frame, at) else Kind.STRAY)
        return self._within(name, frame, at)

    def _begins(self, form: bytes, frame: bytes, at: int) -> bool:
        """Whether the event is of the item whose turn it is."""
        return frame.startswith(form % (self._items - 1, self._item), at)

    def _lifecycle(self, name: bytes, frame: bytes, at: int) -> Kind:
        """All of them are of one response, by its id."""
        begin = at + len(_RESPONSE)
        told = frame[begin : frame.find(b'"', begin)] if frame.startswith(_RESPONSE, at) else b""
        self._response = self._response or told
        return _LIFECYCLE[name] if told and told == self._response else Kind.STRAY

    def _added(self, frame: bytes, at: int) -> Kind:
        """Items count from 0 without a gap."""
        begin = _ADDED % self._items
        if not frame.startswith(begin, at):
            return Kind.STRAY
        end = frame.find(b'"', at + len(begin))
        if not frame.startswith(_TYPE, end):
            return Kind.UNKNOWN
        self._item, self._items = frame[at + len(begin) : end], self._items + 1
        return _ITEMS.get(_word(frame, end + len(_TYPE)), Kind.UNKNOWN)

    def _within(self, name: bytes, frame: bytes, at: int) -> Reading[Kind]:
        inside = _INSIDE % (self._item, self._items - 1)
        if not frame.startswith(inside, at):
            return Reading(Kind.STRAY)
        at += len(inside)
        place = _place(name)
        if not frame.startswith(place, at):
            return Reading(Kind.STRAY)
        if name in _ANNOUNCED:
            begins = frame.startswith(_PART, at + len(place))
            return Reading(_PARTS.get(_word(frame, at + len(place + _PART)), Kind.UNKNOWN)) if begins else _UNKNOWN
        is_delta = name.endswith(b".delta")
        return Reading(_WITHIN.get(name, Kind.UNKNOWN), frame[: at + len(place)] if is_delta else None)


def _place(name: bytes) -> bytes:
    """Where in its item the content is that an event speaks of: items have one part, calls have none."""
    if name.startswith(_OF_CALLS):
        return b""
    return b'"summary_index":0,' if name.startswith(b"reasoning_summary") else b'"content_index":0,'


def _word(frame: bytes, at: int) -> bytes:
    """A text that begins `at`, behind its quote."""
    return frame[at : frame.find(b'"', at)]
