"""Takes `<think>…</think>` out of a text, where a server leaves it there (mapping.md §6.2).

BEFORE: only blanks or the beginning of an opening tag came. UNSURE: text without an opening tag, which is held: it is
reasoning if a closing tag follows (many templates open the tag in the prompt), an answer if none does. THINKING:
inside the tags. CLOSED: behind the closing tag, where blanks mean nothing. ANSWERING: the answer has begun, and its
tags are its own.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from gateway.neutral.events import BlockKind, Ping
from gateway.neutral.pieces import ContentPiece, Piece

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
MAX_HELD: Final = 65_536
"""Characters held while it is not known what they are; what is longer without a tag is an answer."""


class _State(Enum):
    BEFORE = auto()
    UNSURE = auto()
    THINKING = auto()
    CLOSED = auto()
    ANSWERING = auto()


class ThinkTags:
    """`split(text)` returns what is known of it; `flush()` what was held, once no more text comes."""

    def __init__(self) -> None:
        self._state = _State.BEFORE
        self._held = ""
        self._has_thought = False

    @property
    def is_answering(self) -> bool:
        """Whether all text to come is an answer, as it comes."""
        return self._state is _State.ANSWERING

    def split(self, text: str) -> list[Piece]:
        if self._state is _State.ANSWERING:
            return [_answer(text)]
        if self._state is _State.CLOSED:
            return self._answer(text)
        self._held += text
        if self._state is _State.BEFORE:
            self._begin()
        if self._state is _State.UNSURE:
            return self._decide()
        return self._think() if self._state is _State.THINKING else []

    def flush(self) -> list[Piece]:
        """The rest, as what it was taken for: an answer, unless the tag is still open."""
        held, self._held = self._held, ""
        if self._state is _State.THINKING:
            return self._thought(held.rstrip())
        self._state = _State.ANSWERING
        return [_answer(held)] if held else []

    def _begin(self) -> None:
        begin = self._held.lstrip()
        if begin.startswith(_OPEN):
            self._state, self._held = _State.THINKING, begin[len(_OPEN) :].lstrip()
        elif not _OPEN.startswith(begin):
            self._state = _State.UNSURE

    def _decide(self) -> list[Piece]:
        if _CLOSE in self._held:
            return self._close()
        if len(self._held) <= MAX_HELD:
            return [Ping()]  # the model is at work
        return self.flush()

    def _think(self) -> list[Piece]:
        if _CLOSE in self._held:
            return self._close()
        sure = len(self._held) - _undecided(self._held)
        thought, self._held = self._held[:sure], self._held[sure:]
        return self._thought(thought)

    def _close(self) -> list[Piece]:
        thought, _, answer = self._held.partition(_CLOSE)
        self._state, self._held = _State.CLOSED, ""
        return [*self._thought(thought.rstrip()), *self._answer(answer)]

    def _thought(self, text: str) -> list[Piece]:
        text = text if self._has_thought else text.lstrip()
        if not text:
            return []
        self._has_thought = True
        return [ContentPiece(BlockKind.REASONING, text)]

    def _answer(self, text: str) -> list[Piece]:
        text = text.lstrip()
        if not text:
            return []
        self._state = _State.ANSWERING
        return [_answer(text)]


def _undecided(text: str) -> int:
    """How many characters at the end may belong to a closing tag and the blanks in front of it."""
    kept = next((size for size in range(min(len(text), len(_CLOSE) - 1), 0, -1) if _CLOSE.startswith(text[-size:])), 0)
    front = text[: len(text) - kept]
    return kept + len(front) - len(front.rstrip())


def _answer(text: str) -> ContentPiece:
    return ContentPiece(BlockKind.TEXT, text)
