"""Incremental reader of one HTTP/1.1 response, on bytes."""

from __future__ import annotations

import enum
from typing import Final

import httptools

_MAX_FIELD: Final = 16 * 1024
"""Bytes of one header field: twice what common servers send at most."""
_MAX_FIELDS: Final = 128
"""Common servers send 20."""
_MAX_HEAD: Final = 64 * 1024
"""Bytes of all fields together; also of what comes in a row without being body, as trailers are."""
_MAX_INTERIM: Final = 16
"""Answers such as 103 that may come before the one that counts (HARDENING.md §2)."""
_CODING: Final = b"transfer-encoding"
_BODILESS: Final = (204, 304)


class Phase(enum.IntEnum):
    """How far a response is."""

    HEAD = 0
    BODY = 1
    OVER = 2
    BROKEN = 3


BODY: Final = Phase.BODY
"""Where it is compared for every read: looking up a member of an enum costs as much as all the rest."""


class _Refused(Exception):
    """What the parser takes and we don't; it stops there."""


class ResponseParser:
    """Reads top down: `feed` until the phase is OVER or BROKEN, `eof` when the peer closes.

    Stricter than the parser beneath it: one framing only, limits for the head, nothing behind the end. It forgives
    lines without CR and blanks behind a chunk's size, which sloppy servers send and which mean one thing only.
    Trailers and interim answers are dropped.
    """

    def __init__(self, *, has_body: bool = True) -> None:
        """`has_body`: False for the answer to a HEAD, whose fields speak of a body that never comes."""
        self.phase = Phase.HEAD
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        """The head's, as they came."""
        self.fault = ""
        """Why it is BROKEN."""
        self.may_reuse = False
        """Whether the connection is as good as new, once the response is OVER."""
        self.has_begun = self.has_head = False
        """Whether anything was fed at all; whether the head was, and is fine."""
        self._has_body = has_body
        self._is_framed = False
        self._interim = self._size = self._unclaimed = 0
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # called by the parser, without a frame of Python
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._parser: httptools.HttpResponseParser | None = parser

    def feed(self, data: bytes) -> bytes:
        """What there is of the body in the data, all joined. Look at `phase` next: it may have changed."""
        if self._parser is None:
            self.may_reuse = False  # unasked
            return b""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(str(error.__context__ or error))
        if self.phase > BODY:
            self.close()
        if pieces := self._pieces:
            self._unclaimed = 0
            if len(pieces) == 1:
                return pieces.pop()
            body = b"".join(pieces)
            pieces.clear()
            return body
        self._count(len(data))
        return b""

    def eof(self) -> None:
        """The peer closed: the end of a body that has no other, and too early for anything else."""
        if self.phase is Phase.BODY and not self._is_framed:
            self.phase = Phase.OVER
        else:
            self._refuse("the connection was closed before the response's end")
        self.close()

    def close(self) -> None:
        """Lets go of the parser beneath, which refers to us."""
        self._parser = None

    def _count(self, size: int) -> None:
        self.has_begun = True
        self._unclaimed += size
        if self._unclaimed > _MAX_HEAD and self.phase < Phase.OVER:
            self._refuse(f"more than {_MAX_HEAD} bytes that are no body")
            self.close()

    def _refuse(self, why: str) -> None:
        """Breaks a response; behind the end of one, it is only the connection that is spoilt."""
        self.may_reuse = False
        if self.phase < Phase.OVER:
            self.phase, self.fault = Phase.BROKEN, why

    # -- what the parser beneath calls

    def on_message_begin(self) -> None:
        """Another response behind the end of this one, which nobody asked for."""
        if self.phase is Phase.OVER:
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head. Those behind a body are dropped."""
        if self.phase is not Phase.HEAD:
            return
        size = len(name) + len(value)
        self._size += size
        self.fields.append((name, value))
        if size > _MAX_FIELD or len(self.fields) > _MAX_FIELDS or self._size > _MAX_HEAD:
            raise _Refused(f"the head exceeds {_MAX_FIELD} bytes a field, {_MAX_FIELDS} fields or {_MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """The head is there."""
        assert self._parser is not None
        self.has_begun = True
        self.status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise _Refused("the response isn't HTTP/1.1 or HTTP/1.0")
        if self._is_interim:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise _Refused(f"more than {_MAX_INTERIM} interim answers")
            return
        names = [name.lower() for name, _ in self.fields]
        codings = [value.lower() for name, (_, value) in zip(names, self.fields, strict=True) if name == _CODING]
        if codings not in ([], [b"chunked"]):
            raise _Refused("the only transfer coding is chunked, once")
        self._is_framed = bool(codings) or b"content-length" in names or self.status in _BODILESS
        self.has_head = True
        self.phase = Phase.BODY if self._has_body else Phase.OVER

    @property
    def _is_interim(self) -> bool:
        """101 is none: what follows it is another protocol."""
        return 100 <= self.status < 200 and self.status != 101

    def on_message_complete(self) -> None:
        """The end, of the response or of an interim one."""
        assert self._parser is not None
        if self._is_interim:
            self.fields.clear()
        elif self._has_body:
            self.phase = Phase.OVER
            self.may_reuse = self._parser.should_keep_alive()
