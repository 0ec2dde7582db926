"""The pure part: an upstream's bytes to events to the client's bytes, by the real decoders, encoders and guards."""

from __future__ import annotations

import sys
from typing import Final

from gateway.dialects import DIALECTS
from gateway.dialects.base import Stamp
from gateway.dialects.truss.parsing import FORM_RAW
from gateway.errors import GatewayError
from gateway.neutral.request import Request, Role, Text, Turn
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Carrier, PassThrough, Translation
from tests.bench.counting import Counter, Work
from tests.bench.streams import VOICES

WARM: Final = 26
"""Events before those that are counted: what is made once and kept is made by then."""
EVENTS: Final = 65
"""Five times all the texts there are."""
STAMP: Final = Stamp("000000000000000000000001", 1_763_800_000)


def translation(upstream: str, client: str) -> Translation:
    """As an attempt puts it together."""
    asked = _asked(client)
    dialect = DIALECTS[client]
    decoder = DIALECTS[upstream].decoder(DIALECTS[upstream].options())
    sequencer = Sequencer(STAMP.token, client=client)
    return Translation(decoder, sequencer, dialect.encoder(asked, STAMP), _unchanged, dialect.guard(asked))


def pass_through(dialect: str) -> PassThrough:
    """As an attempt puts it together."""
    decoder = DIALECTS[dialect].decoder(DIALECTS[dialect].options())
    return PassThrough(decoder, Sequencer(STAMP.token, client=dialect), _unchanged)


def _asked(client: str) -> Request:
    form = FORM_RAW if client == "truss" else ""
    return Request("m", (Turn(Role.USER, (Text("Well?"),)),), stream=True, include_usage=True, form=form)


def _unchanged(error: GatewayError) -> GatewayError:
    return error


class Burdened:
    """A carrier that wastes instructions on each read: what the guard has to notice."""

    def __init__(self, carrier: Carrier, instructions: float) -> None:
        self._carrier = carrier
        self._turns = range(int(instructions / 3))  # a turn of an empty loop has three

    def feed(self, chunk: bytes) -> Batch:
        for _ in self._turns:
            pass
        return self._carrier.feed(chunk)

    def eof(self, *, is_framed: bool) -> Batch:
        return self._carrier.eof(is_framed=is_framed)

    def fail(self, error: GatewayError) -> Batch:
        return self._carrier.fail(error)


def begun(carrier: Carrier, upstream: str) -> Carrier:
    """A carrier in the midst of its answer."""
    voice = VOICES[upstream]
    for chunk in (voice.opening, *voice.texts(WARM)):
        carrier.feed(chunk)
    return carrier


def work(carrier: Carrier, upstream: str) -> Work:
    """What one event of text costs, one in each read."""
    feed, frames = begun(carrier, upstream).feed, VOICES[upstream].texts(EVENTS)
    with Counter() as counter:
        for frame in frames:
            feed(frame)
    return counter.work.per(EVENTS)


def kept(carrier: Carrier, upstream: str) -> float:
    """Blocks of memory that are still there after each event: an answer of any length must fit."""
    feed, frames = begun(carrier, upstream).feed, VOICES[upstream].texts(EVENTS)
    before = sys.getallocatedblocks()
    for frame in frames:
        feed(frame)
    return (sys.getallocatedblocks() - before) / EVENTS
