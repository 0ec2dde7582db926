"""An upstream's bytes → events, and the client's bytes for them: translated, or passed through and only observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.dialects.base import Decoder, Encoder, Fault, Guard
from gateway.errors import GatewayError, InternalError, UpstreamError
from gateway.neutral.events import End, Event, Failed
from gateway.neutral.pieces import Piece
from gateway.neutral.quick_value import quick_value
from gateway.neutral.restoring import Sequence as Events
from gateway.relay.splice import Splice

Scrub = Callable[[GatewayError], GatewayError]
"""Takes our credential out of a message that an upstream wrote."""

_ENDS: Final = (End, Failed)


@quick_value
class Batch:
    """What one read meant. `is_told`: a failure among the events is told in `data`.

    `cut`: what the answer broke by behind these events, where another upstream may go on with it.
    `more`: it was nothing but so many more deltas of a text; then they don't stand among the events.
    """

    events: Sequence[Event]
    data: bytes
    is_told: bool = True
    cut: GatewayError | None = None
    more: int = 0


class Carrier(Protocol):
    """One answer's way from upstream to client."""

    def feed(self, chunk: bytes) -> Batch: ...

    def eof(self, *, is_framed: bool) -> Batch: ...

    def fail(self, error: GatewayError) -> Batch:
        """The answer broke outside of its bytes: the connection, a deadline."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A client's answer that several upstreams may write, one after the other: what each needs of the one before."""

    splice: Splice
    encoder: Encoder
    guard: Guard | None


class Translation:
    """Decoder, Sequencer, Encoder, Guard. An event that the client's dialect can't carry breaks the answer.

    So does a frame that its grammar forbids, which is a fault of ours: `fault` says which, and the client never sees
    what was written with it.
    """

    def __init__(
        self,
        decoder: Decoder,
        sequencer: Events,
        encoder: Encoder,
        scrub: Scrub,
        guard: Guard | None = None,
        splice: Splice | None = None,
    ) -> None:
        """`splice`: where the answer may go on from another upstream, or does."""
        self._splice = splice
        self._decoder = decoder
        self._sequencer = sequencer
        self._encoder = encoder
        self._scrub = scrub
        self._guard = guard
        self.fault: Fault | None = None

    def feed(self, chunk: bytes) -> Batch:
        if not (texts := self._decoder.more(chunk)):
            return self.carry(self._decoder.feed(chunk))
        events = self._sequencer.more(texts)
        if self._splice is not None:
            return self._spelled(self._splice.take(events))
        if not self._sequencer.flow:
            return self._spelled(events)
        data = self._encoder.encode(events)
        if (guard := self._guard) is not None and (fault := guard.check(data)) is not None:
            return self._broken(guard, fault)
        return Batch((), data, more=len(texts))

    def eof(self, *, is_framed: bool) -> Batch:
        return self.carry(self._decoder.eof(is_framed=is_framed)[1])

    def fail(self, error: GatewayError) -> Batch:
        if self._splice is None or self._splice.cut is None:
            return self.carry([Failed(error)])
        self._splice.give_up()
        return self._spelled([Failed(error)])

    def carry(self, pieces: Sequence[Piece]) -> Batch:
        """Pieces from wherever they come: a stream, or a whole answer."""
        events = self._sequencer.feed(pieces)
        return self._spelled(events if self._splice is None else self._splice.take(events))

    def _spelled(self, events: list[Event]) -> Batch:
        is_last = bool(events) and type(events[-1]) in _ENDS
        if is_last and isinstance(events[-1], Failed):
            events[-1] = Failed(self._scrub(events[-1].error))
        try:
            data = self._encoder.encode(events)
        except UpstreamError as error:
            is_last = True
            events.append(failed := Failed(error))
            data = self._encoder.encode([failed])
        if (guard := self._guard) is not None:
            fault = guard.check(data) or (guard.end() if is_last else None)
            if fault is not None:
                return self._broken(guard, fault)
        cut = None if is_last or self._splice is None else self._splice.cut
        return Batch(events, data, self._encoder.tells_failure, cut and self._scrub(cut))

    def _broken(self, guard: Guard, fault: Fault) -> Batch:
        """The client is told, unless even that would be against the grammar: then its connection is cut."""
        self.fault = fault
        failed = Failed(InternalError(f"the gateway broke the grammar of its own answer: {fault}"))
        told = self._encoder.encode([failed])
        is_told = self._encoder.tells_failure and guard.check(told) is None and guard.end() is None
        return Batch([failed], told if is_told else b"", is_told)


class PassThrough:
    """The upstream's bytes as they came, up to a failure, which is told in our words: it may be in unreadable ones."""

    def __init__(self, decoder: Decoder, sequencer: Events, scrub: Scrub) -> None:
        self._decoder = decoder
        self._sequencer = sequencer
        self._scrub = scrub

    def feed(self, chunk: bytes) -> Batch:
        if not (texts := self._decoder.more(chunk)):
            return self._observed(*self._decoder.observe(chunk))
        if self._sequencer.flow:
            return Batch((), chunk, more=len(texts))
        return self._told(chunk, self._sequencer.more(texts))

    def eof(self, *, is_framed: bool) -> Batch:
        return self._observed(*self._decoder.eof(is_framed=is_framed))

    def fail(self, error: GatewayError) -> Batch:
        return self._observed(b"", [Failed(error)])

    def _observed(self, data: bytes, pieces: list[Piece]) -> Batch:
        return self._told(data, self._sequencer.feed(pieces))

    def _told(self, data: bytes, events: list[Event]) -> Batch:
        if not (events and type(events[-1]) is Failed):
            return Batch(events, data)
        failed = Failed(self._scrub(events[-1].error))
        told = self._decoder.tell(failed.error)
        return Batch([*events[:-1], failed], data + told, bool(told))
