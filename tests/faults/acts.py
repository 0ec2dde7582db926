"""What an upstream does in the fault catalogue: the words of its `does`, played in any dialect.

Connections are never kept, so that each call is one that the gateway meant to make: a kept one may have been dropped,
and costs a call more.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from tests.faults.catalogue import Act, Position
from tests.faults.hostile_upstream import Peer
from tests.faults.voices import LAST_CHUNK, TEXT, TOKENS, Voice, chunk, head, sized

_CLOSE: Final = ("connection", "close")


@dataclass(frozen=True, slots=True)
class Cue:
    """One act as it is to be played. `heard`: the client has the first tokens. `elsewhere`: where redirects lead."""

    act: Act
    voice: Voice
    at: Position
    heard: asyncio.Event
    elsewhere: str

    async def play(self, peer: Peer, stream: bool) -> None:
        """Answers one call, for a `stream` or a whole answer."""
        deed = ACTS[self.act.does]
        await asyncio.sleep(self.act.after_s)
        await deed.play(self, peer, stream)
        if deed.hangs_up:
            peer.close()


class Deed(NamedTuple):
    """What is played, and in words for the documentation.

    `in_stream`: it needs a stream whose head is out. `needs_frames`: and one with frames. `hangs_up`: after it.
    """

    play: Callable[[Cue, Peer, bool], Awaitable[None]]
    words: str
    in_stream: bool = False
    needs_frames: bool = False
    hangs_up: bool = True


_FRAMES: Final = {"in_stream": True, "needs_frames": True}


# -- what comes before it ----------------------------------------------------------------------------------------------


def _stream_head(cue: Cue, media_type: str = "") -> bytes:
    fields = (("content-type", media_type or cue.voice.media_type), ("transfer-encoding", "chunked"))
    return head(200, *fields, _CLOSE)


def _tokens(cue: Cue, count: int = len(TOKENS)) -> bytes:
    return b"".join(chunk(cue.voice.token(text)) for text in TOKENS[:count])


async def _lead_in(cue: Cue, peer: Peer, stream: bool) -> None:
    """An answer as far as the position says."""
    if cue.at == "before the head":
        return
    if not stream:
        body = sized(cue.voice.whole(TEXT), 200, _CLOSE)
        top = body.index(b"\r\n\r\n") + 4
        await peer.send(body[: top + (len(body) - top) // 2 if cue.at == "after content" else top])
        return
    await peer.send(_stream_head(cue) + chunk(cue.voice.opening))
    if cue.at == "after content":
        await peer.send(_tokens(cue, 2))
        await peer.told(cue.heard)


# -- good answers ------------------------------------------------------------------------------------------------------


async def _answers(cue: Cue, peer: Peer, stream: bool) -> None:
    if not stream:
        await peer.send(sized(cue.voice.whole(TEXT), 200, _CLOSE))
        return
    await peer.send(_stream_head(cue) + chunk(cue.voice.opening) + _tokens(cue), *_ending(cue.voice))


async def _pauses(cue: Cue, peer: Peer, stream: bool) -> None:
    """A good answer that stands still for a while at the position."""
    await _lead_in(cue, peer, stream)
    await asyncio.sleep(0.15)
    await _goes_on(cue, peer, stream)


async def _goes_on(cue: Cue, peer: Peer, stream: bool) -> None:
    if cue.at == "before the head":
        await _answers(cue, peer, stream)
    elif not stream:
        body = cue.voice.whole(TEXT)
        total = len(sized(body, 200, _CLOSE))
        top = total - len(body)
        sent = (total - top) // 2 if cue.at == "after content" else 0
        await peer.send(body[sent:])
    else:
        done = 2 if cue.at == "after content" else 0
        await peer.send(*(chunk(cue.voice.token(text)) for text in TOKENS[done:]), *_ending(cue.voice))


async def _continues(cue: Cue, peer: Peer, stream: bool) -> None:
    """What is left of an answer whose first two tokens it was given."""
    rest = (chunk(cue.voice.token(text)) for text in TOKENS[2:])
    await peer.send(_stream_head(cue) + chunk(cue.voice.opening), *rest, *_ending(cue.voice))


async def _answers_mislabelled(cue: Cue, peer: Peer, stream: bool) -> None:
    body = chunk(cue.voice.opening) + _tokens(cue)
    await peer.send(_stream_head(cue, "application/octet-stream") + body, *_ending(cue.voice))


async def _is_filtered(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(_stream_head(cue) + chunk(cue.voice.opening) + _tokens(cue, 2))
    ending = cue.voice.finish + cue.voice.terminator
    for usual, filtered in _FILTERED[cue.voice.upstream]:
        ending = ending.replace(usual, filtered)
    await peer.send(chunk(ending), LAST_CHUNK)


_CHAT_FILTERED: Final = ((b'"finish_reason":"stop"', b'"finish_reason":"content_filter"'),)
_FILTERED: Final[Mapping[str, tuple[tuple[bytes, bytes], ...]]] = {
    "openai": _CHAT_FILTERED,
    "truss": _CHAT_FILTERED,
    "anthropic": ((b'"stop_reason":"end_turn"', b'"stop_reason":"refusal"'),),
    "responses": (
        (b"response.completed", b"response.incomplete"),
        (b'"status":"completed","output"', b'"status":"incomplete","output"'),
        (b'"usage"', b'"incomplete_details":{"reason":"content_filter"},"usage"'),
        (TEXT.encode(), b"Salt wind "),
    ),
}
"""What a good ending is made into."""


def _ending(voice: Voice) -> tuple[bytes, ...]:
    return (chunk(voice.finish + voice.terminator), LAST_CHUNK)


# -- refusals ----------------------------------------------------------------------------------------------------------

SAYINGS: Final[Mapping[str, tuple[str, str | None, str]]] = {
    "": ("server_error", None, "not now"),
    "busy": ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached"),
    "overloaded": ("overloaded_error", None, "Overloaded"),
    "a malformed request": ("invalid_request_error", None, "temperature: out of range"),
    "context length": (
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    ),
    "content filter": ("invalid_request_error", "content_filter", "The prompt was blocked by the content filter"),
    "prefill": (
        "invalid_request_error",
        None,
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
    "a bad key": ("authentication_error", "invalid_api_key", "Incorrect API key provided"),
    "no credit": ("billing_error", "insufficient_quota", "Your credit balance is too low"),
    "no such model": ("not_found_error", "model_not_found", "The model does not exist"),
    "out of memory": ("api_error", None, "CUDA out of memory"),
}
"""What a refusal is about: its type, code and message, as vendors have them."""


def _error_body(cue: Cue) -> bytes:
    kind, code, message = SAYINGS[cue.act.saying]
    shapes: dict[str, object] = {
        "anthropic": {"type": "error", "error": {"type": kind, "message": message}},
        "truss": {"error": message},
    }
    return orjson.dumps(
        shapes.get(cue.voice.upstream, {"error": {"type": kind, "code": code, "param": None, "message": message}})
    )


async def _refuses(cue: Cue, peer: Peer, stream: bool) -> None:
    fields = [_CLOSE, ("x-baseten-error-source", "04")]  # the model's own 500, where there is a platform around it
    if cue.act.retry_after:
        fields.append(("retry-after", cue.act.retry_after))
    await peer.send(sized(_error_body(cue), cue.act.status, *fields))


async def _says_an_error_under_200(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(sized(_error_body(cue), 200, _CLOSE))


async def _tells_an_error(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.send(chunk(cue.voice.error), LAST_CHUNK)


# -- broken connections, and silence -----------------------------------------------------------------------------------


async def _closes(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)


async def _resets(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    peer.reset()


async def _closes_inside_a_chunk(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.send(b"ff\r\ndata: ")


async def _breaks_the_chunking(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.send(b"zz\r\nSalt \r\n")
    await peer.gone()


async def _is_silent(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.gone()


async def _pings_for_ever(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.drip(chunk(cue.voice.ping), 0.02)


# -- what is no answer -------------------------------------------------------------------------------------------------


def _gibberish(number: int) -> Callable[[Cue, Peer, bool], Awaitable[None]]:
    async def play(cue: Cue, peer: Peer, stream: bool) -> None:
        await _lead_in(cue, peer, stream)
        await peer.send(chunk(cue.voice.gibberish[number]))
        await peer.gone()

    return play


async def _has_no_terminator(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.send(LAST_CHUNK)


async def _is_no_json(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(sized(b'{"choices": [', 200, _CLOSE))


async def _is_a_page(cue: Cue, peer: Peer, stream: bool) -> None:
    page = b"<!doctype html><html><title>Welcome to nginx</title></html>"
    await peer.send(sized(page, 200, _CLOSE, media_type="text/html; charset=utf-8"))


async def _is_something_else(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(sized(b"\x89PNG\r\n\x1a\n" + bytes(64), 200, _CLOSE, media_type="image/png"))


async def _redirects(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(head(cue.act.status, ("location", cue.elsewhere), ("content-length", "0"), _CLOSE))


async def _switches_protocols(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(head(101, ("upgrade", "websocket"), ("connection", "upgrade")))
    await peer.gone()


async def _sends_a_gzip_bomb(cue: Cue, peer: Peer, stream: bool) -> None:
    media_type = cue.voice.media_type if stream else "application/json"
    await peer.send(sized(_BOMB, 200, ("content-encoding", "gzip"), _CLOSE, media_type=media_type))


_BOMB: Final = gzip.compress(bytes(16 << 20))


async def _sends_a_header_bomb(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(head(200, ("content-type", cue.voice.media_type), ("x-bomb", "x" * (1 << 20))))
    await peer.gone()


async def _sends_many_headers(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(head(200, *((f"x-{number}", "boom") for number in range(20_000))))
    await peer.gone()


async def _sends_no_http(cue: Cue, peer: Peer, stream: bool) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


async def _never_ends_a_line(cue: Cue, peer: Peer, stream: bool) -> None:
    await _lead_in(cue, peer, stream)
    await peer.send(b"fffffff\r\ndata: ")
    await peer.flood(b"x" * 65536)


async def _never_ends(cue: Cue, peer: Peer, stream: bool) -> None:
    if not stream:
        await peer.send(head(200, ("content-type", "application/json"), ("transfer-encoding", "chunked"), _CLOSE))
        await peer.send(chunk(b'{"choices": "'))
        await peer.flood(chunk(b"x" * 8000))
    await _lead_in(cue, peer, stream)
    await peer.flood(chunk(cue.voice.token("on and on " * 100)))


ACTS: Final[Mapping[str, Deed]] = {
    "answers": Deed(_answers, "answers"),
    "pauses": Deed(_pauses, "pauses for 0.15 s, then answers"),
    "continues": Deed(_continues, "goes on with the beginning that it is given", in_stream=True),
    "answers, mislabelled": Deed(_answers_mislabelled, "answers as application/octet-stream", in_stream=True),
    "is filtered": Deed(_is_filtered, "says after two tokens that a filter cut the rest", **_FRAMES),
    "refuses": Deed(_refuses, "refuses"),
    "error under 200": Deed(_says_an_error_under_200, "answers 200 with an error as its body"),
    "error frame": Deed(_tells_an_error, "says in its stream that it failed", **_FRAMES),
    "closes": Deed(_closes, "closes the connection"),
    "resets": Deed(_resets, "resets the connection", hangs_up=False),
    "closes inside a chunk": Deed(_closes_inside_a_chunk, "closes the connection inside a chunk", in_stream=True),
    "breaks the chunking": Deed(_breaks_the_chunking, "sends a chunk whose size is no number", in_stream=True),
    "silence": Deed(_is_silent, "says nothing more"),
    "pings": Deed(_pings_for_ever, "sends keep-alives for ever, and nothing else", **_FRAMES),
    "no JSON frame": Deed(_gibberish(0), "sends a frame that is no JSON", **_FRAMES),
    "number frame": Deed(_gibberish(1), "sends a frame that is a number", **_FRAMES),
    "misshapen frame": Deed(_gibberish(2), "sends a frame of the wrong shape", **_FRAMES),
    "no terminator": Deed(_has_no_terminator, "ends properly, before the dialect's own end", **_FRAMES),
    "no JSON": Deed(_is_no_json, "answers 200 with half a JSON body"),
    "page": Deed(_is_a_page, "answers 200 with a page of HTML"),
    "image": Deed(_is_something_else, "answers 200 with an image"),
    "unreachable": Deed(_closes, "can't be reached"),
    "redirects": Deed(_redirects, "redirects to another server"),
    "switches protocols": Deed(_switches_protocols, "switches protocols"),
    "gzip bomb": Deed(_sends_a_gzip_bomb, "answers 200 with 16 KiB that unpack to 16 MiB"),
    "header bomb": Deed(_sends_a_header_bomb, "sends a header field of 1 MiB"),
    "many headers": Deed(_sends_many_headers, "sends 20,000 header fields"),
    "no HTTP": Deed(_sends_no_http, "speaks another protocol"),
    "endless line": Deed(_never_ends_a_line, "sends a line that never ends", **_FRAMES),
    "endless": Deed(_never_ends, "answers without end, as fast as it is read"),
}
"""What `does` may say."""
