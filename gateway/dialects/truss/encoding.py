"""Events → a Truss answer, streamed and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.dialects.base import Encoder, Guard, Stamp
from gateway.dialects.openai.encoding import Encoder as ChatEncoder
from gateway.dialects.openai.encoding import dump as dump_chat
from gateway.dialects.openai.guarding import guard as guard_chat
from gateway.dialects.truss.parsing import FORM_RAW
from gateway.errors import Unfit
from gateway.neutral import events as ev
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind
from gateway.neutral.response import Response


def encoder(request: rq.Request, stamp: Stamp) -> Encoder:
    """Raw text for a `prompt`, OpenAI's chunks for `messages`."""
    if request.form == FORM_RAW:
        return RawEncoder()
    return ChatEncoder(request, stamp)


def guard(request: rq.Request) -> Guard | None:
    """OpenAI's for its chunks; raw text has no grammar."""
    return None if request.form == FORM_RAW else guard_chat(request)


_SAID: Final = (ev.TextDelta, ev.RefusalDelta)


class RawEncoder:
    """Text as it is. There is no word for a failure: the connection ends without the last chunk (truss.md §2.3)."""

    media_type = "application/octet-stream"
    tells_failure = False
    keep_alive = b""

    def encode(self, events: Sequence[ev.Event]) -> bytes:
        """The text of these events; a tool call has no place in it and raises Unfit."""
        texts = []
        for event in events:
            if isinstance(event, _SAID):
                texts.append(event.text)
            elif isinstance(event, ev.BlockStart) and event.kind is BlockKind.TOOL:
                raise Unfit("the model called a tool, which raw text can't carry")
        return "".join(texts).encode()


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Any:
    """A JSON string for a `prompt`, OpenAI's object for `messages`."""
    if request.form != FORM_RAW:
        return dump_chat(response, request, stamp)
    if any(block.kind is BlockKind.TOOL for block in response.blocks):
        raise Unfit("the model called a tool, which raw text can't carry")
    return response.text() + response.text(BlockKind.REFUSAL)
