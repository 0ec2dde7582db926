"""`python -m tests.secrets.spoilt_gateway serve …`: the gateway's command line, telling all it can, with a defect.

Everything that anything logs at `debug` goes to the log. The OpenAI dialect fails as a defect of ours would, by an
exception that quotes what it was working on: in reading the request of a model called `spoilt-request`, and in writing
an answer of one called `spoilt-answer`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway import app
from gateway.cli import main
from gateway.dialects import DIALECTS
from gateway.dialects.base import Encoder, Inbound, Stamp
from gateway.neutral.events import Event
from gateway.neutral.request import Request

SPOILT_REQUEST = "spoilt-request"
SPOILT_ANSWER = "spoilt-answer"
_SOUND = DIALECTS["openai"]


def parse(inbound: Inbound) -> Request:
    """As it should, but for one model; with a cause, as one exception often has another."""
    if inbound.body.get("model") != SPOILT_REQUEST:
        return _SOUND.parse(inbound)
    try:
        return dict[str, Request]()[str(inbound.body)]
    except KeyError as error:
        raise RuntimeError(f"{inbound.headers} {inbound.body}") from error


class Spoilt:
    """An encoder that quotes what it can't write."""

    def __init__(self, sound: Encoder) -> None:
        self._sound = sound
        self.media_type, self.tells_failure, self.keep_alive = sound.media_type, sound.tells_failure, sound.keep_alive

    def encode(self, events: Sequence[Event]) -> bytes:
        raise ValueError(f"can't write {events}")


def encoder(request: Request, stamp: Stamp) -> Encoder:
    """As it should, but for one model."""
    sound = _SOUND.encoder(request, stamp)
    return Spoilt(sound) if request.model == SPOILT_ANSWER else sound


def keep_level(self: logging.Logger, level: Any) -> None:
    """Nobody makes a logger say less."""


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.DEBUG)
    logging.Logger.setLevel = keep_level  # type: ignore[method-assign]
    dialects = {**DIALECTS, "openai": replace(_SOUND, parse=parse, encoder=encoder)}
    app.DIALECTS = MappingProxyType(dialects)  # type: ignore[attr-defined]
    main()
