"""What a cut looks like in each dialect: the last that a client gets of a stream whose upstream broke off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect
from gateway.errors import Truncated
from gateway.neutral.events import BlockKind, BlockStart, Failed, Start, TextDelta
from tests.docs.pictures.events import REQUEST, STAMP
from tests.docs.pictures.svg import BAD, PALE, Drawing, shortened

_NAMES: Final = {
    "anthropic": "Anthropic Messages",
    "truss": "Truss, raw text",
    "responses": "OpenAI Responses",
    "openai": "OpenAI Chat",
}
_MISSING: Final = {
    "anthropic": "and no message_stop",
    "truss": "the connection ends, and no last chunk",
    "responses": "and no response.completed",
    "openai": "and no [DONE]",
}
_HEIGHT, _LETTERS = 128, 128


def ends(dialect: Dialect) -> tuple[str, str]:
    """The last piece of text, and what follows where the upstream's connection broke; empty where nothing does."""
    encoder = dialect.encoder(REQUEST, STAMP)
    encoder.encode([Start(), BlockStart(0, BlockKind.TEXT)])
    text = encoder.encode([TextDelta(0, "Grey waves")]).decode()
    return text, encoder.encode([Failed(Truncated("the upstream's connection broke off"))]).decode()


def picture() -> str:
    """A panel for each dialect."""
    drawing = Drawing(
        980, 50 + _HEIGHT * len(DIALECTS), "The end of a broken stream in each dialect, none looks finished"
    )
    drawing.text(20, 30, "An upstream breaks off behind “Grey waves”. The client gets:", size=15)
    for row, (name, dialect) in enumerate(DIALECTS.items()):
        y = 46 + _HEIGHT * row
        text, end = ends(dialect)
        drawing.box(14, y, 952, _HEIGHT - 12)
        drawing.text(24, y + 20, _NAMES[name])
        lines = [*((line, PALE) for line in _lines(text)), *((line, BAD) for line in _lines(end))]
        for place, (line, ink) in enumerate(lines):
            drawing.code(24, y + 40 + 16 * place, shortened(line, _LETTERS), ink=ink)
        drawing.text(956, y + 20, _MISSING[name], anchor="end", ink=BAD)
    return drawing.svg()


def _lines(frames: str) -> Iterator[str]:
    """The lines of some frames, with what says nothing of the end left out."""
    for line in frames.split("\n"):
        if line:
            yield re.sub(r'("(?:id|item_id)":)"[^"]*",|"(?:object|created|created_at)":[^,]*,', "", line)
