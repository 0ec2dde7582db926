"""What a responses decoder holds on to, and how it finds the item that an event speaks of."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Decoder
from gateway.errors import Malformed
from gateway.neutral.events import BlockKind, Failed
from gateway.neutral.pieces import ContentPiece, Piece

MAX_EVENT = 4096


def decoder() -> Decoder:
    dialect = DIALECTS["responses"]
    return dialect.decoder(dialect.options(), MAX_EVENT)


def frame(kind: str, **fields: Any) -> bytes:
    return b"data: %s\n\n" % orjson.dumps({"type": f"response.{kind}", **fields})


@pytest.mark.parametrize(
    "place",
    [
        lambda n: {"output_index": n, "item_id": f"msg_{n}"},
        lambda n: {"output_index": n},
        lambda n: {"item_id": f"msg_{n}"},
        lambda n: {"output_index": 0, "content_index": n},
        lambda n: {"item_id": f"{n}" + "x" * 2000},
    ],
)
def test_an_upstream_can_not_fill_the_memory_with_items(place: Any) -> None:
    """An answer of endless items, or parts of one, is broken before it has cost as much as one event may."""
    reading, pieces = decoder(), list[Piece]()
    for number in range(MAX_EVENT):
        pieces += reading.feed(frame("output_text.delta", delta="x", **place(number)))
        if isinstance(pieces[-1], Failed):
            break
    assert isinstance(pieces[-1], Failed)
    assert isinstance(pieces[-1].error, Malformed)
    assert len(pieces) <= MAX_EVENT // 64


def test_an_item_is_found_by_its_number_or_by_its_id() -> None:
    """mapping.md §11: servers leave out one or the other, and not always the same."""
    item = {"id": "msg_1", "type": "message", "content": []}
    reading = decoder()
    pieces = reading.feed(frame("output_item.added", output_index=3, item=item))
    pieces += reading.feed(frame("output_text.delta", item_id="msg_1", delta="a"))
    pieces += reading.feed(frame("output_text.delta", output_index=3, delta="b"))
    pieces += reading.feed(frame("output_text.done", item_id="msg_1", text="abc"))
    assert pieces == [ContentPiece(BlockKind.TEXT, text, 3) for text in "abc"]
