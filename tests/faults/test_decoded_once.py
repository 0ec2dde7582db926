"""A large body that is relayed in its own dialect is not decoded more than once, in either direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest

from gateway.dialects import DIALECTS
from tests.bench.streams import VOICES
from tests.faults.callers import FOUR, Caller, ask
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen

MB: Final = 1_000_000
REST: Final = 50_000
"""Bytes of all that is decoded and written beside a large body: its frames, the log line, ids."""
EACH: Final = MB // 4
"""Bytes of text in one event of a stream."""

each_caller = pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)


@dataclass
class Json:
    """Bytes that were decoded from JSON, also in vain, and written as JSON, in this process."""

    decoded: int = 0
    written: int = 0

    def forget(self) -> None:
        """What the test itself did."""
        self.decoded = self.written = 0


@pytest.fixture
def json(monkeypatch: pytest.MonkeyPatch) -> Iterator[Json]:
    counted, loads, dumps = Json(), orjson.loads, orjson.dumps

    def counting_loads(data: Any) -> Any:
        counted.decoded += len(data)
        return loads(data)

    def counting_dumps(value: Any, *options: Any) -> bytes:
        written = dumps(value, *options)
        counted.written += len(written)
        return written

    monkeypatch.setattr(orjson, "loads", counting_loads)
    monkeypatch.setattr(orjson, "dumps", counting_dumps)
    simple = [dialect for dialect in DIALECTS.values() if dialect.skim is loads]
    for dialect in simple:
        object.__setattr__(dialect, "skim", counting_loads)
    yield counted
    for dialect in simple:
        object.__setattr__(dialect, "skim", loads)


def told(upstream: HostileUpstream, media_type: str, body: bytes) -> None:
    """What the upstream answers to everybody."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(head + body)

    upstream.perform(play)


@each_caller
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_request_is_decoded_once_and_written_once(
    caller: Caller, stream: bool, gateway: Gateway, upstream: HostileUpstream, json: Json
) -> None:
    voice = VOICES[caller.dialect]
    media_type, answer = (
        (voice.media_type, voice.opening + voice.text("It works.") + voice.closing)
        if stream
        else ("application/json", voice.whole)
    )
    told(upstream, media_type, answer)
    request = caller.request(caller.dialect, stream=stream, **large(caller))
    json.forget()
    reply = ask(gateway.port, request)
    assert (reply.status, reply.body) == (200, answer)
    assert len(upstream.requests[0].body) > MB
    assert MB < json.decoded < MB + REST
    assert MB < json.written < MB + REST


@each_caller
def test_a_whole_answer_is_decoded_at_most_once_and_never_written_anew(
    caller: Caller, gateway: Gateway, upstream: HostileUpstream, json: Json
) -> None:
    answer = VOICES[caller.dialect].whole.replace(b"It works.", b"y" * MB)
    told(upstream, "application/json", answer)
    request = caller.request(caller.dialect, stream=False)
    json.forget()
    reply = ask(gateway.port, request)
    assert (reply.status, reply.body) == (200, answer)
    assert json.decoded < MB + REST
    assert json.written < REST


@each_caller
def test_a_stream_is_decoded_at_most_once_and_never_written_anew(
    caller: Caller, gateway: Gateway, upstream: HostileUpstream, json: Json
) -> None:
    voice = VOICES[caller.dialect]
    answer = voice.opening + voice.text("y" * EACH) * 4 + voice.closing
    told(upstream, voice.media_type, answer)
    request = caller.request(caller.dialect)
    json.forget()
    reply = ask(gateway.port, request)
    assert (reply.status, reply.body) == (200, answer)
    assert json.decoded < MB + REST
    assert json.written < REST


def large(caller: Caller) -> dict[str, Any]:
    """Fields of a body with a megabyte of text in it."""
    text = "x" * MB
    if caller.dialect == "truss":
        return {"prompt": text}
    return {"input": text} if caller.dialect == "responses" else {"messages": [{"role": "user", "content": text}]}
