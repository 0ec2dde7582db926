"""Incremental reader and writer of event streams, on bytes.

Splits on CR, LF and CRLF only: text line iterators also split on U+2028 and friends, which are legal inside JSON
(HARDENING.md 1.3). A frame keeps the bytes it came in, so that pass-through relays exactly what the upstream sent.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_EVENT: Final = 8 * 1024 * 1024
"""Bytes of one event; larger ones break a stream. As `server.max_event` (HARDENING.md §2)."""

_BOM: Final = b"\xef\xbb\xbf"
# A line end and an empty line behind it. A CR that an LF follows is half a line end, never a whole one.
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class Frame(NamedTuple):
    """One server-sent event: its `event:` field, its `data:` lines joined with LF, and the bytes it came in."""

    event: bytes
    data: bytes
    raw: bytes

    @property
    def is_empty(self) -> bool:
        """Comments only, or fields we do not read: a keep-alive."""
        return not self.event and not self.data


class EventTooLarge(ValueError):
    """An event went over the limit; the stream can't be read any further."""


class Reader:
    """`split(chunk)` returns the frames that became whole, as bytes, for `parse` to take apart in that order; `eof()`
    what is left, as one last frame or nothing.
    """

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self.rest = b""
        """The beginning of a frame that isn't whole yet."""
        self._is_first = True
        self._is_between = True

    @property
    def is_between_frames(self) -> bool:
        """Whether a frame of somebody else may stand behind those returned: not where half a line end was the last."""
        return self._is_between

    def split(self, chunk: bytes) -> list[bytes]:
        """Raises EventTooLarge when a frame isn't whole after `max_event` bytes."""
        rest = self.rest
        if not rest and chunk.endswith(b"\n\n") and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk:
            return [chunk]  # one event, one write, one read: nearly all of them
        buffer = rest + chunk if rest else chunk
        searched = max(0, len(rest) - 3)
        if b"\r" in buffer:
            frames, rest = self._split_any(buffer, searched)
        else:
            frames, rest = self._split_lf(buffer, searched)
        if len(rest) > self._max_event:
            raise EventTooLarge(f"event of more than {len(rest)} bytes exceeds limit of {self._max_event}")
        self.rest = rest
        return frames

    def eof(self) -> list[Frame]:
        """The last frame where its blank line is missing (pitfall 111)."""
        rest, self.rest = self.rest, b""
        return [self.parse(rest)] if rest else []

    def parse(self, raw: bytes) -> Frame:
        """What a frame says; the first one may begin with a byte order mark."""
        block = raw
        if self._is_first:
            self._is_first = False
            block = block.removeprefix(_BOM)
        # Nearly every frame is one data line, behind its name in most dialects.
        begin = block.find(b"\n") + 1 if block.startswith(b"event: ") else 0
        if block.startswith(b"data: ", begin) and block.find(b"\n", begin) >= len(block) - 2 and b"\r" not in block:
            return Frame(block[7 : begin - 1] if begin else b"", block[begin + 6 :].rstrip(b"\n"), raw)
        return Frame(*_fields(block), raw)

    def _split_lf(self, buffer: bytes, searched: int) -> tuple[list[bytes], bytes]:
        frames, begin = [], 0
        end = buffer.find(b"\n\n", searched)
        while end >= 0:
            frames.append(buffer[begin : end + 2])
            begin = end + 2
            end = buffer.find(b"\n\n", begin)
        return frames, buffer[begin:]

    def _split_any(self, buffer: bytes, searched: int) -> tuple[list[bytes], bytes]:
        frames, begin = [], 0
        while (found := _BLANK_LINE.search(buffer, max(begin, searched))) is not None:
            # An LF that belongs to this line end may still come: then it begins the next frame, where it means nothing.
            frames.append(buffer[begin : found.end()])
            begin = found.end()
            self._is_between = not found[0].endswith(b"\r") or found[0] == b"\r\r"
        return frames, buffer[begin:]


def _fields(block: bytes) -> tuple[bytes, bytes]:
    event, data = b"", []
    for line in _LINE_END.split(block):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return event, b"\n".join(data)


def write(data: bytes, event: bytes = b"") -> bytes:
    """One frame. `data` must hold no line end, which JSON never does."""
    return b"event: %s\ndata: %s\n\n" % (event, data) if event else b"data: %s\n\n" % data
