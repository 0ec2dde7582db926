"""Boxes, arrows and lines of text, on a ground of their own: readable on light pages and on dark ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

INK: Final = "#1f2933"
PALE: Final = "#6b7785"
GOOD: Final = "#0b7a4b"
BAD: Final = "#b3261e"
FILL: Final = "#eef3f8"
_FONTS: Final = {
    "text": "font-family='Helvetica, Arial, sans-serif'",
    "code": "font-family='ui-monospace, Menlo, Consolas, monospace'",
}
_HEAD: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
    "width='{width}' height='{height}' role='img'>\n"
    "<title>{title}</title>\n"
    "<defs><marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'>"
    "<path d='M 0 0 L 10 5 L 0 10 z' fill='{ink}'/></marker></defs>\n"
    "<rect width='{width}' height='{height}' rx='8' fill='#ffffff'/>\n"
)


@dataclass
class Drawing:
    """A picture of so many units, drawn from top to bottom."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, said: str, *, size: int = 13, ink: str = INK, anchor: str = "start") -> None:
        """One line of text."""
        self._letters("text", x, y, said, size, ink, anchor)

    def code(self, x: float, y: float, said: str, *, size: int = 12, ink: str = INK) -> None:
        """One line of code, its blanks kept."""
        self._letters("code", x, y, said, size, ink, "start")

    def _letters(self, font: str, x: float, y: float, said: str, size: int, ink: str, anchor: str) -> None:
        place = f"x='{x:g}' y='{y:g}' font-size='{size}' fill='{ink}' text-anchor='{anchor}' xml:space='preserve'"
        self.parts.append(f"<text {place} {_FONTS[font]}>{escape(said)}</text>")

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = FILL, stroke: str = PALE) -> None:
        """A box with round corners."""
        place = f"x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}'"
        self.parts.append(f"<rect {place} rx='5' fill='{fill}' stroke='{stroke}'/>")

    def line(self, x1: float, y1: float, x2: float, y2: float, *, ink: str = PALE, is_arrow: bool = False) -> None:
        """A line, or an arrow."""
        tip = " marker-end='url(#tip)'" if is_arrow else ""
        place = f"x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}'"
        self.parts.append(f"<line {place} stroke='{ink}' stroke-width='1.4'{tip}/>")

    def svg(self) -> str:
        """The picture."""
        head = _HEAD.format(width=self.width, height=self.height, title=escape(self.title), ink=PALE)
        return head + "\n".join([*self.parts, "</svg>", ""])


def shortened(text: str, most: int) -> str:
    """As much of a line as fits."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
