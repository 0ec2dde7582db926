"""Undoes in an answer what rendering did to its request: shortened names, wrapped tools, a schema dressed as a tool.

A rendering that had to spell a tool another way leaves a `Restoration`; `Restorer` stands behind the Sequencer and
gives the client its own tools back. Nothing to restore: it isn't there.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import orjson

from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    Event,
    Finish,
    Reason,
    ReasoningDelta,
    TextDelta,
)
from gateway.neutral.pieces import Piece
from gateway.neutral.quick_value import quick_value


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool as the client knows it. `custom`: called with free text, which upstream is the one string of an object."""

    name: str
    namespace: str | None = None
    kind: str = "function"


@quick_value
class Restoration:
    """`tools`: the name a tool has upstream → the client's. `output_tool`: whose arguments are the answer's text."""

    tools: Mapping[str, ClientTool] = field(default_factory=dict)
    output_tool: str = ""
    hides_reasoning: bool = False

    def __bool__(self) -> bool:
        return bool(self.tools or self.output_tool or self.hides_reasoning)


class Sequence(Protocol):
    """Pieces → events in strict order; `dropped` counts fragments that had no block to go to."""

    @property
    def dropped(self) -> int: ...

    @property
    def flow(self) -> object:
        """True if each text of the next `more` makes one delta of text, and changes nothing else here."""

    def feed(self, pieces: Iterable[Piece]) -> list[Event]: ...

    def more(self, texts: abc.Sequence[str]) -> list[Event]:
        """As `feed` with the last piece again, which was a `ContentPiece`, for each of these texts."""


class Restorer:
    """A Sequence whose events are the client's own again."""

    def __init__(self, sequence: Sequence, restoration: Restoration) -> None:
        self._sequence = sequence
        self._restoration = restoration
        self._custom: list[str] | None = None
        self._is_output = False
        self._has_output = False
        self._has_calls = False

    @property
    def dropped(self) -> int:
        return self._sequence.dropped

    @property
    def flow(self) -> object:
        return None if self._restoration.hides_reasoning else self._sequence.flow

    def feed(self, pieces: Iterable[Piece]) -> list[Event]:
        return self._restored(self._sequence.feed(pieces))

    def more(self, texts: abc.Sequence[str]) -> list[Event]:
        return self._restored(self._sequence.more(texts))

    def _restored(self, events: list[Event]) -> list[Event]:
        if len(events) == 1:  # nearly every token; as `_restore` has it
            kind = type(events[0])
            if kind is TextDelta or (kind is ArgsDelta and self._custom is None and not self._is_output):
                return events
        return [restored for event in events for restored in self._restore(event)]

    def _restore(self, event: Event) -> Iterable[Event]:
        match event:
            case BlockStart(kind=BlockKind.TOOL):
                return (self._start(event),)
            case ArgsDelta() if self._is_output:
                return (TextDelta(event.index, event.fragment),)
            case ArgsDelta() if self._custom is not None:
                self._custom.append(event.fragment)
                return ()
            case BlockStop():
                return self._stop(event)
            case ReasoningDelta() if self._restoration.hides_reasoning:
                return ()
            case Finish(reason=Reason.TOOL_CALLS) if self._has_output and not self._has_calls:
                return (replace(event, reason=Reason.STOP),)
            case _:
                return (event,)

    def _start(self, start: BlockStart) -> BlockStart:
        if start.name == self._restoration.output_tool:
            self._is_output = self._has_output = True
            return BlockStart(start.index, BlockKind.TEXT)
        self._has_calls = True
        tool = self._restoration.tools.get(start.name)
        if tool is None:
            return start
        if tool.kind == "custom" and start.call_kind != "custom":  # a server that knows such tools wraps nothing
            self._custom = []
        return replace(start, name=tool.name, namespace=tool.namespace, call_kind=tool.kind)

    def _stop(self, stop: BlockStop) -> Iterable[Event]:
        """Free text is unwrapped at once: a JSON string can't be taken apart before it is whole (mapping.md §10)."""
        fragments, self._custom, self._is_output = self._custom, None, False
        text = unwrap_custom("".join(fragments)) if fragments else ""
        return (ArgsDelta(stop.index, text), stop) if text else (stop,)


def restored(sequence: Sequence, restoration: Restoration) -> Sequence:
    """The sequence itself where there is nothing to restore, so that it costs nothing."""
    return Restorer(sequence, restoration) if restoration else sequence


def unwrap_custom(arguments: str) -> str:
    """The free text in `{"input": text}`, or in what models make of it: another single string, or bare text."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if isinstance(value, dict):
        if isinstance(value.get(CUSTOM_FIELD), str):
            return str(value[CUSTOM_FIELD])
        texts = [text for text in value.values() if isinstance(text, str)]
        return texts[0] if len(value) == len(texts) == 1 else arguments
    return value if isinstance(value, str) else arguments


CUSTOM_FIELD: Final = "input"
"""The one property of the object that carries a custom tool's free text upstream (mapping.md §5.1)."""
