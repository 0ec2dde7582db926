"""Whether an answer arrived whole: read by the decoder of the dialect that the client speaks, after the measuring."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import orjson

from gateway.bench.answers import text
from gateway.dialects.base import Dialect
from gateway.errors import GatewayError
from gateway.neutral.events import Event
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer

_SHOWN: Final = 200
"""Bytes of an answer that isn't one."""
_text = lru_cache(maxsize=8)(text)


def fault_of(dialect: Dialect, status: int, body: bytes, tokens: int, *, is_streamed: bool) -> str:
    """What is wrong with an answer that should have so many tokens; empty if nothing is."""
    if status != 200:
        return f"status {status}: {body[:_SHOWN].decode('utf-8', 'replace')}"
    read = _read_stream if is_streamed else _read_whole
    try:
        told = fold(read(dialect, body)).text()
    except (GatewayError, orjson.JSONDecodeError) as error:
        return f"{type(error).__name__}: {error}"
    expected = _text(tokens)
    return "" if told == expected else f"other text than was sent: {len(told)} characters, expected {len(expected)}"


def _read_stream(dialect: Dialect, body: bytes) -> Sequence[Event]:
    decoder, sequencer = dialect.decoder(dialect.options()), Sequencer()
    events = sequencer.feed(decoder.feed(body))
    return [*events, *sequencer.feed(decoder.eof(is_framed=True)[1])]


def _read_whole(dialect: Dialect, body: bytes) -> Sequence[Event]:
    return Sequencer().feed(dialect.load(orjson.loads(body), dialect.options()))
