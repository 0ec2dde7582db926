"""Blocks that only one dialect understands, on their way to clients of that dialect and of others."""

from __future__ import annotations

import pytest

from gateway.neutral.events import BlockKind, BlockStart, End, Finish, Reason, Start
from gateway.neutral.pieces import ContentPiece, Piece, WholePiece
from gateway.neutral.request import OpaqueValue
from gateway.neutral.sequencer import Sequencer

PIECES: list[Piece] = [
    Start(),
    WholePiece(BlockKind.OPAQUE, {"type": "server_tool_use"}, "anthropic"),
    ContentPiece(BlockKind.TEXT, "a", 1),
    WholePiece(BlockKind.OPAQUE, {"type": "web_search_tool_result"}, "anthropic"),
    WholePiece(BlockKind.REDACTED, OpaqueValue("anthropic", "R")),
    ContentPiece(BlockKind.TEXT, "b", 4),
    Finish(Reason.STOP),
    End(),
]


@pytest.mark.parametrize(
    ("client", "blocks"),
    [
        ("anthropic", ["opaque", "text", "opaque", "redacted", "text"]),
        ("", ["opaque", "text", "opaque", "redacted", "text"]),
        ("openai", ["text", "redacted", "text"]),
        ("truss", ["text", "redacted", "text"]),
    ],
)
def test_a_block_is_for_its_own_dialect_and_leaves_no_gap(client: str, blocks: list[str]) -> None:
    """Pitfall 18."""
    starts = [event for event in Sequencer(client=client).feed(PIECES) if isinstance(event, BlockStart)]
    assert [start.kind.value for start in starts] == blocks
    assert [start.index for start in starts] == list(range(len(blocks)))
    assert all(start.dialect == "anthropic" for start in starts if start.kind is BlockKind.OPAQUE)
