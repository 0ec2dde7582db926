"""A whole answer: a stream, folded. Each rule of translation is written once, for events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InternalError
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    Citation,
    Event,
    Failed,
    Finish,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.request import OpaqueValue


@dataclass(slots=True)
class Block:
    """One block of an answer, complete: `text` is its text, its reasoning or a call's arguments."""

    kind: BlockKind
    text: str = ""
    id: str = ""
    name: str = ""
    call_kind: str = "function"
    namespace: str | None = None
    payload: OpaqueValue | Mapping[str, Any] | None = None
    signature: OpaqueValue | None = None
    is_summary: bool = False
    citations: list[Citation] = field(default_factory=list)


def block_of(start: BlockStart) -> Block:
    """The block that begins, still empty."""
    return Block(
        start.kind,
        id=start.id,
        name=start.name,
        call_kind=start.call_kind,
        namespace=start.namespace,
        payload=start.payload,
    )


@dataclass(slots=True)
class Response:
    start: Start
    blocks: list[Block]
    finish: Finish
    usage: Usage | None = None

    def text(self, kind: BlockKind = BlockKind.TEXT) -> str:
        """The text of all blocks of a kind, joined."""
        return "".join(block.text for block in self.blocks if block.kind is kind)


def fold(events: Iterable[Event]) -> Response:
    """The answer these events tell. Raises the error of a `Failed`; events must follow the grammar."""
    collector = Collector()
    for event in events:
        collector.take(event)
    return collector.response()


class Collector:
    """Folds events as they come."""

    def __init__(self) -> None:
        self._start = Start()
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._blocks: list[Block] = []
        self._fragments: list[list[str]] = []

    def take(self, event: Event) -> None:
        """One more event. Raises the error of a `Failed`."""
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text) | ArgsDelta(fragment=text):
                self._fragments[-1].append(text)
            case ReasoningDelta(text=text):
                self._fragments[-1].append(text)
                self._blocks[-1].is_summary = event.is_summary
            case BlockStart() | ReasoningSignature() | Citation():
                self._take_block(event)
            case Start():
                self._start, self._usage = event, event.usage
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Finish():
                self._finish = event
            case Failed():
                raise event.error
            case _:
                pass

    def _take_block(self, event: BlockStart | ReasoningSignature | Citation) -> None:
        match event:
            case BlockStart():
                self._blocks.append(block_of(event))
                self._fragments.append([])
            case ReasoningSignature():
                self._blocks[-1].signature = event.value
            case Citation():
                self._blocks[-1].citations.append(event)

    def response(self) -> Response:
        """The answer so far, which must have finished."""
        if self._finish is None:
            raise InternalError("events ended without Finish or Failed")
        for block, texts in zip(self._blocks, self._fragments, strict=True):
            block.text = "".join(texts)
        return Response(self._start, self._blocks, self._finish, self._usage)
