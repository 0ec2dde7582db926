"""How an upstream may answer, and where it may repeat the credential it was called with, or the prompt."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import orjson

from tests.faults.hostile_upstream import Peer, Play, Seen
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, RESPONSES, Voice, chunk, head, sized
from tests.secrets.planted import ANSWER, PROMPT

OWN: Final = "own"
VOICES: Final[Mapping[str, Voice]] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "responses": RESPONSES,
    "truss": RAW,
    OWN: OPENAI,
}
"""By the upstream; beside those of the dialects, one that is called with the client's own credential."""
Say = Callable[[Voice, Seen], bytes]
_LONG: Final = 1985
"""Letters in front of a credential, so that a message cut at 2,000 ends inside of it."""


def credential(seen: Seen) -> str:
    """What the gateway showed to be let in."""
    values = [*seen.values("authorization"), *seen.values("x-api-key")]
    return values[0].rpartition(" ")[2] if values else "none"


def echo(seen: Seen) -> str:
    """What a talkative server says when it is annoyed."""
    return f"bad key {credential(seen)} in {dict(seen.headers)} with {PROMPT.text}"


def _error(message: str, **words: str) -> bytes:
    """An error in a shape that every dialect reads."""
    return orjson.dumps({"type": "error", "error": {"message": message, "type": "server_error", "code": "x", **words}})


def _wordy(seen: Seen) -> bytes:
    key = credential(seen)
    return _error(f"no {key}", type=key, code=key, param=key)


def _answer(voice: Voice, seen: Seen) -> bytes:
    """A good one, a stream if one was asked for."""
    if orjson.loads(seen.body).get("stream") is not True:
        return sized(voice.whole(ANSWER.text))
    return _stream(voice, voice.finish + voice.terminator)


def _stream(voice: Voice, last: bytes) -> bytes:
    """The beginning of a stream, and what comes then."""
    return voice.head + chunk(voice.opening) + chunk(voice.token(ANSWER.text)) + chunk(last) + LAST_CHUNK


def _event(body: bytes) -> bytes:
    return b"event: error\ndata: " + body + b"\n\n"


def _limits(seen: Seen) -> tuple[tuple[str, str], ...]:
    """Fields that the gateway passes on, with what doesn't belong there."""
    key = credential(seen)
    names = ("retry-after", "x-ratelimit-reset-tokens", "x-ratelimit-x", "anthropic-ratelimit-x", "openai-version")
    others = ("x-should-retry", "openai-processing-ms", "anthropic-organization-id", "request-id", "x-request-id")
    return tuple((name, f"5; {key}") for name in (*names, *others, "set-cookie", "server", "www-authenticate"))


def _with_fields(answer: bytes, seen: Seen) -> bytes:
    first, _, rest = answer.partition(b"\r\n")
    fields = [f"{name}: {value}".encode() for name, value in _limits(seen)]
    return b"\r\n".join([first, *fields, rest])


def _refusal(status: int) -> Say:
    return lambda voice, seen: sized(_error(echo(seen)), status)


SAYS: Final[Mapping[str, Say]] = {
    "fine": _answer,
    "400": _refusal(400),
    "401": _refusal(401),
    "403": _refusal(403),
    "404": _refusal(404),
    "413": _refusal(413),
    "422": lambda voice, seen: sized(orjson.dumps({"detail": [{"loc": ["body"], "msg": echo(seen)}]}), 422),
    "429": lambda voice, seen: sized(_error(echo(seen)), 429, *_limits(seen)),
    "500": lambda voice, seen: sized(echo(seen).encode(), 500, media_type="text/plain"),
    "502": lambda voice, seen: sized(_error(echo(seen)), 502),
    "503": lambda voice, seen: sized(f"<html>{echo(seen)}</html>".encode(), 503, media_type="text/html"),
    "529": lambda voice, seen: sized(_error(echo(seen)), 529, *_limits(seen)),
    "words": lambda voice, seen: sized(_wordy(seen), 400),
    "cut-short": lambda voice, seen: sized(_error("x" * _LONG + credential(seen)), 400),
    "escaped": lambda voice, seen: sized(_error(quote(echo(seen), safe="")), 400),
    "in-base64": lambda voice, seen: sized(_error(b64encode(credential(seen).encode()).decode()), 400),
    "broken-json": lambda voice, seen: sized(_error(echo(seen))[:-3], 400),
    "error-under-200": lambda voice, seen: sized(_error(echo(seen))),
    "words-under-200": lambda voice, seen: sized(_wordy(seen)),
    "error-in-stream": lambda voice, seen: _stream(voice, _event(_error(echo(seen)))),
    "words-in-stream": lambda voice, seen: _stream(voice, _event(_wordy(seen))),
    "error-first": lambda voice, seen: voice.head + chunk(_event(_error(echo(seen)))) + LAST_CHUNK,
    "gibberish": lambda voice, seen: _stream(voice, b"event: x\ndata: {oops " + credential(seen).encode() + b"\n\n"),
    "no-json": lambda voice, seen: sized(b'{"x": ' + echo(seen).encode()),
    "page": lambda voice, seen: sized(f"<html>{echo(seen)}</html>".encode(), media_type="text/html"),
    "fields": lambda voice, seen: _with_fields(_answer(voice, seen), seen),
    "media-type": lambda voice, seen: sized(
        voice.whole(ANSWER.text), media_type=f"application/json; key={credential(seen)}"
    ),
    "moved": lambda voice, seen: head(302, ("location", f"http://h/?key={credential(seen)}"), ("content-length", "0")),
    "reason": lambda voice, seen: f"HTTP/1.1 400 {credential(seen)}\r\ncontent-length: 0\r\n\r\n".encode(),
    "bad-head": lambda voice, seen: f"HTTP/1.1 200 OK\r\n{credential(seen)}\r\n\r\n".encode(),
    "no-http": lambda voice, seen: echo(seen).encode(),
    "packed": lambda voice, seen: sized(gzip.compress(echo(seen).encode()), 200, ("content-encoding", "gzip")),
}
"""What comes back, by its name."""
HANGS_UP: Final = ("cut", "reset")
SILENT: Final = "silence"
ENDINGS: Final = (*SAYS, *HANGS_UP, SILENT)


def play(upstream: str, ending: str) -> Play:
    """What an upstream does when it is to end this way."""
    voice = VOICES[upstream]

    async def perform(peer: Peer, seen: Seen) -> None:
        if ending in SAYS:
            await peer.send(SAYS[ending](voice, seen))
            if ending in ("bad-head", "no-http"):
                peer.close()
        elif ending == SILENT:
            await peer.gone()
        else:
            await peer.send(_stream(voice, b"")[: -len(LAST_CHUNK)])
            (peer.reset if ending == "reset" else peer.close)()

    return perform
