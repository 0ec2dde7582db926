"""What ties a request to a target: the beginning of its conversation, its session or its user; and how firmly.

Which target a key belongs to is the same in every process and after every restart, and changes for few keys when a
target comes or goes (rendezvous hashing).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final

from gateway.config.balance import Balance, Prefix, Sticky
from gateway.neutral.request import (
    Audio,
    Data,
    Document,
    FileRef,
    Image,
    Part,
    Refusal,
    Request,
    Role,
    SearchResult,
    Source,
    Text,
    ToolResult,
    Url,
)

KEY_BYTES: Final = 16
_BITS: Final = 52
"""As many as leave a float strictly between 0 and 1."""


def key(balance: Balance, request: Request, headers: Mapping[str, str]) -> bytes:
    """What ties a request to a target of a route that balances so; empty where nothing does."""
    match balance.way:
        case Prefix(read=limit):
            return beginning(request, limit)
        case Sticky(header=str(name)):
            return key_of(headers.get(name, ""))
        case Sticky():
            return key_of(request.user_id or "")
        case _:
            return b""


def key_of(value: str) -> bytes:
    """A key made of a value; empty where there is none. The value itself can't be read out of it."""
    return blake2b(_encoded(value), digest_size=KEY_BYTES).digest() if value else b""


def beginning(request: Request, limit: int) -> bytes:
    """A key made of how a conversation begins; empty where nothing is said.

    System, names of tools, and the first user message: what stays as it is while the conversation grows. Of each at
    most `limit` bytes are read, so that a long system prompt does not make all conversations one. A client that says
    itself what shares a cache is believed.
    """
    if request.cache_key:
        return key_of(request.cache_key)
    digest, is_empty = blake2b(digest_size=KEY_BYTES), True
    for section in (_system(request), (tool.name for tool in request.tools), _first_words(request)):
        for piece in _cut(section, limit):
            digest.update(len(piece).to_bytes(4))
            digest.update(piece)
            is_empty = False
        digest.update(b"\xff\xff\xff\xff")  # no length: the end of a section
    return b"" if is_empty else digest.digest()


def attraction(key: bytes, name: str, weight: int) -> float:
    """How strongly a key is drawn to a target: it belongs where this is greatest.

    Weighted rendezvous hashing: each target gets its weight's share of all keys, and takes keys only from, or leaves
    them only to, the others when it comes or goes.
    """
    drawn = int.from_bytes(blake2b(key + _encoded(name), digest_size=8).digest()) >> (64 - _BITS)
    return -weight / math.log((drawn + 0.5) / (1 << _BITS))


def _system(request: Request) -> Iterator[str]:
    return (text.text for text in request.system)


def _first_words(request: Request) -> Iterator[str]:
    turn = next((turn for turn in request.turns if turn.role is Role.USER), None)
    return _told(turn.parts) if turn else iter(())


def _told(parts: Iterable[Part]) -> Iterator[str]:
    """What sets parts apart, from each as little as does."""
    for part in parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                yield text
            case Image(source=source):
                yield _place(source)
            case Audio(base64=base64):
                yield base64
            case Document(source=source, text=text, parts=inner):
                yield text or (_place(source) if source else "")
                yield from _told(inner)
            case ToolResult(parts=inner) | SearchResult(parts=inner):
                yield from _told(inner)


def _place(source: Source) -> str:
    match source:
        case Url(url=text) | Data(base64=text) | FileRef(id=text):
            return text


def _cut(texts: Iterable[str], limit: int) -> Iterator[bytes]:
    """Texts as bytes, none of them empty, until the limit; what lies beyond it is not even copied."""
    for text in texts:
        piece = _encoded(text[:limit])[:limit]
        if piece:
            yield piece
        limit -= len(piece)
        if limit <= 0:
            return


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
