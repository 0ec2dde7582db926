"""What the decoders of event-stream dialects share: framing, limits and failing, but not a word of any dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson

from gateway.dialects.template import Json, Learner, Place, Template
from gateway.errors import GatewayError, Malformed
from gateway.neutral.events import End, Failed
from gateway.neutral.pieces import ContentPiece, Piece, ToolPiece
from gateway.wire import sse


class StreamDecoder(ABC):
    """Frames in, pieces out; a dialect says what a frame means and what an end means."""

    proves_end = True
    empty_frame = b""
    """A frame that carries nothing, where the dialect has one."""
    idle: ClassVar[tuple[str, ...]] = ()
    """Fields of a frame that may change from one to the next and mean nothing for its pieces."""

    def __init__(self, max_event: int = sse.MAX_EVENT) -> None:
        self._reader = sse.Reader(max_event)
        self._is_over = False
        self._template: Template | None = None
        self._learner = Learner(self.idle)

    @property
    def keep_alive(self) -> bytes:
        """The empty frame, where it may stand: `observe` relays whole frames, but maybe half of the last line end."""
        return self.empty_frame if self._reader.is_between_frames else b""

    @abstractmethod
    def read(self, frame: sse.Frame) -> list[Piece]:
        """What one frame means. May raise GatewayError, or KeyError, TypeError, AttributeError on what isn't there."""

    def place(self, body: Json) -> Place | None:
        """Where the text stands of a frame that `read` made one delta of, and nothing else. The next frame has to mean
        the same but for its text, which is not empty, if it is the same but for that and the `idle` fields.
        """
        return None

    @abstractmethod
    def end(self) -> list[Piece]:
        """What it means that the body ended here."""

    @abstractmethod
    def tell(self, error: GatewayError) -> bytes:
        """A failure as a frame of this dialect."""

    def feed(self, chunk: bytes) -> list[Piece]:
        template = self._template
        if template is not None and not self._reader.rest and (texts := template.take(chunk)):
            return list(map(template.make, texts))
        pieces: list[Piece] = []
        for raw in self._split(chunk, pieces):
            pieces.extend(self._read_any(raw))
        return pieces

    def observe(self, chunk: bytes) -> tuple[bytes, list[Piece]]:
        """As `feed`, with the bytes of every frame up to one that failed."""
        template = self._template
        if template is not None and not self._reader.rest and (texts := template.take(chunk)):
            return chunk, list(map(template.make, texts))
        pieces: list[Piece] = []
        raws: list[bytes] = []
        if self._is_over:
            return b"", pieces
        for raw in self._split(chunk, pieces):
            found = self._read_any(raw)
            pieces.extend(found)
            if found and type(found[-1]) is Failed:
                break
            raws.append(raw)
            if self._is_over:
                break
        return b"".join(raws), pieces

    def more(self, chunk: bytes) -> Sequence[str]:
        template = self._template
        if template is None or not template.is_content or self._reader.rest:
            return ()
        return template.take(chunk)

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[Piece]]:
        """`is_framed` does not matter: the dialect's own terminator decides."""
        pieces: list[Piece] = []
        raw = b""
        for frame in self._reader.eof():
            found = self._read_safely(frame)
            if _is_malformed(found):  # half a frame is no news: that the body ended is
                self._is_over = False
                continue
            pieces.extend(found)
            raw = frame.raw + b"\n\n" if found else b""
        if not self._is_over:
            pieces.extend(self.end())
        return raw, pieces

    def _split(self, chunk: bytes, pieces: list[Piece]) -> list[bytes]:
        try:
            return self._reader.split(chunk)
        except sse.EventTooLarge as error:
            pieces.append(Failed(Malformed(str(error))))
            return []

    def _read_any(self, raw: bytes) -> list[Piece]:
        """A frame like the one before, or any other."""
        if (template := self._template) is not None and (texts := template.take(raw)):
            return list(map(template.make, texts))
        frame = self._reader.parse(raw)
        if frame.data:  # a keep-alive changes nothing
            self._template = None
        pieces = self._read_safely(frame)
        if len(pieces) == 1 and type(pieces[0]) in _DELTAS:
            self._template = self._learner.learn(frame, pieces[0], self.place)
        return pieces

    def _read_safely(self, frame: sse.Frame) -> list[Piece]:
        """A frame that does not parse is `Failed(Malformed)`, never an exception."""
        if self._is_over or not frame.data:  # after the end, or comments, or an event without data, which is none
            return []
        try:
            pieces = self.read(frame)
        except GatewayError as error:
            pieces = [Failed(error)]
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            what = f"frame of {len(frame.data)} bytes does not follow its dialect: {type(error).__name__}"
            pieces = [Failed(Malformed(what))]
        if pieces and type(pieces[-1]) in _LAST:
            self._is_over = True
        return pieces


_LAST = (Failed, End)
_DELTAS = (ContentPiece, ToolPiece)


def _is_malformed(pieces: list[Piece]) -> bool:
    last = pieces[-1] if pieces else None
    return isinstance(last, Failed) and isinstance(last.error, Malformed)


def text(value: Any) -> str:
    """A text field, empty if absent or null. Raises TypeError, which makes the frame malformed."""
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError("not a text")


def number(value: Any) -> int:
    """The number of a block, say. Raises TypeError as `text` does."""
    if type(value) is int:
        return value
    raise TypeError("not a number")


def count(value: Any) -> int | None:
    """A count of tokens; `None` if absent or null."""
    return None if value is None else number(value)


def writable(value: dict[str, Any]) -> dict[str, Any]:
    """JSON we pass on as it is. orjson reads deeper nesting than it writes: then TypeError, as from `text`."""
    if not value or not isinstance(value, dict):
        raise TypeError("not an object, or empty")
    orjson.dumps(value)
    return value


def json_object(data: bytes) -> dict[str, Any]:
    """A frame's data as a JSON object, or Malformed."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"frame of {len(data)} bytes is not JSON") from error
    if not isinstance(value, dict):
        raise Malformed(f"frame of {len(data)} bytes is not a JSON object")
    return value
