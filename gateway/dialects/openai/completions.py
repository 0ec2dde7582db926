"""Legacy completions (`protocol/openai-chat.md` §8): relayed between client and upstream as they are.

The gateway only looks on, for usage and for whether an answer is complete. It has an encoder because the simulator
speaks this too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from gateway.dialects import refusals
from gateway.dialects.base import Dialect, Inbound, Json, Outbound, Path, Stamp
from gateway.dialects.openai.encoding import KEEP_ALIVE
from gateway.dialects.openai.failures import error_frame, raise_error_in
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.usage import dump_usage, load_usage
from gateway.dialects.stream import StreamDecoder, json_object, number, text
from gateway.errors import GatewayError, Kind, Malformed, Truncated, Unsupported, upstream_error
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.response import Response
from gateway.wire import sse
from gateway.wire.fields import Fields

PATH: Final = "/v1/completions"
ENDING: Final = "/completions"
_REASONS: Final = {"stop": Reason.STOP, "length": Reason.LENGTH, "content_filter": Reason.CONTENT_FILTER}


def beside(chat: Dialect) -> Dialect:
    """This call, as one more of a chat dialect's API."""
    return replace(
        chat,
        paths=(Path(PATH),),
        ending=ENDING,
        parse=parse,
        forward=forward,
        encoder=Encoder,
        decoder=Decoder,
        dump=dump,
        load=load,
        observe=load,
        passes=passes,
        operation="text_completion",
    )


def relayed(inbound: Inbound, path: str, **fields: Any) -> rq.Request:
    """A request for the model that the path or the body names, which no target of another API can take."""
    body, why = Fields(inbound.body), "is only relayed to upstreams that have it, and this model's speaks another API"
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    model, *aliases = inbound.models(named)
    refusal = Unsupported(f"model: {path} {why}", param="model")
    return rq.Request(
        model, aliases=tuple(aliases), is_versioned=inbound.is_versioned, own_dialect_only=refusal, **fields
    )


def passes(request: rq.Request, options: Any, is_whole: bool) -> bool:
    """As it is or not at all: nothing here is spelled anew."""
    if request.stream is is_whole:
        asked, came = ("a stream", "a whole answer") if request.stream else ("a whole answer", "a stream")
        raise Malformed(f"asked for {asked}, the upstream sent {came}")
    return True


def parse(inbound: Inbound) -> rq.Request:
    """Only what the gateway must know; what a prompt may be is between client and upstream."""
    body = Fields(inbound.body)
    options = body.object("stream_options")
    prompt = inbound.body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    parts = tuple(rq.Text(item, where="prompt") for item in prompts if isinstance(item, str))
    limit = inbound.body.get("max_tokens")
    return relayed(
        inbound,
        PATH,
        turns=(rq.Turn(rq.Role.USER, parts),),
        max_tokens=limit if type(limit) is int else None,
        stream=body.boolean("stream") or False,
        include_usage=bool(options and options.boolean("include_usage")),
    )


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A body as it came, with the upstream's model name."""
    return Outbound({**body, "model": model}, ENDING)


class Decoder(StreamDecoder):
    """Frames → what the gateway has to know of them.

    An answer may hold several choices, one after the other or mixed; it is finished when all that began are.
    """

    empty_frame = KEEP_ALIVE

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(max_event)
        self._has_started = False
        self._has_content = False
        self._open: set[int] = set()
        self._reason: Reason | None = None

    def read(self, frame: sse.Frame) -> list[pc.Piece]:
        if frame.data.strip() == b"[DONE]":
            return self._done()
        chunk = json_object(frame.data)
        raise_error_in(chunk)
        if frame.event == b"error":
            raise upstream_error(Kind.UPSTREAM, refusals.from_json(chunk).message or "the upstream sent an error event")
        return list(self.chunk(chunk))

    def chunk(self, chunk: Json) -> Iterator[pc.Piece]:
        """What a chunk, or a whole completion, says."""
        if not self._has_started:
            self._has_started = True
            yield ev.Start(text(chunk.get("id")) or None, text(chunk.get("model")) or None)
        for choice in chunk.get("choices") or ():
            self._note(choice)
            if content := text(choice.get("text")):
                self._has_content = True
                yield pc.ContentPiece(BlockKind.TEXT, content)
        if usage := chunk.get("usage"):
            yield load_usage(usage)

    def _note(self, choice: Json) -> None:
        index = number(choice.get("index", 0))
        self._open.add(index)
        if raw := text(choice.get("finish_reason")):
            self._open.discard(index)
            if not index or self._reason is None:
                self._reason = _REASONS.get(raw, Reason.STOP)

    def finish(self) -> list[pc.Piece]:
        """Why it ended, if every choice that began did."""
        return [] if self._reason is None or self._open else [ev.Finish(self._reason)]

    def _done(self) -> list[pc.Piece]:
        """`[DONE]` is proof enough, also where nobody said why, but not of nothing at all (mapping.md §9.1)."""
        if not self._has_content and self._reason is None:
            raise Malformed("the upstream ended its stream without any content")
        return [*(self.finish() or [ev.Finish(Reason.STOP, is_inferred=True)]), ev.End()]

    def end(self) -> list[pc.Piece]:
        if finish := self.finish():
            return [*finish, ev.End()]
        return [ev.Failed(Truncated("the upstream closed the stream before the answer was finished"))]

    def tell(self, error: GatewayError) -> bytes:
        return error_frame(error)


def load(body: Any, options: Options) -> list[pc.Piece]:
    """What a whole completion says. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict):
        raise Malformed("expected a completion object")
    raise_error_in(body)
    if not isinstance(body.get("choices"), list):
        raise Malformed("not a completion: no choices")
    decoder = Decoder(options)
    try:
        return [*decoder.chunk(body), *decoder.finish()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Malformed(f"not a completion: {type(error).__name__}") from error


# -- as the simulator speaks it ------------------------------------------------------------------------------------


class Encoder:
    """Events → frames; only text has a place in them."""

    media_type = "text/event-stream"
    tells_failure = True
    keep_alive = KEEP_ALIVE

    def __init__(self, request: rq.Request, stamp: Stamp) -> None:
        self._request = request
        self._head = _head(request, stamp)
        self._usage = ev.Usage()

    def encode(self, events: Sequence[ev.Event]) -> bytes:
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: ev.Event) -> bytes:
        match event:
            case ev.TextDelta():
                return self._frame(choices=[_choice(event.text, None)])
            case ev.Finish():
                return self._frame(choices=[_choice("", _spell(event.reason))])
            case ev.Start(usage=ev.Usage() as usage) | (ev.Usage() as usage):
                self._usage = self._usage.merged(usage)
                return b""
            case ev.End():
                usage_frame = self._frame(choices=[], usage=dump_usage(self._usage))
                return (usage_frame if self._request.include_usage else b"") + sse.write(b"[DONE]")
            case ev.Failed():
                return error_frame(event.error)
            case _:
                return b""

    def _frame(self, **fields: Any) -> bytes:
        return sse.write(orjson.dumps({**self._head, **fields}))


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Json:
    """A whole completion."""
    choice = _choice(response.text(), _spell(response.finish.reason))
    return {**_head(request, stamp), "choices": [choice], "usage": dump_usage(response.usage or ev.Usage())}


def _head(request: rq.Request, stamp: Stamp) -> Json:
    head = {"id": f"cmpl-{stamp.token}", "object": "text_completion"}
    return {**head, "created": stamp.created, "model": request.model}


def _choice(content: str, finish: str | None) -> Json:
    return {"index": 0, "text": content, "logprobs": None, "finish_reason": finish}


def _spell(reason: Reason) -> str:
    return next((word for word, known in _REASONS.items() if known is reason), "stop")
