"""The quick way through a carrier tells what the usual one tells, in every pair, however the answer is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.base import Decoder, Stamp
from gateway.errors import GatewayError
from gateway.neutral.events import Event, ReasoningDelta, RefusalDelta, TextDelta
from gateway.neutral.pieces import Piece
from gateway.neutral.request import Request
from gateway.neutral.restoring import ClientTool, Restoration, restored
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Carrier, PassThrough, Translation
from gateway.relay.splice import Splice
from tests.properties.answers import answers, text_only

FORMS = {"openai": "", "anthropic": "", "responses": "", "truss": "raw"}
STAMP = Stamp("token", 7)
STRICT = Restoration({"f": ClientTool("g")}, hides_reasoning=True)


class Usual:
    """A decoder that finds no text to be like the one before."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.feed = decoder.feed
        self.observe = decoder.observe
        self.tell = decoder.tell
        self.proves_end, self.keep_alive = decoder.proves_end, decoder.keep_alive

    def more(self, chunk: bytes) -> Sequence[str]:
        return ()

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[Piece]]:
        return self._decoder.eof(is_framed=is_framed)


def unscrubbed(error: GatewayError) -> GatewayError:
    return error


def asked(dialect: str) -> Request:
    return Request("m", (), stream=True, include_usage=True, form=FORMS[dialect])


def streamed(dialect: str, events: list[Event], sizes: list[int]) -> list[bytes]:
    """The answer as a server of the dialect sends it: a read an event, but for some that are cut or joined."""
    encoder = DIALECTS[dialect].encoder(asked(dialect), STAMP)
    reads: list[bytes] = []
    for at, frame in enumerate(encoder.encode([event]) for event in events):
        size = sizes[at % len(sizes)] if sizes else -1
        if size == 0 and reads:
            reads[-1] += frame
        elif size > 0:
            reads += [frame[:size], frame[size:]]
        else:
            reads.append(frame)
    return [read for read in reads if read]


def decoders(upstream: str) -> tuple[Decoder, Decoder]:
    """One that knows the quick way, and one that does not."""
    dialect = DIALECTS[upstream]
    return dialect.decoder(dialect.options()), Usual(dialect.decoder(dialect.options()))


def told(carrier: Carrier, reads: list[bytes]) -> list[Batch]:
    return [*map(carrier.feed, reads), carrier.eof(is_framed=True)]


def assert_alike(quick: list[Batch], usual: list[Batch]) -> None:
    """The same bytes, and the same events; deltas of a text may only be counted, if nothing else is among them.

    No failure is, so it does not matter whether one would be told.
    """
    assert len(quick) == len(usual)
    for got, wanted in zip(quick, usual, strict=True):
        if not got.more:
            assert got == wanted
            continue
        assert len(wanted.events) == got.more
        assert all(isinstance(event, TextDelta | ReasoningDelta | RefusalDelta) for event in wanted.events)
        assert len({type(event) for event in wanted.events}) == 1
        assert got == replace(wanted, events=(), is_told=True, more=got.more)


SIZES = st.lists(st.integers(-1, 60), max_size=4)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_translated(upstream: str, client: str, data: st.DataObject) -> None:
    """With and without tools to restore, and where another upstream may go on."""
    is_plain = "truss" in (upstream, client)
    events = data.draw(answers(text_only) if is_plain else st.one_of(answers(), answers(text_only)))
    reads = streamed(upstream, events, data.draw(SIZES))
    restoration = data.draw(st.sampled_from([Restoration(), STRICT]))
    splices = data.draw(st.booleans())
    quick, usual = (
        Translation(
            decoder,
            restored(Sequencer("s", client=client), restoration),
            DIALECTS[client].encoder(asked(client), STAMP),
            unscrubbed,
            DIALECTS[client].guard(asked(client)),
            Splice() if splices else None,
        )
        for decoder in decoders(upstream)
    )
    assert_alike(told(quick, reads), told(usual, reads))


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_passed_through(dialect: str, data: st.DataObject) -> None:
    """The same bytes, and the same events for who observes."""
    events = data.draw(answers(text_only) if dialect == "truss" else st.one_of(answers(), answers(text_only)))
    reads = streamed(dialect, events, data.draw(SIZES))
    quick, usual = (PassThrough(decoder, Sequencer("s", client=dialect), unscrubbed) for decoder in decoders(dialect))
    assert_alike(told(quick, reads), told(usual, reads))
