"""What the upstream of a benchmark says, spelled once by our own encoders and then only sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.dialects.base import Dialect, Stamp
from gateway.neutral.events import BlockKind, BlockStart, BlockStop, End, Event, Finish, Reason, Start, TextDelta, Usage
from gateway.neutral.request import Request
from gateway.neutral.response import fold

MARK: Final = b"pulse"
"""Is in every token, and in nothing else that any dialect writes."""
_PROMPT_TOKENS: Final = 12
_STAMP: Final = Stamp("bench000000000000000000", 1_700_000_000)


def text(tokens: int) -> str:
    """An answer of so many tokens."""
    return "".join(map(_token, range(tokens)))


def _token(number: int) -> str:
    return f" {MARK.decode()}{number}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes for the socket: those that are sent at once, and those that come one by one, at the pace of the tokens."""

    at_once: bytes
    paced: tuple[bytes, ...] = ()


def answer(dialect: Dialect, request: Request, tokens: int) -> Answer:
    """A response with its head. A stream begins with its first token; behind the last one comes the rest."""
    steps = _steps(request.model, tokens)
    if not request.stream:
        body = orjson.dumps(dialect.dump(fold(event for step in steps for event in step), request, _STAMP))
        return Answer(_head("application/json", f"content-length: {len(body)}") + body)
    encoder = dialect.encoder(request, _STAMP)
    first, *rest = [_chunk(encoder.encode(step)) for step in steps]
    return Answer(
        _head(encoder.media_type, "transfer-encoding: chunked") + first, (*rest[:-1], rest[-1] + b"0\r\n\r\n")
    )


def _steps(model: str, tokens: int) -> Sequence[Sequence[Event]]:
    return list(_told(model, tokens))


def _told(model: str, tokens: int) -> Iterator[Sequence[Event]]:
    usage = Usage(input=_PROMPT_TOKENS, output=0)
    start = Start(id="bench", model=model, usage=usage)
    yield [start, BlockStart(0, BlockKind.TEXT), TextDelta(0, _token(0))]
    for number in range(1, tokens):
        yield [TextDelta(0, _token(number))]
    total = Usage(input=_PROMPT_TOKENS, output=tokens, is_final=True)
    yield [BlockStop(0), Finish(Reason.STOP), total, End()]


def _head(media_type: str, framing: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\n{framing}\r\n\r\n".encode()


def _chunk(data: bytes) -> bytes:
    """Empty where there is nothing to say: an empty chunk would be the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""
