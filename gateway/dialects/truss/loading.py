"""A Truss answer that came whole → pieces."""

from __future__ import annotations

from typing import Any

from gateway.dialects import refusals
from gateway.dialects.anthropic.decoding import load as load_message
from gateway.dialects.anthropic.options import Options as MessageOptions
from gateway.dialects.base import Json
from gateway.dialects.openai.decoding import load as load_chat
from gateway.dialects.truss.answers import find_text
from gateway.dialects.truss.decoding import AutoDecoder
from gateway.dialects.truss.options import Options
from gateway.errors import (
    Malformed,
    upstream_error,
)
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason


def load(body: Any, options: Options) -> list[pc.Piece]:
    """A whole answer, in any of the shapes that models return (truss.md §2.4, 2)."""
    if isinstance(body, dict) and "model_output" in body:
        body = body["model_output"]
    if isinstance(body, dict):
        _raise_error_in(body)
        if "choices" in body:
            return load_chat(body, options)
        if body.get("type") == "message":
            return load_message(body, MessageOptions())
    if isinstance(body, str) and body.startswith(("data: ", "event: ")):
        return _collected(body, options)
    text = find_text(body, options)
    finish = ev.Finish(Reason.STOP, is_certain=True)
    return [ev.Start(), pc.ContentPiece(BlockKind.TEXT, text), finish, ev.End()]


def observe(body: Any, options: Options) -> list[pc.Piece]:
    """A whole answer on its way to a Truss client: any shape will do, but not an error under status 200."""
    try:
        return load(body, options)
    except Malformed:
        return [ev.Start(), ev.Finish(Reason.STOP), ev.End()]


def passes(request: rq.Request, options: Options, is_whole: bool) -> bool:
    """What a model answers is between it and its client; only text collected for `raw_eof: refuse` is spelled anew."""
    return not (options.raw_eof == "refuse" and request.stream and is_whole)


def _collected(body: str, options: Options) -> list[pc.Piece]:
    """A stream of events that the server collected into one string."""
    collected = AutoDecoder(options)
    pieces = collected.feed(body.encode())
    return pieces if pieces and isinstance(pieces[-1], ev.End) else pieces + collected.eof(is_framed=True)[1]


def _raise_error_in(body: Json) -> None:
    """A failure under status 200 (truss.md §1.4)."""
    if body.get("error") or body.get("status") == "error":
        refusal = refusals.from_json(body)
        kind = refusals.kind_in_answer(refusal, {})
        raise upstream_error(kind, refusal.message or "the upstream answered with an error under status 200")
