"""An Anthropic stream → pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from gateway.dialects.anthropic.contents import NAME
from gateway.dialects.anthropic.encoding import PING
from gateway.dialects.anthropic.failures import error_frame, error_in
from gateway.dialects.anthropic.options import Options
from gateway.dialects.base import Json
from gateway.dialects.refusals import is_error
from gateway.dialects.stream import StreamDecoder, count, json_object, number, text, writable
from gateway.dialects.template import Place
from gateway.errors import GatewayError, Malformed, Truncated
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason
from gateway.wire import sse

_PROMPT: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_DECODED_REASONS: Final[Mapping[str, Reason]] = {
    "end_turn": Reason.STOP,
    "max_tokens": Reason.LENGTH,
    "stop_sequence": Reason.STOP_SEQUENCE,
    "tool_use": Reason.TOOL_CALLS,
    "pause_turn": Reason.PAUSE,
    "refusal": Reason.REFUSAL,
    "model_context_window_exceeded": Reason.CONTEXT_WINDOW,
    "length": Reason.LENGTH,  # words of OpenAI, from compatible servers (mapping.md §11)
    "tool_calls": Reason.TOOL_CALLS,
    "content_filter": Reason.CONTENT_FILTER,
}

_DELTA_FIELDS: Final = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


@dataclass(frozen=True, slots=True)
class _Opaque:
    """A block that only this dialect understands, until it is complete: its input may come in fragments."""

    start: Json
    fragments: list[str] = field(default_factory=list)

    def learn(self, delta: Json) -> None:
        """Takes what a delta of an unknown kind adds to a field, or says of it for the first time."""
        for name, value in delta.items():
            known = self.start.get(name)
            if name != "type":
                self.start[name] = known + value if isinstance(known, str) and isinstance(value, str) else value

    def whole(self) -> pc.WholePiece:
        """With the input, if that is an object; a cut one leaves the block as it began."""
        try:
            found = orjson.loads("".join(self.fragments))
        except orjson.JSONDecodeError:
            found = None
        block = {**self.start, "input": found} if isinstance(found, dict) else self.start
        return pc.WholePiece(BlockKind.OPAQUE, writable(block), NAME)


class Decoder(StreamDecoder):
    """Message stream → pieces, liberal with what compatible servers send (mapping.md §11)."""

    empty_frame = PING

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(max_event)
        self._origin = options.profile
        self._has_started = False
        self._usage: Json = {}
        self._stop: Json | None = None
        self._inputs: dict[int, str] = {}
        self._opaque: dict[int, _Opaque] = {}
        self._told: set[int] = set()
        self._held, self._max_held = 0, max_event

    def read(self, frame: sse.Frame) -> list[pc.Piece]:
        if frame.data.strip() == b"[DONE]":
            return self.end()
        body = json_object(frame.data)
        if frame.event == b"error":
            raise error_in(body)
        return list(self.message_event(body))

    def place(self, body: Json) -> Place | None:
        """Text, thinking, or input of a block that is open."""
        match body:
            case {"type": "content_block_delta", "delta": {"type": str(kind)}} if kind in _DELTA_FIELDS:
                return Place(("delta", _DELTA_FIELDS[kind]))
            case _:
                return None

    def message_event(self, body: Json) -> Iterator[pc.Piece]:
        """What one event of the stream means; unknown ones mean nothing."""
        kind = body.get("type")
        if is_error(body) or kind == "error":
            raise error_in(body)
        reader = self._READERS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            yield from reader(self, body)

    def _message_start(self, body: Json) -> Iterator[pc.Piece]:
        if self._has_started:
            return
        self._has_started = True
        message = body["message"]
        usage = self._learn(used) if (used := _counted(message.get("usage") or {})) else None
        yield ev.Start(message.get("id"), message.get("model"), usage=usage, origin=self._origin)

    def _block_start(self, body: Json) -> Iterator[pc.Piece]:
        """The next block implies that those before it are complete, where nobody says so (mapping.md §11)."""
        yield from self._flush()
        index, block = number(body["index"]), body["content_block"]
        self._told.discard(index)
        match block.get("type"):
            case "text":
                yield pc.ContentPiece(BlockKind.TEXT, text(block.get("text")), index)
                for citation in block.get("citations") or ():
                    yield _cite(index, citation)
            case "thinking":
                yield pc.ContentPiece(BlockKind.REASONING, text(block.get("thinking")), index)
                yield from self._seal(index, block.get("signature"))
            case "redacted_thinking":
                yield pc.WholePiece(BlockKind.REDACTED, rq.OpaqueValue(NAME, text(block["data"]), self._origin))
            case "tool_use":
                if whole := block.get("input"):
                    self._inputs[index] = whole if isinstance(whole, str) else orjson.dumps(whole).decode()
                yield pc.ToolPiece(index, text(block.get("id")), text(block.get("name")))
            case str():
                self._opaque[index] = _Opaque(dict(writable(block)))
            case _:
                raise TypeError("a block without a type")

    def _block_delta(self, body: Json) -> Iterator[pc.Piece]:
        index, delta = number(body["index"]), body["delta"]
        if index in self._told:
            return
        match delta.get("type"):
            case "input_json_delta":
                yield from self._argue(index, text(delta.get("partial_json")))
            case _ if index in self._opaque:
                self._hold(sum(len(value) for value in delta.values() if isinstance(value, str)))
                self._opaque[index].learn(delta)
            case "text_delta":
                yield pc.ContentPiece(BlockKind.TEXT, text(delta.get("text")), index)
            case "thinking_delta":
                yield pc.ContentPiece(BlockKind.REASONING, text(delta.get("thinking")), index)
            case "signature_delta":
                yield from self._seal(index, delta.get("signature"))
            case "citations_delta":
                yield _cite(index, delta["citation"])

    def _argue(self, index: int, fragment: str) -> Iterator[pc.Piece]:
        if index in self._opaque:
            self._hold(len(fragment))
            self._opaque[index].fragments.append(fragment)
        elif fragment:
            self._inputs.pop(index, None)  # deltas win over a complete input in the start
            yield pc.ToolPiece(index, fragment=fragment)

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._max_held:
            raise Malformed(f"blocks of more than {self._max_held} bytes that only their own dialect understands")

    def _block_stop(self, body: Json) -> Iterator[pc.Piece]:
        index = number(body["index"])
        if whole := self._inputs.pop(index, ""):
            yield pc.ToolPiece(index, fragment=whole)
        if opaque := self._opaque.pop(index, None):
            yield opaque.whole()
        elif index not in self._told:
            yield pc.BlockEnd(index)

    def _flush(self) -> Iterator[pc.Piece]:
        """What came whole and was never closed; what still comes of it is no news."""
        for index, whole in self._inputs.items():
            yield pc.ToolPiece(index, fragment=whole)
            yield pc.BlockEnd(index)
        for opaque in self._opaque.values():
            yield opaque.whole()
        self._told.update(self._inputs, self._opaque)
        self._inputs.clear()
        self._opaque.clear()

    def _seal(self, index: int, signature: Any) -> Iterator[pc.Piece]:
        if sealed := text(signature):
            yield pc.SignaturePiece(rq.OpaqueValue(NAME, sealed, self._origin), index)

    def _message_delta(self, body: Json) -> Iterator[pc.Piece]:
        delta = body.get("delta") or {}
        if delta.get("stop_reason") is not None:
            details = delta.get("stop_details")
            self._stop = {
                "stop_reason": text(delta["stop_reason"]),
                "stop_sequence": text(delta.get("stop_sequence")) or None,
                "stop_details": writable(details) if details else None,
            }
        if usage := body.get("usage"):
            yield self._learn(usage)

    def _message_stop(self, body: Json) -> Iterator[pc.Piece]:
        yield from self.end()

    def _ping(self, body: Json) -> Iterator[pc.Piece]:
        yield ev.Ping()

    _READERS: Final = {
        "message_start": _message_start,
        "content_block_start": _block_start,
        "content_block_delta": _block_delta,
        "content_block_stop": _block_stop,
        "message_delta": _message_delta,
        "message_stop": _message_stop,
        "ping": _ping,
    }

    def tell(self, error: GatewayError) -> bytes:
        return error_frame(error)

    def end(self) -> list[pc.Piece]:
        """Complete with a stop reason, whether or not `message_stop` came (mapping.md §9.1)."""
        if self._stop is None:
            return [ev.Failed(Truncated("the upstream closed the stream before the answer was finished"))]
        return [*self._flush(), _load_finish(self._stop), ev.End()]

    def _learn(self, usage: Json) -> ev.Usage:
        """Cumulative for the whole message: values overwrite, null and absent keep what was known."""
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        return load_usage(self._usage)


def _counted(usage: Json) -> Json:
    """Counts at the start, which some servers only fill with zeros; no prompt has none (mapping.md §11)."""
    if any(usage.get(name) for name in _PROMPT):
        return usage if usage.get("output_tokens") else {n: value for n, value in usage.items() if n != "output_tokens"}
    return {name: value for name, value in usage.items() if value and name not in _PROMPT}


def _cite(index: int, citation: Json) -> pc.CitationPiece:
    """Only what was found on the web has an address that means something elsewhere (mapping.md §10)."""
    held = writable(citation)
    if held.get("type") != "web_search_result_location":
        return pc.CitationPiece(held, NAME, index)
    return pc.CitationPiece(held, NAME, index, text(held.get("url")), text(held.get("title")))


def _load_finish(stop: Json) -> ev.Finish:
    raw = stop["stop_reason"]
    reason = _DECODED_REASONS.get(raw, Reason.STOP)
    matched = stop.get("stop_sequence")
    if reason is Reason.STOP_SEQUENCE and matched is None:  # pitfall 130
        reason = Reason.STOP
    return ev.Finish(reason, stop_sequence=matched, raw=raw, detail=stop.get("stop_details"))


def load_usage(usage: Json) -> ev.Usage:
    """mapping.md §7.2: the whole prompt is the sum of three disjoint counters."""
    plain, write, read = (count(usage.get(name)) for name in _PROMPT)
    details = usage.get("output_tokens_details") or {}
    return ev.Usage(
        input=None if plain is write is read is None else (plain or 0) + (write or 0) + (read or 0),
        output=count(usage.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=count(details.get("thinking_tokens")),
        is_final=True,
    )


def load(body: Any, options: Options) -> list[pc.Piece]:
    """A whole message as the pieces of its stream. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict) or (body.get("type") != "message" and not body.get("error")):
        raise Malformed("expected a message object")
    decoder = Decoder(options)
    try:
        return list(_replay(body, decoder))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Malformed(f"not a message: {type(error).__name__}") from error


def _replay(body: Json, decoder: Decoder) -> Iterator[pc.Piece]:
    """The events a server would have streamed this message as."""
    if body.get("error"):
        raise error_in(body)
    yield from decoder.message_event({"type": "message_start", "message": body})
    for index, block in enumerate(body["content"]):
        yield from decoder.message_event({"type": "content_block_start", "index": index, "content_block": block})
        yield from decoder.message_event({"type": "content_block_stop", "index": index})
    yield from decoder.message_event({"type": "message_delta", "delta": body, "usage": body.get("usage")})
    if body.get("stop_reason") is None:
        raise Malformed("not a whole message: no stop_reason")
    yield from decoder.end()
