"""The loop between upstream and client: what is read, written, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import GatewayError, Malformed, TooSlow, Truncated
from gateway.neutral.events import Start
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import PassThrough
from gateway.relay.machine import State
from gateway.relay.pump import Pump
from gateway.relay.sink import Aborted, Sink
from gateway.relay.watchdog import Deadlines, Watchdog
from gateway.telemetry.timeline import Timeline
from gateway.upstreams.client import Answer
from gateway.wire.extensions import ABORT

HELLO = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
LONG = 60.0
MAX_ANSWER = 1000


class Client:
    """The client's end: what it received, and how its response ended."""

    def __init__(self, on_send: Callable[[], None] = lambda: None, **scope: Any) -> None:
        self.messages: list[Mapping[str, Any]] = []
        self.is_cut = False
        self._on_send = on_send
        self.scope: dict[str, Any] = {"extensions": {ABORT: self._cut}, **scope}

    async def send(self, message: Mapping[str, Any]) -> None:
        self._on_send()
        self.messages.append(message)

    def _cut(self) -> None:
        self.is_cut = True

    @property
    def body(self) -> list[bytes]:
        return [message["body"] for message in self.messages if message["type"] == "http.response.body"]

    @property
    def is_complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


def head(start: Start | None) -> Mapping[str, str]:
    return {"content-type": "text/event-stream", "x-start": start.id or "" if start else "none"}


def pump_to(client: Client, dialect: str = "openai") -> Pump:
    decoder = DIALECTS[dialect].decoder(DIALECTS[dialect].options())
    carrier = PassThrough(decoder, Sequencer(), lambda error: error)
    return Pump(
        carrier, Sink(client.scope, client.send, head, MAX_ANSWER), Watchdog(Deadlines(LONG, LONG, LONG)), Timeline(0)
    )


def answer(stream: AsyncIterator[bytes]) -> Answer:
    return Answer(200, {"transfer-encoding": "chunked"}, stream)


async def chunks(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def carried(*parts: bytes | Exception, client: Client | None = None, dialect: str = "openai") -> Client:
    client = client or Client()
    await pump_to(client, dialect).carry(answer(chunks(*parts)))
    return client


async def test_one_read_makes_one_write() -> None:
    """The head waits for content, then every chunk goes out as it came."""
    client = await carried(HELLO, TEXT, TEXT + TEXT, FINISH + DONE)
    assert client.body == [HELLO + TEXT, TEXT + TEXT, FINISH + DONE]
    assert client.messages[0]["status"] == 200
    assert client.is_complete


async def test_the_upstream_is_read_only_after_the_client_took_what_came() -> None:
    """Backpressure by construction: there is no queue between the two."""
    log: list[str] = []

    async def noted() -> AsyncIterator[bytes]:
        for part in (TEXT, TEXT, FINISH + DONE):
            log.append("read")
            yield part

    client = Client(on_send=lambda: log.append("write"))
    await pump_to(client).carry(answer(noted()))
    assert log == ["read", "write", "write", "read", "write", "read", "write"]


@pytest.mark.parametrize("parts", [[HELLO], [HELLO, b"data: {odd\n\n"], [HELLO, httpx.ReadError("reset")], []])
async def test_a_failure_before_any_content_is_raised_and_nothing_is_sent(parts: list[bytes | Exception]) -> None:
    """So that another target may be tried."""
    client = Client()
    with pytest.raises((Truncated, Malformed)):
        await carried(*parts, client=client)
    assert client.messages == []


@pytest.mark.parametrize("broken", [httpx.ReadError("reset"), b"data: {odd\n\n", b""], ids=["reset", "odd", "cut"])
async def test_a_failure_after_content_is_told_and_the_response_completed(broken: bytes | Exception) -> None:
    """Never a clean end: the error is the last frame, and no terminator follows it."""
    client = await carried(TEXT, broken)
    told = b"".join(client.body)
    assert told.startswith(TEXT + b'data: {"error":')
    assert DONE not in told
    assert client.is_complete


async def test_raw_text_that_breaks_is_cut() -> None:
    """There is no word for it, so the last chunk never comes."""
    client = await carried(b"Hello", httpx.ReadError("reset"), dialect="truss")
    assert b"".join(client.body) == b"Hello"
    assert client.is_cut
    assert not client.is_complete


async def test_a_server_without_our_extension_is_cut_by_an_exception() -> None:
    with pytest.raises(Aborted):
        await carried(b"Hello", httpx.ReadError("reset"), dialect="truss", client=Client(extensions={}))


async def test_the_end_of_a_finished_body_is_waited_for_only_shortly() -> None:
    """Its connection can be used again if it comes, and the client is not kept if it doesn't."""
    client, rests = Client(), asyncio.Event()

    async def lingering() -> AsyncIterator[bytes]:
        yield TEXT + FINISH + DONE
        rests.set()
        await anyio.sleep(LONG)

    with anyio.fail_after(LONG / 2):
        await pump_to(client).carry(answer(lingering()))
    assert rests.is_set()
    assert client.is_complete


async def test_a_deadline_is_told_like_any_failure() -> None:
    client = Client()
    pump = pump_to(client)
    await pump.carry(answer(chunks(TEXT, FINISH)))
    assert pump.relay.state is State.DONE

    late = Client()
    pump = pump_to(late)
    with anyio.move_on_after(0.01):
        await pump.carry(answer(_then_silence(TEXT)))
    await pump.break_off(TooSlow("no next event within 60 s"))
    assert b"no next event within 60 s" in late.body[1]
    assert late.is_complete


async def test_a_deadline_after_the_finish_is_the_end() -> None:
    """mapping.md §9.1: all content is there, only usage never came."""
    client = Client()
    pump = pump_to(client)
    with anyio.move_on_after(0.01):
        await pump.carry(answer(_then_silence(TEXT + FINISH)))
    await pump.break_off(TooSlow("no end within 5 s"))
    assert pump.relay.state is State.DONE
    assert client.body == [TEXT + FINISH, b""]


async def _then_silence(part: bytes) -> AsyncIterator[bytes]:
    yield part
    await anyio.sleep(LONG)


async def test_old_clients_get_the_body_whole_or_not_at_all() -> None:
    """HTTP/1.0 has no last chunk that could be missing."""
    client = await carried(HELLO, TEXT, FINISH + DONE, client=Client(http_version="1.0"))
    body = HELLO + TEXT + FINISH + DONE
    assert client.body == [body]
    assert client.headers[b"content-length"] == str(len(body)).encode()

    large = Client(http_version="1.0")
    with pytest.raises(Malformed, match=f"the answer exceeds {MAX_ANSWER} bytes"):
        await carried(HELLO, *[TEXT] * 20, client=large)
    assert large.messages == []

    cut = Client(http_version="1.0")
    with pytest.raises(Truncated):  # nothing was sent yet, so the error becomes the response
        await carried(b"Hello", httpx.ReadError("x"), client=cut, dialect="truss")
    assert (cut.messages, cut.is_cut) == ([], False)


async def test_the_head_knows_the_upstreams_own_start() -> None:
    client = await carried(TEXT.replace(b"{", b'{"id":"theirs",', 1), FINISH + DONE)
    assert client.headers[b"x-start"] == b"theirs"


async def test_a_relay_is_measured_as_it_goes() -> None:
    """First content, count and finish, by the loop's clock."""
    timeline = Timeline(asyncio.get_running_loop().time())
    client = Client()
    decoder = DIALECTS["openai"].decoder(DIALECTS["openai"].options())
    sink = Sink(client.scope, client.send, head, MAX_ANSWER)
    carrier = PassThrough(decoder, Sequencer(), _unchanged)
    pump = Pump(carrier, sink, Watchdog(Deadlines(LONG, LONG, LONG)), timeline)
    await pump.carry(answer(chunks(HELLO, TEXT, TEXT, FINISH, DONE)))
    assert timeline.content_events == 3
    assert timeline.ttft_s is not None
    assert 0 <= timeline.ttft_s < LONG
    assert timeline.finish is not None


def _unchanged(error: GatewayError) -> GatewayError:
    return error
