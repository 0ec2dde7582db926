"""An encoder of ours that is broken: the SDKs hear of it, the log names it, and nobody waits for what never comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import anthropic
import openai
import orjson
import pytest

from gateway import app
from gateway.attempt import Services
from gateway.dialects.anthropic.encoding import Encoder as MessagesEncoder
from gateway.dialects.base import Fault
from gateway.dialects.openai.encoding import Encoder as ChatEncoder
from gateway.dialects.responses.encoding import Encoder as ResponsesEncoder
from gateway.neutral.events import Event, TextDelta
from tests.e2e.clients import anthropic_sdk, openai_sdk
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import PATIENCE_S, HostileUpstream, Peer, Play, Seen
from tests.faults.voices import ANTHROPIC, OPENAI, Voice, chunk, hangs_after

GOOD, BAD = "Salt ", "wind "
SECRET: Final = "a canary in the answer"


def texts_of_openai(port: int, model: str) -> Iterator[str]:
    with openai_sdk(f"http://127.0.0.1:{port}") as client:
        for part in client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], stream=True
        ):
            yield part.choices[0].delta.content or ""


def texts_of_responses(port: int, model: str) -> Iterator[str]:
    with openai_sdk(f"http://127.0.0.1:{port}") as client:
        for event in client.responses.create(model=model, input="Hi", stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                assert event.response.error is not None
                raise ResponseFailed(event.response.error.message)


class ResponseFailed(Exception):
    """What a client of this API is told in an event, not by an exception (openai-responses.md §5)."""


def texts_of_anthropic(port: int, model: str) -> Iterator[str]:
    with (
        anthropic_sdk(f"http://127.0.0.1:{port}") as client,
        client.messages.stream(model=model, max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as answer,
    ):
        yield from answer.text_stream


@dataclass(frozen=True)
class Broken:
    """A client whose encoder adds a frame that is wrong, on an upstream of another dialect."""

    texts: Callable[[int, str], Iterator[str]]
    encoder: type[Any]
    voice: Voice
    frame: bytes
    fault: Fault
    raises: type[Exception]

    def spoil(self, monkeypatch: pytest.MonkeyPatch, behind: str) -> None:
        """From now on the frame follows this text."""
        encode = self.encoder.encode

        def spoilt(encoder: Any, events: Iterable[Event]) -> bytes:
            events = list(events)
            data: bytes = encode(encoder, events)
            is_behind = any(isinstance(event, TextDelta) and behind in event.text for event in events)
            return data + self.frame if is_behind else data

        monkeypatch.setattr(self.encoder, "encode", spoilt)


CLIENTS: Final = {
    "openai": Broken(
        texts_of_openai,
        ChatEncoder,
        ANTHROPIC,
        b"data: [DONE]\n\n",
        Fault("open", "terminator"),
        openai.APIError,
    ),
    "anthropic": Broken(
        texts_of_anthropic,
        MessagesEncoder,
        OPENAI,
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n',
        Fault("text", "stray"),
        anthropic.APIStatusError,
    ),
    "responses": Broken(
        texts_of_responses,
        ResponsesEncoder,
        ANTHROPIC,
        b'event: response.completed\ndata: {"type":"response.completed","response":{},"sequence_number":7}\n\n',
        Fault("text", "stray"),
        ResponseFailed,
    ),
}
every_client = pytest.mark.parametrize("name", CLIENTS)


def two_tokens(voice: Voice) -> Play:
    """The second one when the client has the first; then silence for ever."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.head, chunk(voice.opening + voice.token(GOOD)))
        await peer.released()
        await peer.send(chunk(voice.token(BAD + SECRET)))
        await peer.gone()

    return play


@every_client
def test_a_bad_frame_in_mid_stream_is_an_error_of_the_sdk(
    upstream: HostileUpstream,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """Pitfalls 43, 44, 47: told at once, though the upstream would have gone on; the upstream is hung up on."""
    client = CLIENTS[name]
    client.spoil(monkeypatch, behind=BAD)
    upstream.perform(two_tokens(client.voice))
    texts = client.texts(gateway.port, client.voice.upstream)
    heard = list(chain(first(texts), released(upstream)))
    begun = time.perf_counter()
    with pytest.raises(client.raises, match=f"broke the grammar of its own answer: {client.fault}") as caught:
        heard += texts
    assert time.perf_counter() - begun < PATIENCE_S / 2
    assert not isinstance(caught.value, openai.APIConnectionError | anthropic.APIConnectionError)
    assert "".join(heard) == GOOD, "the bad write was not sent"
    assert upstream.peers[-1].closed.wait(PATIENCE_S / 2)
    assert_logged(gateway, caplog, client.fault, status=200, end="broken")


def first(texts: Iterator[str]) -> Iterator[str]:
    """Up to the first text that is not empty."""
    for text in texts:
        yield text
        if text:
            return


def released(upstream: HostileUpstream) -> Iterator[str]:
    upstream.release()
    yield from ()


def one_token(voice: Voice) -> Play:
    return hangs_after(voice.head, chunk(voice.opening + voice.token(GOOD)))


@every_client
def test_a_bad_frame_before_the_commit_point_is_status_500(
    upstream: HostileUpstream,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """Pitfall 54, and no other target is tried: it would not help."""
    client = CLIENTS[name]
    client.spoil(monkeypatch, behind=GOOD)
    upstream.perform(one_token(client.voice))
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)) as caught:
        list(client.texts(gateway.port, f"spare-{client.voice.upstream}"))
    error: Any = caught.value
    assert error.status_code == 500
    assert str(client.fault) in error.message
    assert len(upstream.requests) == 1
    assert upstream.peers[-1].closed.wait(PATIENCE_S / 2)
    assert_logged(gateway, caplog, client.fault, status=500, end="refused")


def assert_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture, fault: Fault, *, status: int, end: str) -> None:
    """One line, as an error, which says what was wrong and nothing that the model said."""
    line = gateway.the_line()
    told = {"status": status, "end": end, "error": "internal", "grammar_fault": str(fault)}
    assert {key: line[key] for key in told} == told
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [orjson.loads(record.getMessage()) for record in errors] == [line]
    assert SECRET not in str(line)


@every_client
def test_faults_are_counted_for_the_whole_process(
    upstream: HostileUpstream, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made: list[Services] = []

    def make(*args: Any, **options: Any) -> Services:
        made.append(Services(*args, **options))
        return made[-1]

    monkeypatch.setattr(app, "Services", make)
    client = CLIENTS[name]
    client.spoil(monkeypatch, behind=GOOD)
    upstream.perform(one_token(client.voice))
    with gateway_in_thread(configuration(upstream.port)) as gateway:
        for _ in range(2):
            with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
                list(client.texts(gateway.port, client.voice.upstream))
    assert [dict(services.grammar_faults) for services in made] == [{(name, client.fault): 2}]
