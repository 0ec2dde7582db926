"""Responses of good and of hostile servers, and what has to become of them however they are cut into reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.upstreams.response import Phase


@dataclass(frozen=True, slots=True)
class Case:
    """`body` is all that may be read of it before its end or its error; None where not even the head may be taken."""

    data: bytes
    body: bytes | None
    phase: Phase = Phase.OVER
    is_reused: bool = True
    is_closed: bool = False
    """Whether the server closes behind it."""
    status: int = 200


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


CHUNKED: Final = head("Transfer-Encoding: chunked")
BROKEN: Final = Phase.BROKEN


def refused(data: bytes, *, is_closed: bool = False) -> Case:
    return Case(data, None, BROKEN, False, is_closed, 0)


def cut(data: bytes, body: bytes, *, is_closed: bool = False) -> Case:
    return Case(data, body, BROKEN, False, is_closed)


GOOD: Final[dict[str, Case]] = {
    "a length": Case(head("content-length: 5") + b"hello", b"hello"),
    "a length of none": Case(head("content-length: 0"), b""),
    "chunks": Case(CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    "chunks with extensions": Case(CHUNKED + b'5;a="b";c\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "blanks behind a chunk's size": Case(CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n", b"hello"),
    "trailers": Case(CHUNKED + b"5\r\nhello\r\n0\r\nx-checksum: 1\r\nset-cookie: a\r\n\r\n", b"hello"),
    "lines without CR": Case(b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", b"hello"),
    "no words behind the status": Case(head("content-length: 5", status="HTTP/1.1 200") + b"hello", b"hello"),
    "interim answers": Case(
        head(status="HTTP/1.1 100 Continue")
        + head("link: </x>", "content-length: 9", status="HTTP/1.1 103 Early Hints")
        + head("content-length: 5")
        + b"hello",
        b"hello",
    ),
    "as many interim answers as may be": Case(head(status="HTTP/1.1 103 x") * 16 + head("content-length: 0"), b""),
    "no body by its status": Case(head("content-length: 5", status="HTTP/1.1 204 x"), b"", status=204),
    "an offer to speak another protocol": Case(
        head("upgrade: h2c", "connection: upgrade", "content-length: 5") + b"hello", b"hello"
    ),
    "no end but the connection's": Case(head() + b"hello", b"hello", is_reused=False, is_closed=True),
    "a connection that is to be closed": Case(
        head("connection: close", "content-length: 5") + b"hello", b"hello", is_reused=False
    ),
    "HTTP/1.0": Case(head("content-length: 5", status="HTTP/1.0 200 OK") + b"hello", b"hello", is_reused=False),
    "HTTP/1.0 that is kept": Case(
        head("connection: keep-alive", "content-length: 5", status="HTTP/1.0 200 OK") + b"hello", b"hello"
    ),
    "128 fields": Case(head("content-length: 0", *(f"x-{n}: y" for n in range(127))), b""),
    "a field of 16 KiB": Case(head("content-length: 0", "x: " + "y" * (16 * 1024 - 1)), b""),
}

UNASKED: Final[dict[str, Case]] = {
    name: Case(data, b"hello", is_reused=False)
    for name, data in {
        "another response": head("content-length: 5") + b"hello" + head("content-length: 6") + b"poison",
        "another response behind chunks": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + head("content-length: 6") + b"poison",
        "one byte": head("content-length: 5") + b"helloX",
        "bytes behind a close": head("connection: close", "content-length: 5") + b"hello" + b"X",
    }.items()
}

HOSTILE: Final[dict[str, Case]] = {
    "another protocol": refused(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "noise": refused(b"\x00\x01\x02\x03"),
    "HTTP/2.0": refused(head("content-length: 0", status="HTTP/2.0 200 OK")),
    "HTTP/9.9": refused(head(status="HTTP/9.9 200 OK")),
    "a status that is no number": refused(head(status="HTTP/1.1 xyz OK")),
    "a status of four digits": refused(head(status="HTTP/1.1 2000 OK")),
    "a field without a colon": refused(head("no colon here")),
    "a blank before the colon": refused(head("content-length : 5")),
    "a folded field": refused(head("a: b", " c", "content-length: 0")),
    "a zero byte": refused(head("a: \0", "content-length: 0")),
    "a negative length": refused(head("content-length: -5")),
    "a length with a sign": refused(head("content-length: +5")),
    "a list of lengths": refused(head("content-length: 5, 5")),
    "two lengths": refused(head("content-length: 5", "content-length: 7")),
    "the same length twice": refused(head("content-length: 5", "content-length: 5")),
    "a length and chunks": refused(head("content-length: 5", "transfer-encoding: chunked")),
    "chunks and a length": refused(head("transfer-encoding: chunked", "content-length: 5")),
    "chunked twice": refused(head("transfer-encoding: chunked", "transfer-encoding: chunked")),
    "another coding": refused(head("transfer-encoding: gzip, chunked")),
    "another coding alone": refused(head("transfer-encoding: identity")),
    "17 interim answers": refused(head(status="HTTP/1.1 103 x") * 17),
    "129 fields": refused(head(*(f"x-{n}: y" for n in range(129)))),
    "a field of more than 16 KiB": refused(head("x: " + "y" * (16 * 1024))),
    "a head of more than 64 KiB": refused(head(*(f"x-{n}: {'y' * 8000}" for n in range(9)))),
    "a head without end": refused(b"HTTP/1.1 200 " + b"x" * (64 * 1024)),
    "the end in the head": refused(b"HTTP/1.1 200 OK\r\ncontent-le", is_closed=True),
    "the end before a length": cut(head("content-length: 6") + b"hello", b"hello", is_closed=True),
    "the end in a chunk": cut(CHUNKED + b"6\r\nhello", b"hello", is_closed=True),
    "the end between chunks": cut(CHUNKED + b"5\r\nhello\r\n", b"hello", is_closed=True),
    "the end in the last chunk": cut(CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello", is_closed=True),
    "a chunk of negative size": cut(CHUNKED + b"5\r\nhello\r\n-1\r\n", b"hello"),
    "a chunk of no size": cut(CHUNKED + b"5\r\nhello\r\nzz\r\n", b"hello"),
    "a chunk of too great a size": cut(CHUNKED + b"5\r\nhello\r\n" + b"f" * 17 + b"\r\n", b"hello"),
    "more than the chunk's size": cut(CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n", b"hello"),
    "a length in the trailers": cut(CHUNKED + b"5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\n", b"hello"),
    "trailers without end": cut(CHUNKED + b"5\r\nhello\r\n0\r\nx: " + b"y" * (65 * 1024), b"hello", is_closed=True),
}

CASES: Final = {**GOOD, **UNASKED, **HOSTILE}
