"""Tables and code in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells may hold anything but line ends, which become spaces."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Inline code."""
    return f"`{text}`"


def block(text: str, language: str = "text") -> str:
    """A block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```\n"


def page(*parts: str) -> str:
    """Parts, with a blank line between them."""
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def cells(text: str, column: int = 0) -> Iterator[str]:
    """What stands in one column of all tables of a page, heads left out."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        is_head = i + 1 < len(lines) and re.fullmatch(r"(\| --- )+\|", lines[i + 1])
        if line.startswith("| ") and not is_head and not line.startswith("| ---"):
            yield re.split(r"(?<!\\)\|", line)[column + 1].strip()


def anchors(text: str) -> set[str]:
    """What a link may point at in a page, as GitHub names its headings."""
    found: set[str] = set()
    for _, title in _HEADING.findall(_FENCE.sub("", text)):
        base = anchor(title)
        found.add(next(name for name in (base, *(f"{base}-{n}" for n in range(1, 100))) if name not in found))
    return found


def anchor(title: str) -> str:
    """Lower case, dashes for spaces, without punctuation."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
