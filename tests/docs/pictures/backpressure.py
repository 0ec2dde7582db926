"""Backpressure: what fills, one after the other, behind a client that stops reading."""

from __future__ import annotations

from typing import Final

from gateway.connection import UNSENT
from tests.docs.pictures.svg import BAD, INK, PALE, Drawing

_PLACES: Final = (
    ("the upstream", "6. its writes block:", "it stops making tokens"),
    ("kernel: what came", "5. fills up:", "no more is acknowledged"),
    ("the one loop", "4. waits for the client,", "and reads no further"),
    ("our write buffer", f"3. {UNSENT // 1024} KiB are waiting:", "full"),
    ("kernel: what goes", "2. fills up", "to the size of its buffer"),
    ("the client", "1. reads no more", ""),
)
_WIDTH, _GAP = 138, 20


def picture() -> str:
    """The places that bytes pass on their way, and the order in which they fill."""
    drawing = Drawing(980, 200, "A client that stops reading stops its upstream, through buffers of fixed size")
    drawing.text(20, 30, "bytes go this way", ink=PALE)
    drawing.line(140, 26, 300, 26, is_arrow=True)
    for place, (name, happens, then) in enumerate(_PLACES):
        x = 18 + place * (_WIDTH + _GAP)
        drawing.box(x, 50, _WIDTH, 56)
        drawing.text(x + _WIDTH / 2, 83, name, anchor="middle", ink=INK)
        drawing.text(x + _WIDTH / 2, 130, happens, anchor="middle", size=12, ink=BAD)
        drawing.text(x + _WIDTH / 2, 148, then, anchor="middle", size=12, ink=BAD)
        if place:
            drawing.line(x - _GAP + 1, 78, x - 2, 78, is_arrow=True)
    drawing.line(960, 178, 680, 178, is_arrow=True)
    drawing.text(670, 182, "waiting goes that way; nothing in between grows without end", anchor="end", ink=PALE)
    return drawing.svg()
