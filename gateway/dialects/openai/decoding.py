"""An OpenAI chat stream → pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.dialects.openai.encoding import KEEP_ALIVE
from gateway.dialects.openai.failures import error_frame, raise_error_in
from gateway.dialects.openai.options import Options
from gateway.dialects.stream import StreamDecoder, json_object, text
from gateway.errors import GatewayError, Kind, Malformed, Truncated, upstream_error
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral.events import BlockKind, Reason
from gateway.wire import sse

_DECODED_REASONS: Final[Mapping[str, Reason]] = {
    "stop": Reason.STOP,
    "length": Reason.LENGTH,
    "tool_calls": Reason.TOOL_CALLS,
    "function_call": Reason.TOOL_CALLS,
    "content_filter": Reason.CONTENT_FILTER,
    "stop_sequence": Reason.STOP_SEQUENCE,
    "max_tokens": Reason.LENGTH,
    "model_length": Reason.LENGTH,
}
_FAILED_REASONS: Final = ("abort", "error", "insufficient_system_resource")
_REASONING_FIELDS: Final = ("reasoning_content", "reasoning")


class Decoder(StreamDecoder):
    """Chat completion chunks → pieces, liberal with what servers send (mapping.md §11)."""

    keep_alive = KEEP_ALIVE

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(max_event)
        self._has_started = False
        self._has_content = False
        self._has_refusal = False
        self._is_finished = False

    def read(self, frame: sse.Frame) -> list[pc.Piece]:
        if frame.data.strip() == b"[DONE]":
            return list(self._done())
        chunk = json_object(frame.data)
        raise_error_in(chunk)
        if frame.event == b"error":
            raise upstream_error(Kind.UPSTREAM, refusals.from_json(chunk).message or "the upstream sent an error event")
        return list(self.chunk(chunk))

    def chunk(self, chunk: Json) -> Iterator[pc.Piece]:
        """What one chunk, or one whole completion, means: text, then finish, then usage (pitfall 133)."""
        choice = _first_choice(chunk.get("choices"))
        if choice is not None:
            if not self._has_started:
                self._has_started = True
                yield ev.Start(_str(chunk.get("id")), _str(chunk.get("model")), _int(chunk.get("created")))
            yield from self._delta(choice.get("delta") or choice.get("message") or {})
            yield from self._finish(choice)
        usage = chunk.get("usage")
        if isinstance(usage, dict) and self._has_started:
            yield load_usage(usage)

    def _delta(self, delta: Json) -> Iterator[pc.Piece]:
        if reasoning := _reasoning_text(delta):
            yield pc.ContentPiece(BlockKind.REASONING, reasoning)
        if content := delta.get("content"):
            self._has_content = True
            yield pc.ContentPiece(BlockKind.TEXT, content if isinstance(content, str) else _joined(content))
        if refusal := delta.get("refusal"):
            self._has_content = self._has_refusal = True
            yield pc.ContentPiece(BlockKind.REFUSAL, text(refusal))
        if calls := delta.get("tool_calls"):
            self._has_content = True
            for position, call in enumerate(calls):
                yield _tool_piece(call, position)
        if call := delta.get("function_call"):
            self._has_content = True
            yield pc.ToolPiece(0, name=text(call.get("name")), fragment=_fragment(call.get("arguments")))

    def _finish(self, choice: Json) -> Iterator[pc.Piece]:
        raw = choice.get("finish_reason")
        if raw is None or self._is_finished:
            return
        if raw in _FAILED_REASONS:
            raise upstream_error(Kind.UPSTREAM, f"the upstream gave up: finish_reason {raw}")
        self._is_finished = True
        reason = _DECODED_REASONS.get(raw, Reason.STOP)
        matched = choice.get("stop_reason", choice.get("matched_stop"))
        if reason is Reason.STOP and isinstance(matched, str):
            yield ev.Finish(Reason.STOP_SEQUENCE, stop_sequence=matched, raw=raw)
            return
        if reason is Reason.STOP_SEQUENCE:
            reason = Reason.STOP  # which one is unknown, and never guessed
        if reason is Reason.STOP and self._has_refusal:
            reason = Reason.REFUSAL
        yield ev.Finish(reason, raw=raw)

    def _done(self) -> Iterator[pc.Piece]:
        """`[DONE]`: fine after a finish, inferred with content, a failure with nothing (mapping.md §9.1)."""
        if not self._is_finished and not self._has_content:
            raise Malformed("the upstream ended its stream without any content")
        if not self._is_finished:
            yield ev.Finish(Reason.STOP, is_inferred=True)
        yield ev.End()

    def tell(self, error: GatewayError) -> bytes:
        return error_frame(error)

    def end(self) -> list[pc.Piece]:
        if self._is_finished:
            return [ev.End()]
        return [ev.Failed(Truncated("the upstream closed the stream before the answer was finished"))]


def load(body: Any, options: Options) -> list[pc.Piece]:
    """A whole completion as the pieces of its stream. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict):
        raise Malformed("expected a chat completion object")
    raise_error_in(body)
    decoder = Decoder(options)
    try:
        pieces = list(decoder.chunk(body))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Malformed(f"not a chat completion: {type(error).__name__}") from error
    if not any(isinstance(piece, ev.Finish) for piece in pieces):
        raise Malformed("not a chat completion: no choice with a finish_reason")
    return [*pieces, ev.End()]


def load_usage(usage: Json) -> ev.Usage:
    """mapping.md §7.2, with the exclusive counting of some servers mended (pitfall 31)."""
    details = usage.get("prompt_tokens_details") or {}
    read = next(
        (
            value
            for value in (
                _int(details.get("cached_tokens")),
                _int(usage.get("cached_tokens")),
                _int(usage.get("prompt_cache_hit_tokens")),
            )
            if value is not None
        ),
        None,
    )
    write = _int(details.get("cache_write_tokens"))
    prompt = _int(usage.get("prompt_tokens"))
    cached = (read or 0) + (write or 0)
    if prompt is not None and cached > prompt:
        prompt += cached
    completion_details = usage.get("completion_tokens_details") or {}
    return ev.Usage(
        input=prompt,
        output=_int(usage.get("completion_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=_int(completion_details.get("reasoning_tokens")),
        is_final=True,
    )


def _first_choice(choices: Any) -> Json | None:
    if not choices:
        return None
    return next((choice for choice in choices if not choice.get("index")), None)


def _reasoning_text(delta: Json) -> str:
    """The first non-empty of the fields servers use, never two of them (pitfall 83)."""
    for name in _REASONING_FIELDS:
        if isinstance(text := delta.get(name), str) and text:
            return text
    details = delta.get("reasoning_details") or ()
    return "".join(detail.get("text") or detail.get("summary") or "" for detail in details)


def _joined(parts: Any) -> str:
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)


def _tool_piece(call: Json, position: int) -> pc.ToolPiece:
    function = call.get("function") or {}
    custom = call.get("custom")
    if custom:
        fragment, name, kind = text(custom.get("input")), text(custom.get("name")), "custom"
    else:
        fragment, name, kind = _fragment(function.get("arguments")), text(function.get("name")), "function"
    return pc.ToolPiece(_int(call.get("index")), text(call.get("id")), name, fragment, kind, position)


def _fragment(arguments: Any) -> str:
    """Some servers send arguments as an object (pitfall 14)."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
