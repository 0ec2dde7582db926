"""Is this fragment text a complete JSON value by now? Brackets and quotes only, no parse."""

from __future__ import annotations

import re
from typing import Final

# Linear: one character class, no nesting.
_STRUCTURE: Final = re.compile(r'["\\{}\[\]]')
_OPENING: Final = frozenset("{[")


class JsonScanner:
    """Fed with fragments; `is_complete` once every bracket and quote that was opened is closed again."""

    __slots__ = ("_depth", "_has_content", "_in_string", "_is_escaped")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._has_content = False

    @property
    def is_complete(self) -> bool:
        return self._has_content and self._depth == 0 and not self._in_string

    def feed(self, text: str) -> None:
        self._has_content = self._has_content or bool(text.strip())
        position = 0
        if self._is_escaped and text:
            self._is_escaped, position = False, 1
        while (found := _STRUCTURE.search(text, position)) is not None:
            position = found.end()
            if not self._in_string:
                self._outside(found.group())
            elif found.group() == '"':
                self._in_string = False
            elif found.group() == "\\":
                self._is_escaped = position == len(text)
                position += 1

    def _outside(self, character: str) -> None:
        if character == '"':
            self._in_string = True
        elif character in _OPENING:
            self._depth += 1
        elif character != "\\":
            self._depth -= 1
