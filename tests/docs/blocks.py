"""The code blocks of Markdown pages, and what is to be done with each.

The language decides; comments on the lines above a block say what the language can't:

    <!-- output -->          what the block above prints, in this order; `…` stands for anything
    <!-- file: NAME -->      written to this file for the blocks below; `~` is the reader's home
    <!-- server -->          `triglot serve` in it stays up until the page ends
    <!-- needs: agents -->   only run by `pytest -m agents`; so with the other markers
    <!-- shown: REASON -->   not run, and why
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).parents[2]
MARKERS: Final = ("", "slow", "truss", "conformance", "agents")
"""What a block may need; nothing, for those that every test run runs."""


class Way(StrEnum):
    """What is done with a block."""

    SHELL = "run in a shell"
    PYTHON = "run by Python"
    NODE = "run by Node"
    SERVER = "run until the page ends"
    CHECK = "checked by triglot check"
    JSON = "parsed as JSON"
    TOML = "parsed as TOML"
    FILE = "written to a file"
    OUTPUT = "compared with what was printed"
    SHOWN = "shown only"


_LANGUAGES: Final[Mapping[str, tuple[Way, str]]] = {
    "bash": (Way.SHELL, ""),
    "console": (Way.SHELL, ""),
    "python": (Way.PYTHON, ""),
    "js": (Way.NODE, ""),
    "yaml": (Way.CHECK, ""),
    "json": (Way.JSON, ""),
    "toml": (Way.TOML, ""),
    "text": (Way.SHOWN, "text"),
    "": (Way.SHOWN, "a drawing"),
    "mermaid": (Way.SHOWN, "a drawing"),
}
"""language → what is done with its blocks where no comment says otherwise, and the reason if that is nothing."""
_COMMENTS: Final[Mapping[str, Way | None]] = {
    "output": Way.OUTPUT,
    "file": Way.FILE,
    "server": Way.SERVER,
    "shown": Way.SHOWN,
    "needs": None,
}
_COMMENT: Final = re.compile(r"<!--\s*([a-z]+)(?::\s*(.*?))?\s*-->")
_FOREIGN: Final = ("figures",)  # marks of the pages that other tests write
_PROMPT: Final = "$ "


class Unclear(Exception):
    """A block that doesn't say what is to be done with it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A code block. `detail` is the file's name or the reason why it is only shown; `needs` one of MARKERS."""

    page: str
    line: int
    language: str
    text: str
    way: Way
    detail: str = ""
    needs: str = ""

    @property
    def place(self) -> str:
        """As an editor can follow it."""
        return f"{self.page}:{self.line}"


def pages() -> tuple[str, ...]:
    """The pages people read: the README and everything in docs."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ("README.md", *found)


def blocks_of(page: str) -> tuple[Block, ...]:
    """The blocks of a page of the repository. Raises Unclear."""
    return tuple(read(page, (ROOT / page).read_text()))


def read(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page, in order. Raises Unclear."""
    tokens = MarkdownIt().parse(text)
    for position, token in enumerate(tokens):
        if token.type == "code_block":
            raise Unclear(f"{page}:{_line(token)}: an indented block has no language; write a fence")
        if token.type == "fence":
            yield _block(page, token, dict(_comments(f"{page}:{_line(token)}", tokens[:position], token)))


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


def _comments(place: str, before: Iterable[Token], fence: Token) -> Iterator[tuple[str, str]]:
    """Keys and values of the comments on the lines right above a fence."""
    below = _line(fence)
    for token in reversed(list(before)):
        if token.type != "html_block" or token.map is None or token.map[1] + 1 != below:
            return
        below = _line(token)
        for key, value in _COMMENT.findall(token.content):
            if key not in _COMMENTS and key not in _FOREIGN:
                raise Unclear(f"{place}: no comment {key}; known: {', '.join(_COMMENTS)}")
            yield key, value


def _block(page: str, fence: Token, comments: dict[str, str]) -> Block:
    place, language = f"{page}:{_line(fence)}", fence.info.split(" ")[0]
    chosen = [(way, comments[key]) for key, way in _COMMENTS.items() if way is not None and key in comments]
    if len(chosen) > 1:
        raise Unclear(f"{place}: one comment at most says what is done with it, not {len(chosen)}")
    if not chosen and language not in _LANGUAGES:
        raise Unclear(f"{place}: {language} can't be run; a comment above has to say why it stands there")
    way, detail = chosen[0] if chosen else _LANGUAGES[language]
    if way in (Way.SHOWN, Way.FILE) and not detail:
        raise Unclear(f"{place}: {way}, but the comment doesn't say {'why' if way is Way.SHOWN else 'to which'}")
    needs = comments.get("needs", "")
    if needs not in MARKERS:
        raise Unclear(f"{place}: needs {needs}; known: {', '.join(filter(None, MARKERS))}")
    if way is Way.SHOWN and any(line.startswith(_PROMPT) for line in fence.content.splitlines()) and not comments:
        raise Unclear(f"{place}: a command in a block that is not run; make it bash or console")
    return Block(page, _line(fence), language, fence.content, way, detail, needs)
