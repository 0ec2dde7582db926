"""The commit point: what a client has seen by when, and what a failure means before and behind it."""

from __future__ import annotations

from typing import Final

from tests.docs.pictures.svg import BAD, GOOD, INK, PALE, Drawing

_TIME: Final = 130
_STEPS: Final = (
    (60, "request"),
    (190, "upstream 1 is called"),
    (350, "it fails: upstream 2"),
    (500, "head, message_start"),
    (640, "first content"),
    (780, "more"),
    (900, "end"),
)


def picture() -> str:
    """A line of time, with what the upstreams do above it and what the client sees below."""
    drawing = Drawing(980, 300, "Before the first content another target may be tried; behind it the client is told")
    drawing.text(20, 30, "what upstreams do", size=15)
    drawing.text(20, 196, "what the client sees", size=15)
    drawing.line(30, _TIME, 955, _TIME, is_arrow=True)
    for x, what in _STEPS:
        drawing.line(x, _TIME - 6, x, _TIME + 6, ink=INK)
        drawing.text(x, _TIME - 16, what, anchor="middle", ink=GOOD if what == "first content" else INK)
    drawing.line(640, 44, 640, 100, ink=GOOD)
    drawing.line(640, 124, 640, 280, ink=GOOD)
    drawing.text(650, 56, "the commit point", size=15, ink=GOOD)
    _span(drawing, 60, 630, "nothing, or signs of life after 10 s; lifecycle frames are held", GOOD)
    _span(drawing, 650, 930, "what was held, then each event as it comes", INK)
    drawing.text(60, 262, "a failure here: the next target, or an error with its own status", ink=PALE)
    drawing.text(650, 262, "a failure here: an error frame in the", ink=BAD)
    drawing.text(650, 280, "client's dialect, or a visible cut", ink=BAD)
    return drawing.svg()


def _span(drawing: Drawing, begin: float, end: float, said: str, ink: str) -> None:
    drawing.box(begin, 206, end - begin, 30)
    drawing.text((begin + end) / 2, 226, said, anchor="middle", ink=ink, size=12)
