"""An upstream's bytes → events, and the client's bytes for them: translated, or passed through and only observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.dialects.base import Decoder, Encoder
from gateway.errors import GatewayError, UpstreamError
from gateway.neutral.events import Event, Failed
from gateway.neutral.pieces import Piece
from gateway.neutral.restoring import Sequence as Events

Scrub = Callable[[GatewayError], GatewayError]
"""Takes our credential out of a message that an upstream wrote."""


class Batch(NamedTuple):
    """What one read meant. `is_told`: a failure among the events is told in `data`."""

    events: Sequence[Event]
    data: bytes
    is_told: bool = True


class Carrier(Protocol):
    """One answer's way from upstream to client."""

    def feed(self, chunk: bytes) -> Batch: ...

    def eof(self, *, is_framed: bool) -> Batch: ...

    def fail(self, error: GatewayError) -> Batch:
        """The answer broke outside of its bytes: the connection, a deadline."""


class Translation:
    """Decoder, Sequencer, Encoder. An event that the client's dialect can't carry breaks the answer."""

    def __init__(self, decoder: Decoder, sequencer: Events, encoder: Encoder, scrub: Scrub) -> None:
        self._decoder = decoder
        self._sequencer = sequencer
        self._encoder = encoder
        self._scrub = scrub

    def feed(self, chunk: bytes) -> Batch:
        return self.carry(self._decoder.feed(chunk))

    def eof(self, *, is_framed: bool) -> Batch:
        return self.carry(self._decoder.eof(is_framed=is_framed)[1])

    def fail(self, error: GatewayError) -> Batch:
        return self.carry([Failed(error)])

    def carry(self, pieces: Sequence[Piece]) -> Batch:
        """Pieces from wherever they come: a stream, or a whole answer."""
        events = self._sequencer.feed(pieces)
        if events and type(events[-1]) is Failed:
            events[-1] = Failed(self._scrub(events[-1].error))
        try:
            return Batch(events, self._encoder.encode(events), self._encoder.tells_failure)
        except UpstreamError as error:
            return Batch(
                [*events, failed := Failed(error)], self._encoder.encode([failed]), self._encoder.tells_failure
            )


class PassThrough:
    """The upstream's bytes as they came, up to a failure, which is told in our words: it may be in unreadable ones."""

    def __init__(self, decoder: Decoder, sequencer: Events, scrub: Scrub) -> None:
        self._decoder = decoder
        self._sequencer = sequencer
        self._scrub = scrub

    def feed(self, chunk: bytes) -> Batch:
        return self._observed(*self._decoder.observe(chunk))

    def eof(self, *, is_framed: bool) -> Batch:
        return self._observed(*self._decoder.eof(is_framed=is_framed))

    def fail(self, error: GatewayError) -> Batch:
        return self._observed(b"", [Failed(error)])

    def _observed(self, data: bytes, pieces: list[Piece]) -> Batch:
        events = self._sequencer.feed(pieces)
        if not (events and type(events[-1]) is Failed):
            return Batch(events, data)
        failed = Failed(self._scrub(events[-1].error))
        told = self._decoder.tell(failed.error)
        return Batch([*events[:-1], failed], data + told, bool(told))
