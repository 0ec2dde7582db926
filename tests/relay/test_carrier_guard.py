"""A broken encoder behind its guard: what is written against the grammar is never sent, and what is sent says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Encoder, Fault, Stamp
from gateway.errors import GatewayError, InternalError, Malformed
from gateway.neutral.events import BlockKind, BlockStart, End, Event, Failed, Finish, Reason, Start, TextDelta
from gateway.neutral.pieces import ContentPiece, Piece
from gateway.neutral.request import Request
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Translation
from gateway.relay.machine import Abort, Close, GiveUp, Relay, Send, State

REQUEST = Request("m", (), stream=True)
ERRORS = {"openai": b'data: {"error":{', "anthropic": b"event: error\n"}
MESSAGE = b"the gateway broke the grammar of its own answer: "

clients = pytest.mark.parametrize("client", ERRORS)
Break = Callable[[list[Event], bytes], bytes]


class Broken:
    """An encoder whose bytes somebody spoils."""

    def __init__(self, inner: Encoder, spoil: Break) -> None:
        self.media_type, self.tells_failure, self.keep_alive = inner.media_type, inner.tells_failure, inner.keep_alive
        self._inner = inner
        self._spoil = spoil

    def encode(self, events: Iterable[Event]) -> bytes:
        events = list(events)
        return self._spoil(events, self._inner.encode(events))


def translation(client: str, spoil: Break) -> Translation:
    dialect = DIALECTS[client]
    encoder = Broken(dialect.encoder(REQUEST, Stamp("token", 7)), spoil)
    decoder = DIALECTS["openai"].decoder(DIALECTS["openai"].options())
    return Translation(decoder, Sequencer("seed"), encoder, unscrubbed, dialect.guard(REQUEST))


def unscrubbed(error: GatewayError) -> GatewayError:
    return error


def garbled(events: list[Event], data: bytes) -> bytes:
    return data.replace(b"data: ", b"date: ")


def word(text: str) -> list[Piece]:
    return [ContentPiece(BlockKind.TEXT, text)]


END: list[Piece] = [Finish(Reason.STOP), End()]


def begun(client: str, spoil: Break) -> Translation:
    """An answer that has begun well."""
    carrier = translation(client, spoil)
    batch = carrier.carry([Start(), *word("good")])
    assert b"good" in batch.data
    assert carrier.fault is None
    return carrier


# -- what the client gets --------------------------------------------------------------------------------------------


@clients
def test_a_bad_frame_becomes_an_error_frame_and_is_not_sent_itself(client: str) -> None:
    """Pitfall 44: instead of what was wrong, not behind it."""
    carrier = begun(client, lambda events, data: data.replace(b'"index":0', b'"index":1') if b"bad" in data else data)
    batch = carrier.carry(word("bad"))
    assert batch.data.startswith(ERRORS[client])
    assert batch.data.count(b"\n\n") == 1
    assert b"bad" not in batch.data
    assert batch.is_told
    (failed,) = batch.events
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InternalError)
    assert failed.error.message.encode() == MESSAGE + str(carrier.fault).encode()


@clients
def test_what_came_before_a_bad_frame_in_the_same_write_is_not_sent_either(client: str) -> None:
    """All of a write or nothing: an end in it was never said, so that the error can be."""
    carrier = begun(client, lambda events, data: data + data[-30:] if isinstance(events[-1], End) else data)
    batch = carrier.carry([*word("bad"), *END])
    assert batch.data.startswith(ERRORS[client])
    assert b"bad" not in batch.data
    assert batch.is_told


@clients
@pytest.mark.parametrize("end", [END, [Failed(Malformed("the upstream broke"))]], ids=["complete", "failed"])
def test_an_end_that_the_client_is_not_told_of_is_cut_or_an_error(client: str, end: list[Piece]) -> None:
    """Pitfalls 36, 43: a connection that closes properly behind half an answer would look like an end."""
    carrier = begun(client, lambda events, data: b"" if isinstance(events[-1], End | Failed) else data)
    batch = carrier.carry(end)
    assert carrier.fault is not None
    assert carrier.fault.frame == "end"
    assert (batch.data, batch.is_told) == (b"", False), "this encoder can't write an error either"


@clients
def test_an_end_that_was_forgotten_is_an_error_frame(client: str) -> None:
    carrier = begun(client, lambda events, data: b"" if isinstance(events[-1], End) else data)
    batch = carrier.carry(END)
    assert batch.data.startswith(ERRORS[client])
    assert batch.is_told


@clients
def test_a_client_that_has_its_end_gets_nothing_behind_it(client: str) -> None:
    """Not even an error: the fault stays between us and our log."""
    carrier = begun(client, lambda events, data: data or b": late\n\n")
    assert carrier.carry(END).is_told
    batch = carrier.carry([])
    assert carrier.fault is not None
    assert carrier.fault.state == "done"
    assert (batch.data, batch.is_told) == (b"", False)


@clients
def test_a_connection_is_cut_where_even_the_error_is_not_in_the_grammar(client: str) -> None:
    carrier = translation(client, garbled)
    batch = carrier.carry([Start(), *word("bad")])
    assert carrier.fault == Fault("new", "unknown")
    assert (batch.data, batch.is_told) == (b"", False)


# -- what the relay makes of it --------------------------------------------------------------------------------------


def first_bad(client: str) -> Batch:
    carrier = translation(client, lambda events, data: data[1:] if isinstance(events[0], Start) else data)
    return carrier.carry([Start(), *word("bad")])


@clients
def test_before_the_commit_point_it_is_a_status(client: str) -> None:
    """Ours alone: no other target would help."""
    batch = first_bad(client)
    (action,) = Relay().take(batch.events, batch.data, is_told=batch.is_told)
    assert isinstance(action, GiveUp)
    assert type(action.error) is InternalError
    assert not action.error.is_retryable


@clients
def test_behind_the_commit_point_it_ends_the_stream(client: str) -> None:
    relay = Relay()
    carrier = begun(client, lambda events, data: b"bad\n\n" if b"bad" in data else data)
    good: list[Event] = [Start(), BlockStart(0, BlockKind.TEXT), TextDelta(0, "good")]
    relay.take(good, b"good")
    batch = carrier.carry(word("bad"))
    assert relay.take(batch.events, batch.data, is_told=batch.is_told) == [Send(batch.data), Close()]
    assert relay.state is State.BROKEN


def test_an_error_that_can_not_be_told_cuts_the_connection() -> None:
    relay = Relay()
    relay.take([Start(), BlockStart(0, BlockKind.TEXT), TextDelta(0, "good")], b"good")
    batch = translation("openai", garbled).carry([Start()])
    assert relay.take(batch.events, batch.data, is_told=batch.is_told) == [Abort()]
    assert relay.is_over
