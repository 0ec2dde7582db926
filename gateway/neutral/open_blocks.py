"""The blocks that the Sequencer has open, and those that wait for their turn: text and its like, and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.neutral.events import (
    BlockKind,
    Citation,
    Event,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
)
from gateway.neutral.json_scanner import JsonScanner
from gateway.neutral.pieces import BlockPiece, CitationPiece, ContentPiece, SignaturePiece, ToolPiece, WholePiece


class OpenBlock:
    """A run of text, reasoning, … that is live or waits."""

    __slots__ = ("index", "is_ended", "is_sealed", "key", "kind", "pieces")

    def __init__(self, kind: BlockKind, key: int | None) -> None:
        self.kind = kind
        self.key = key
        self.index = -1
        self.pieces: list[BlockPiece] = []
        self.is_ended = False
        self.is_sealed = False

    def takes(self, piece: BlockPiece) -> bool:
        """Whether the piece continues this block (rule 1)."""
        match piece:
            case ContentPiece():
                return self.kind is piece.kind and self.key == piece.key and not self.is_sealed
            case CitationPiece():
                return self.kind is BlockKind.TEXT and self.key == piece.key
            case SignaturePiece():
                return self.kind is BlockKind.REASONING and self.key == piece.key and not self.is_sealed
            case WholePiece():
                return False


class OpenCall:
    """One tool call: live, waiting, or stopped. Until it is started, its name may still grow and its id change."""

    __slots__ = (
        "_scanner",
        "call_kind",
        "fragments",
        "id",
        "index",
        "is_empty",
        "is_ended",
        "is_stopped",
        "name",
        "order",
        "unscanned",
    )

    def __init__(self, order: int) -> None:
        self.order = order
        self.index = -1
        self.id = ""
        self.name = ""
        self.call_kind = "function"
        self.fragments: list[str] = []
        self.unscanned = 0
        self.is_empty = True
        self.is_ended = False
        self.is_stopped = False
        self._scanner = JsonScanner()

    @property
    def is_started(self) -> bool:
        return self.index >= 0

    def learn(self, piece: ToolPiece) -> None:
        """Takes id and name while they can still be told (rule 3)."""
        if self.is_started:
            self.id = self.id or piece.id
            return
        self.id = piece.id or self.id
        self.call_kind = piece.call_kind
        if piece.name and piece.name != self.name:
            self.name += piece.name

    def add(self, fragment: str) -> None:
        """More of the arguments."""
        self.fragments.append(fragment)
        self.is_empty = self.is_empty and not fragment.strip()

    def is_cut(self) -> bool:
        """Whether some of the arguments came and not all of them; can't be told any more of a call that was stopped."""
        return not self.is_empty and not self.is_complete()

    def is_complete(self) -> bool:
        """Whether the argument text can't grow any more (rule 4). Scans only what it has not seen."""
        if self.is_ended or self.call_kind == "custom":
            return True
        for fragment in self.fragments[self.unscanned :]:
            self._scanner.feed(fragment)
        self.unscanned = len(self.fragments)
        return self._scanner.is_complete


def delta_of(block: OpenBlock, piece: BlockPiece) -> Event:
    """What a piece is as an event of the live block."""
    match piece:
        case ContentPiece():
            delta, index = flow_of(block, piece)
            return delta(index, piece.text)
        case SignaturePiece():
            return ReasoningSignature(block.index, piece.value)
        case CitationPiece():
            return Citation(block.index, piece.citation, piece.dialect, piece.url, piece.title)
        case WholePiece():
            raise AssertionError("a whole block has no delta")


Flow = tuple[Callable[[int, str], Event], int]
"""What makes an event of a text, and the index of the block that the text is for."""


def flow_of(block: OpenBlock, piece: ContentPiece) -> Flow:
    """For texts that come as this piece's did."""
    if piece.is_summary and piece.kind is BlockKind.REASONING:
        return _summary, block.index
    return _DELTAS[piece.kind], block.index


def _summary(index: int, text: str) -> ReasoningDelta:
    return ReasoningDelta(index, text, is_summary=True)


_DELTAS: Final[Mapping[BlockKind, Callable[[int, str], Event]]] = {
    BlockKind.TEXT: TextDelta,
    BlockKind.REASONING: ReasoningDelta,
    BlockKind.REFUSAL: RefusalDelta,
}
