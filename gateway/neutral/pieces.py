"""What decoders report: content as it arrives, in any order. The Sequencer makes events of it.

A piece belongs to a block, but decoders neither number blocks nor open or close them; where the wire does name its
blocks, `key` tells two of the same kind apart. Start, Usage, Finish, Ping, Failed and End pass as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.neutral.events import BlockKind, End, Failed, Finish, Ping, Start, Usage
from gateway.neutral.quick_value import quick_value
from gateway.neutral.request import OpaqueValue


@quick_value
class ContentPiece:
    """Some text, reasoning or refusal."""

    kind: BlockKind
    text: str
    key: int | None = None
    is_summary: bool = False


@quick_value
class ToolPiece:
    """A fragment of a call. `key` is the wire's index; without one, `id` or else `position` finds the call."""

    key: int | None
    id: str = ""
    name: str = ""
    fragment: str = ""
    call_kind: str = "function"
    position: int = 0


@dataclass(frozen=True, slots=True)
class SignaturePiece:
    """The seal of a reasoning block, complete."""

    value: OpaqueValue
    key: int | None = None


@dataclass(frozen=True, slots=True)
class WholePiece:
    """A redacted or opaque block, complete; only `dialect` understands an opaque one."""

    kind: BlockKind
    payload: OpaqueValue | Mapping[str, Any]
    dialect: str = ""


@dataclass(frozen=True, slots=True)
class CitationPiece:
    citation: Mapping[str, Any]
    dialect: str
    key: int | None = None
    url: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """The wire says that the block `key` is complete."""

    key: int


Piece = (
    ContentPiece
    | ToolPiece
    | SignaturePiece
    | WholePiece
    | CitationPiece
    | BlockEnd
    | Start
    | Usage
    | Finish
    | Ping
    | Failed
    | End
)

BlockPiece = ContentPiece | SignaturePiece | WholePiece | CitationPiece
"""What belongs to a block that isn't a call."""


def size_of(piece: BlockPiece) -> int:
    """Characters a piece takes while it waits."""
    match piece:
        case ContentPiece():
            return len(piece.text)
        case SignaturePiece(value=OpaqueValue(data=data)) | WholePiece(payload=OpaqueValue(data=data)):
            return len(data)
        case WholePiece(payload=held) | CitationPiece(citation=held):
            return len(repr(held))


def kind_of(piece: BlockPiece) -> BlockKind:
    """The kind of block a piece belongs to."""
    match piece:
        case SignaturePiece():
            return BlockKind.REASONING
        case CitationPiece():
            return BlockKind.TEXT
        case _:
            return piece.kind
