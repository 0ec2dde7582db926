"""Frames that are as the one before but for their text: nearly all of a stream, read without decoding their JSON anew.

A `Template` keeps how such a frame begins and ends, and finds the text in between. It is a cache of what the decoder
said of the frame that it was learned from, never a rule of its own. Three things make it exact:

- The place of the text is proved, not guessed: the frame is decoded once more with another text there, which has to
  change that one value and nothing else. A string of JSON ends where it ends whatever is in it, so it holds for any.
- What stands in that place is decoded as a JSON string by itself. Whatever is wrong with it, the whole frame is read
  as any other, and fails as any other.
- A template lives until any frame is decoded, so the decoder is in the state that the frame before left it in.

Some servers change more from frame to frame: a counter, padding. A dialect names such fields, where they mean nothing
for the pieces; from when one was seen to change, it may hold any other number, or word, of plain characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from gateway.neutral.pieces import ContentPiece, Piece, ToolPiece
from gateway.wire import sse

MAX_LEARNED: Final = 4096
"""Bytes of a frame that is kept; those that there are many of are smaller."""
_PATIENCE: Final = 8
"""Templates in a row that took no frame, after which only one frame in so many is learned from: that costs as much as
decoding a few."""

_HEAD: Final = re.compile(rb"(?:event:[^\r\n]*\r?\n)?data: ?")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_FIELD: Final = rb'"%b" ?: ?(?:([0-9]+)|"([A-Za-z0-9]*)")'
_MAX_DIGITS: Final = 18
"""A longer number may not fit in 64 bits, and is read as something else then."""

_ZERO: Final = ord("0")
_NOWHERE: Final = slice(0, 0)

Json = dict[str, Any]
Passed = Mapping[str, bytes]
"""The numbers of fields that may change, in the frame taken last."""
Note = Callable[[str, Passed], None]


class Place(NamedTuple):
    """Where in a frame's JSON the text stands that it says, and what more the decoder does with that text."""

    path: tuple[str | int, ...]
    note: Note | None = None


class _Hole(NamedTuple):
    """A field that may change, and where its value stands, without its quotes."""

    begin: int
    end: int
    name: str
    is_number: bool

    @property
    def number(self) -> str:
        """Its name, if it is a number; nobody asks for words."""
        return self.name if self.is_number else ""

    @property
    def takes(self) -> Callable[[bytes], bool]:
        """Whether something else may stand there as it is."""
        return _is_number if self.is_number else _is_word


def _is_number(value: bytes) -> bool:
    return value.isdigit() and (value[0] != _ZERO or len(value) == 1) and len(value) <= _MAX_DIGITS


def _is_word(value: bytes) -> bool:
    """Characters that need no escape."""
    return value.isalnum() or not value


class _Anatomy(NamedTuple):
    """A frame, and what may change in it: its text, from one quote to the other, and other fields."""

    raw: bytes
    ending: bytes
    begin: int
    end: int
    holes: tuple[_Hole, ...]

    def around(self, begin: int, holes: Iterable[_Hole], end: int) -> list[bytes]:
        """What stands between the holes, from `begin` to `end`."""
        edges = [begin, *(edge for hole in holes for edge in (hole.begin, hole.end)), end]
        return [self.raw[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


class Template:
    """`take(chunk)` finds the texts of more such frames, `make(text)` makes their pieces."""

    __slots__ = (
        "_after",
        "_before",
        "_cut",
        "_double",
        "_ending",
        "_left",
        "_line_end",
        "_note",
        "_passed",
        "_right",
        "_size",
        "is_content",
        "is_used",
        "make",
    )

    def __init__(self, frame: _Anatomy, make: Callable[[str], Piece], note: Note | None) -> None:
        """`make`: the piece that says a text, as this frame's says its own."""
        left = [hole for hole in frame.holes if hole.end <= frame.begin]
        right = [hole for hole in frame.holes if hole.begin >= frame.end]
        self._before, *between = frame.around(0, left, frame.begin + 1)
        self._left = [(hole.number, hole.takes, *each) for hole, each in zip(left, _sized(between), strict=True)]
        *between, self._after = frame.around(frame.end - 1, right, len(frame.raw))
        self._right = [(hole.number, hole.takes, *each) for hole, each in zip(right, _sized(between), strict=True)][
            ::-1
        ]
        self._ending, self._line_end = frame.ending, frame.ending[:1]
        self._size = len(self._before)
        self._double = 2 * (self._size + len(self._after))  # two frames are longer than that
        self._cut = None if frame.holes else slice(self._size - 1, 1 - len(self._after))  # the text, with its quotes
        self.make = make
        self._note = note
        self._passed: dict[str, bytes] = {}
        self.is_content = isinstance(make(""), ContentPiece)
        self.is_used = False

    def text_of(self, frame: bytes) -> str:
        """The text of a frame like the one before; empty for anything else, and for no text."""
        if not (frame.startswith(self._before) and frame.endswith(self._after)):
            return ""
        try:
            text: str = orjson.loads(frame[self._cut or self._narrowed(frame)])
        except orjson.JSONDecodeError:
            return ""
        return text

    def take(self, chunk: bytes) -> Sequence[str]:
        """The texts of frames of which each is like the one before, all of them taken; none for anything else."""
        if len(chunk) < self._double:
            text = self.text_of(chunk)
            texts: Sequence[str] = (text,) if text else ()
        else:
            texts = self._texts_of(chunk)
        if texts:
            self.is_used = True
            if self._note is not None:
                for text in texts:
                    self._note(text, self._passed)
        return texts

    def _texts_of(self, chunk: bytes) -> Sequence[str]:
        texts, begin = [], 0
        while begin < len(chunk):
            end = chunk.find(self._line_end, begin + self._size) + len(self._ending)
            text = self.text_of(chunk[begin:end])
            if not text:
                return ()
            texts.append(text)
            begin = end
        return texts

    def _narrowed(self, frame: bytes) -> slice:
        """Where the text stands, with its quotes; nowhere, if a field holds what it may not."""
        begin, end = self._size, len(frame) - len(self._after)
        for number, takes, literal, size in self._left:
            found = frame.find(literal, begin)
            if found < 0 or not takes(value := frame[begin:found]):
                return _NOWHERE
            if number:
                self._passed[number] = value
            begin = found + size
        for number, takes, literal, size in self._right:
            found = frame.rfind(literal, begin, end)
            if found < 0 or not takes(value := frame[found + size : end]):
                return _NOWHERE
            if number:
                self._passed[number] = value
            end = found
        return slice(begin - 1, end + 1)  # so nothing but a string is decoded


def _sized(literals: Iterable[bytes]) -> Iterable[tuple[bytes, int]]:
    return ((literal, len(literal)) for literal in literals)


class Learner:
    """Makes the templates of one stream, as long as there are frames that are alike."""

    def __init__(self, idle: tuple[str, ...]) -> None:
        """`idle`: fields of a frame that may change and mean nothing for its pieces."""
        self._idle = idle
        self._changing: set[str] = set()
        self._last: Json = {}
        self._template: Template | None = None
        self._wasted = 0

    def learn(self, frame: sse.Frame, piece: Piece, place_of: Callable[[Json], Place | None]) -> Template | None:
        """How the next frame looks if it is as this one, which made this piece only; None where that is unsure."""
        is_used = self._template is not None and self._template.is_used
        self._template, self._wasted = None, 0 if is_used else self._wasted + 1
        if len(frame.raw) > MAX_LEARNED or (self._wasted > _PATIENCE and self._wasted % _PATIENCE):
            return None
        body = orjson.loads(frame.data)
        if (place := place_of(body)) is not None:
            last, self._last = self._last, body
            self._changing |= {name for name in self._idle if name in last and last[name] != body.get(name)}
            self._template = self._made(frame, piece, place)
        return self._template

    def _made(self, frame: sse.Frame, piece: Piece, place: Place) -> Template | None:
        text, make = _spelling(piece)
        ending = next((ending for ending in (b"\r\n\r\n", b"\n\n") if frame.raw.endswith(ending)), b"")
        head = frame.raw.removesuffix(frame.data + ending)
        if not text or not ending or not _HEAD.fullmatch(head):
            return None
        changing = [name for name in self._idle if name in self._changing]
        holes = tuple(sorted(_holes(frame.data, self._last, changing))) if changing else ()
        for begin, end in _places(frame.data, text):
            found = _Anatomy(frame.data, ending, begin, end, holes)
            if _is_proved(found, text, place.path):
                return Template(_moved(found, head), make, place.note)
        return None


def _places(data: bytes, text: str) -> Iterator[tuple[int, int]]:
    """Where the text may stand, quotes included: as we would write it, else as any string that means it."""
    spelled = orjson.dumps(text)
    begin = data.find(spelled)
    while begin >= 0:
        yield begin, begin + len(spelled)
        begin = data.find(spelled, begin + 1)
    for string in _STRING.finditer(data):
        if string[0] != spelled and orjson.loads(string[0]) == text:
            yield string.span()


def _spelling(piece: Piece) -> tuple[str, Callable[[str], Piece]]:
    """What the piece says, and how one is made that says something else; nothing, if it is no delta."""
    if isinstance(piece, ContentPiece):
        kind, key, is_summary = piece.kind, piece.key, piece.is_summary
        return piece.text, lambda text: ContentPiece(kind, text, key, is_summary)
    if isinstance(piece, ToolPiece):
        call, id_, name, call_kind, position = piece.key, piece.id, piece.name, piece.call_kind, piece.position
        return piece.fragment, lambda text: ToolPiece(call, id_, name, text, call_kind, position)
    return "", lambda text: piece


def _holes(data: bytes, body: Json, names: Iterable[str]) -> Iterable[_Hole]:
    """Where the values of these fields stand, if they are plain."""
    for name in names:
        found = re.search(_FIELD % name.encode(), data)
        if found is None:
            continue
        value, span = (int(found[1]), found.span(1)) if found[1] else (found[2].decode(), found.span(2))
        if type(value) is type(body.get(name)) and value == body[name]:
            yield _Hole(*span, name, isinstance(value, int))


def _is_proved(frame: _Anatomy, text: str, path: tuple[str | int, ...]) -> bool:
    """Whether another text, and other values of the fields, change these and nothing else."""
    body: Json = orjson.loads(frame.raw)
    place: Any = body
    for step in path[:-1]:
        place = place[step]
    if place[path[-1]] != text:
        return False
    place[path[-1]] = text + "."
    edits = [(frame.begin, frame.end, orjson.dumps(text + "."))]
    for hole in frame.holes:
        value = frame.raw[hole.begin : hole.end]
        body[hole.name] = int(value) + 1 if hole.is_number else value.decode() + "0"
        edits.append((hole.begin, hole.end, str(body[hole.name]).encode()))
    probe = frame.raw
    for begin, end, other in sorted(edits, reverse=True):
        probe = probe[:begin] + other + probe[end:]
    try:
        return bool(orjson.loads(probe) == body)
    except orjson.JSONDecodeError:
        return False


def _moved(frame: _Anatomy, head: bytes) -> _Anatomy:
    """The same, with all that belongs to the frame around its data."""
    by = len(head)
    holes = tuple(hole._replace(begin=hole.begin + by, end=hole.end + by) for hole in frame.holes)
    raw = head + frame.raw + frame.ending
    return frame._replace(raw=raw, begin=frame.begin + by, end=frame.end + by, holes=holes)
