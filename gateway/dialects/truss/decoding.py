"""A Truss stream → pieces."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import orjson

from gateway.dialects.anthropic.decoding import Decoder as MessageDecoder
from gateway.dialects.anthropic.options import Options as MessageOptions
from gateway.dialects.base import Decoder
from gateway.dialects.openai.decoding import Decoder as ChatDecoder
from gateway.dialects.truss.answers import find_text
from gateway.dialects.truss.options import Options
from gateway.errors import (
    GatewayError,
    Malformed,
    Truncated,
)
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral.events import BlockKind, Reason
from gateway.wire import sse

_MAX_FIRST_LINE: Final = 4096
"""Bytes held back while it isn't decided what an upstream streams (truss.md §2.4)."""


class AutoDecoder:
    """Finds out from the first line what an upstream streams, then hands everything to the decoder of that."""

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        self._options = options
        self._max_event = max_event
        self._inner: Decoder | None = None
        self._held = b""

    @property
    def proves_end(self) -> bool:
        return self._inner is None or self._inner.proves_end

    @property
    def keep_alive(self) -> bytes:
        return self._inner.keep_alive if self._inner else b""

    def feed(self, chunk: bytes) -> list[pc.Piece]:
        return self.observe(chunk)[1] if self._inner is None else self._inner.feed(chunk)

    def observe(self, chunk: bytes) -> tuple[bytes, list[pc.Piece]]:
        if self._inner is None:
            self._held += chunk
            name = detect(self._held)
            if name is None:
                return b"", []
            self._inner = _DECODERS[name](self._options, self._max_event)
            chunk, self._held = self._held, b""
        return self._inner.observe(chunk)

    def more(self, chunk: bytes) -> Sequence[str]:
        return self._inner.more(chunk) if self._inner else ()

    def tell(self, error: GatewayError) -> bytes:
        return self._inner.tell(error) if self._inner else b""

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[pc.Piece]]:
        """What was too short to be anything else was text."""
        raw, pieces = b"", list[pc.Piece]()
        if self._inner is None:
            self._inner = _DECODERS[_detect_ended(self._held)](self._options, self._max_event)
            raw, pieces = self._inner.observe(self._held)
        last_raw, last = self._inner.eof(is_framed=is_framed)
        return raw + last_raw, pieces + last


def detect(held: bytes) -> str | None:
    """What a stream that begins like this is, or None while it may be either (truss.md §2.4, 3).

    Raw text may begin with `data: ` too, so a prefix isn't enough: the first line has to be an event.
    """
    comments = _COMMENTS.match(held)
    if comments is not None:
        if comments.end() > _MAX_FIRST_LINE and b":" in comments[0]:
            return "openai_sse"
        held = held[comments.end() :]
    if not any(held.startswith(prefix[: len(held)]) for prefix in (b"data:", b"event:", b":")):
        return "raw"
    line, end, _ = held.replace(b"\r", b"\n").partition(b"\n")
    if not end:
        return None if len(held) < _MAX_FIRST_LINE else "raw"
    if line.startswith(b"event:"):
        return "anthropic_sse" if line[6:].strip() in _ANTHROPIC_EVENTS else "openai_sse"
    return _detect_data(line[5:])


def _detect_ended(held: bytes) -> str:
    """What a body was that ended while it could be either: an event that was begun is a cut stream, not text."""
    lines = held.lstrip(b"\r\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found = detect(lines + b"\n") or "raw"
    is_begun = b"\n\n" in lines or _is_begun_event(lines)  # a blank line ends a comment, and nothing that is still text
    return "openai_sse" if found == "raw" and is_begun else found


def _is_begun_event(line: bytes) -> bool:
    data = line[5:].strip()
    if not line.startswith(b"data:") or data[:1] not in (b"", b"{"):
        return False
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return True
    return False


# Blank lines and whole comment lines; linear, as each character fits one alternative.
_COMMENTS: Final = re.compile(rb"(?:[\r\n]|:[^\r\n]*[\r\n])*")
_ANTHROPIC_EVENTS: Final = (b"message_start", b"ping", b"error")


def _detect_data(data: bytes) -> str:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return "raw"
    if not isinstance(value, dict):
        return "raw"
    if "choices" in value or value.get("error"):
        return "openai_sse"
    return "anthropic_sse" if "type" in value else "raw"


class RawDecoder:
    """Raw text. The last chunk, some text and no half character are needed for an end, and prove nothing still."""

    proves_end = False
    keep_alive = b""

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._exact = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._has_text = False
        self._is_between = True

    def feed(self, chunk: bytes) -> list[pc.Piece]:
        text = self._text.decode(chunk)
        self._is_between = not (self._text.getstate()[0] or self._exact.getstate()[0])
        if not text:
            return []
        if self._has_text:
            return [pc.ContentPiece(BlockKind.TEXT, text)]
        self._has_text = True
        return [ev.Start(), pc.ContentPiece(BlockKind.TEXT, text)]

    def observe(self, chunk: bytes) -> tuple[bytes, list[pc.Piece]]:
        """The bytes as they came, but never half a character at the end."""
        return self._exact.decode(chunk).encode("utf-8", "surrogateescape"), self.feed(chunk)

    def more(self, chunk: bytes) -> Sequence[str]:
        """Whole characters behind whole ones."""
        if not (self._has_text and self._is_between and chunk):
            return ()
        try:
            return (chunk.decode(),)
        except UnicodeDecodeError:
            return ()

    def tell(self, error: GatewayError) -> bytes:
        return b""

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[pc.Piece]]:
        if not is_framed:
            return b"", [ev.Failed(Truncated("the upstream closed the connection without a last chunk"))]
        if not self._has_text:
            return b"", [ev.Failed(Truncated("the upstream's answer is empty, which is how a crash looks"))]
        if self._text.getstate()[0]:
            return b"", [ev.Failed(Truncated("the upstream's answer ends in half a character"))]
        return b"", [ev.Finish(Reason.STOP, is_certain=False), ev.End()]


class JsonLinesDecoder:
    """One JSON object a line, each with some text, the last one marked as done."""

    proves_end = True
    keep_alive = b""

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        self._options = options
        self._max_event = max_event
        self._line = b""
        self._has_started = False
        self._is_done = False

    def feed(self, chunk: bytes) -> list[pc.Piece]:
        return self.observe(chunk)[1]

    def observe(self, chunk: bytes) -> tuple[bytes, list[pc.Piece]]:
        held = self._line + chunk
        end = held.rfind(b"\n") + 1
        whole, self._line = held[:end], held[end:]
        if len(self._line) > self._max_event:
            return b"", [ev.Failed(Malformed(f"line of more than {self._max_event} bytes"))]
        pieces: list[pc.Piece] = []
        raw = b""
        for line in whole.splitlines(keepends=True):
            try:
                pieces.extend(self._read(line))
            except GatewayError as error:
                return raw, [*pieces, ev.Failed(error)]
            raw += line
        return whole, pieces

    def _read(self, line: bytes) -> Iterator[pc.Piece]:
        if not line.strip() or self._is_done:
            return
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"line of {len(line)} bytes is not JSON") from error
        if not self._has_started:
            self._has_started = True
            yield ev.Start()
        yield pc.ContentPiece(BlockKind.TEXT, find_text(value, self._options))
        self._is_done = isinstance(value, dict) and bool(value.get(self._options.jsonl_done))
        if self._is_done:
            yield ev.Finish(Reason.STOP)
            yield ev.End()

    def more(self, chunk: bytes) -> Sequence[str]:
        return ()

    def tell(self, error: GatewayError) -> bytes:
        return b""

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[pc.Piece]]:
        raw, pieces = self.observe(b"\n") if self._line else (b"", [])
        if not self._is_done and not (pieces and isinstance(pieces[-1], ev.Failed)):
            pieces = [*pieces, ev.Failed(Truncated(f"no line with {self._options.jsonl_done!r} came"))]
        return raw, pieces


def _openai_events(options: Options, max_event: int) -> Decoder:
    return ChatDecoder(options, max_event)


def _anthropic_events(options: Options, max_event: int) -> Decoder:
    return MessageDecoder(MessageOptions(), max_event)


_DECODERS: Final[Mapping[str, Callable[[Options, int], Decoder]]] = {
    "auto": AutoDecoder,
    "raw": RawDecoder,
    "openai_sse": _openai_events,
    "anthropic_sse": _anthropic_events,
    "jsonl": JsonLinesDecoder,
}


def decoder(options: Options, max_event: int = sse.MAX_EVENT) -> Decoder:
    """The decoder of what this upstream streams."""
    return _DECODERS[options.stream_format](options, max_event)
