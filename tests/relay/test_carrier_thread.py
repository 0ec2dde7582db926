"""An answer cut at any byte goes on in the same stream, in every dialect, with the real encoders and guards."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Stamp
from gateway.errors import GatewayError, InternalError, Truncated
from gateway.neutral.events import End, Event, Failed, Start, TextDelta
from gateway.neutral.request import Request
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Thread, Translation
from gateway.relay.splice import Splice, State
from tests.relay.test_carrier import FORMS, HELLO, frames

SECOND: dict[str, bytes] = {
    "openai": frames(
        {"id": "d", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"id": "d", "choices": [{"index": 0, "delta": {"content": " wor"}}]},
        {"id": "d", "choices": [{"index": 0, "delta": {"content": "ld"}}]},
        {"id": "d", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        "[DONE]",
    ),
    "anthropic": HELLO["anthropic"].replace("Hé".encode(), b" wor").replace(b'"llo"', b'"ld"'),
}
FIRSTS = [name for name in HELLO if name != "truss"]  # of raw text nobody knows whether it was cut


def unchanged(error: GatewayError) -> GatewayError:
    return error


@dataclass
class Client:
    """What one client got, over as many upstreams as it took."""

    dialect: str
    data: bytes = b""
    cut: GatewayError | None = None
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        dialect = DIALECTS[self.dialect]
        request = Request("m", (), stream=True, include_usage=True, form=FORMS[self.dialect])
        self.thread = Thread(Splice(), dialect.encoder(request, Stamp("token", 7)), dialect.guard(request))

    def of(self, upstream: str) -> Translation:
        decoder = DIALECTS[upstream].decoder(DIALECTS[upstream].options())
        thread = self.thread
        return Translation(decoder, Sequencer("seed"), thread.encoder, unchanged, thread.guard, thread.splice)

    def take(self, batch: Batch) -> None:
        self.data += batch.data
        self.events += batch.events
        self.cut = batch.cut

    def carry(self, upstream: str, data: bytes) -> Translation:
        carrier = self.of(upstream)
        self.take(carrier.feed(data))
        if self.cut is None and not (self.events and type(self.events[-1]) in (End, Failed)):
            self.take(carrier.eof(is_framed=True))
        assert carrier.fault is None
        return carrier

    @property
    def told(self) -> list[Event]:
        """What the client makes of its bytes."""
        decoder = DIALECTS[self.dialect].decoder(DIALECTS[self.dialect].options())
        return Sequencer().feed([*decoder.feed(self.data), *decoder.eof(is_framed=True)[1]])


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("client", FORMS)
@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("second", SECOND)
def test_cut_at_any_byte_the_client_gets_one_whole_answer(client: str, first: str, second: str) -> None:
    """Until content came, the failure is told as ever; behind the finish too. In between, the answer goes on."""
    continued = 0
    for at in range(len(HELLO[first])):
        got = Client(client)
        got.carry(first, HELLO[first][:at])
        prefix = got.thread.splice.text
        if got.cut is None:
            continue
        continued += 1
        got.thread.splice.resume()
        got.carry(second, SECOND[second])
        assert got.cut is None
        assert text_of(got.told) == prefix + " world"
        assert type(got.told[-1]) is End
        assert [type(event) for event in got.told].count(Start) == 1
        assert fold(got.told).text() == prefix + " world"
    assert continued > len(HELLO[first]) // 10


@pytest.mark.parametrize("client", FORMS)
def test_the_continuation_may_be_cut_into_bytes_too(client: str) -> None:
    got = Client(client)
    got.carry("openai", HELLO["openai"][: HELLO["openai"].index(b"llo")])
    got.thread.splice.resume()
    carrier = got.of("anthropic")
    for byte in SECOND["anthropic"]:
        got.take(carrier.feed(bytes([byte])))
    assert text_of(got.told) == "Hé world"


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_where_nobody_goes_on_the_client_is_told_in_the_same_answer(client: str) -> None:
    """As of any stream that breaks: an error frame, and no terminator."""
    got = Client(client)
    cut_at = HELLO["openai"].index(b"llo")
    carrier = got.carry("openai", HELLO["openai"][:cut_at])
    assert isinstance(got.cut, Truncated)
    got.take(carrier.fail(got.cut))
    assert got.thread.splice.state is State.OVER
    plain = Client(client)
    plain.thread = Thread(Splice(max_cuts=0), plain.thread.encoder, plain.thread.guard)
    plain.carry("openai", HELLO["openai"][:cut_at])
    assert got.data == plain.data
    assert isinstance(got.told[-1], Failed)


def test_the_end_of_the_process_is_told_while_an_answer_is_cut() -> None:
    """Nobody goes on then; the error is the gateway's own."""
    got = Client("openai")
    carrier = got.carry("openai", HELLO["openai"][: HELLO["openai"].index(b"llo")])
    got.take(carrier.fail(InternalError("shutting down")))
    assert b"shutting down" in got.data


def test_the_end_of_the_process_is_told_while_the_rest_is_waited_for() -> None:
    got = Client("responses")
    got.carry("openai", HELLO["openai"][: HELLO["openai"].index(b"llo")])
    got.thread.splice.resume()
    carrier = got.of("openai")
    got.take(carrier.feed(SECOND["openai"][:20]))
    got.take(carrier.fail(InternalError("shutting down")))
    assert b"response.failed" in got.data


def test_the_clients_usage_is_that_of_both() -> None:
    got = Client("anthropic")
    got.carry("anthropic", HELLO["anthropic"][: HELLO["anthropic"].index(b"llo")])
    got.thread.splice.resume()
    got.carry("openai", SECOND["openai"])
    delta = next(line for line in got.data.splitlines() if b'"message_delta"' in line and line.startswith(b"data"))
    usage = orjson.loads(delta.removeprefix(b"data: "))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (12, 3)
