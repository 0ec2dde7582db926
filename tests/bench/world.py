"""The whole gateway between two connections in memory: a client's, and one to an upstream of any dialect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import orjson

from gateway import app
from gateway.config import Config, parse
from gateway.server import Server
from tests.bench import memory
from tests.bench.carriers import EVENTS, WARM
from tests.bench.counting import Counter, Work
from tests.bench.memory import Asked, Loop, Memory
from tests.bench.streams import VOICES, chunked, streamed_head, whole_answer

_LAST: Final = b"0\r\n\r\n"
_TURNS: Final = [{"role": "user", "content": "Does it work? " * 15}]
_CALLS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "openai": ("/v1/chat/completions", {"messages": _TURNS, "max_tokens": 100}),
    "anthropic": ("/v1/messages", {"messages": _TURNS, "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": _TURNS, "max_output_tokens": 100}),
    "truss": ("/model-{model}/production/predict", {"prompt": _TURNS[0]["content"], "max_tokens": 100}),
}
_URLS: Final = {
    "openai": "http://127.0.0.1:1/v1",
    "anthropic": "http://127.0.0.1:2",
    "responses": "http://127.0.0.1:3/v1",
    "truss": "http://127.0.0.1:4/production/predict",
}
_REQUESTS: Final = 2
"""How many are counted, after as many that aren't."""


class Cost(NamedTuple):
    """What was executed for something, and what the event loop was asked for."""

    work: Work
    asked: Asked


def _configuration(*, metrics: bool) -> Config:
    upstreams = {name: {"dialect": name, "url": url, "key": "sk-0123456789"} for name, url in _URLS.items()}
    upstreams["truss"]["options"] = {"input": "prompt"}  # type: ignore[assignment]
    routes = {name: {"targets": [{"upstream": name, "model": "upstream-model"}]} for name in _URLS}
    return parse(
        orjson.dumps({"server": {"port": 0, "metrics": metrics}, "upstreams": upstreams, "routes": routes}), "bench", {}
    )


def _request(client: str, model: str, *, stream: bool) -> bytes:
    path, template = _CALLS[client]
    body = orjson.dumps({"model": model, **template, "stream": stream})
    lines = [
        f"POST {path.format(model=model)} HTTP/1.1",
        "host: 127.0.0.1:8080",
        "user-agent: bench",
        "authorization: Bearer sk-client",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class World:
    """One client on a kept connection; upstreams keep theirs."""

    def __init__(self, loop: Loop, server: Server) -> None:
        self._loop = loop
        self._client = Memory(loop)
        config = server.config
        config.load()
        connect: Any = config.http_protocol_class
        self._connection = connect(config=config, server_state=server.server_state, app_state={}, _loop=loop)
        self._client.set_protocol(self._connection)
        self._loop.perform(self._connection.connection_made, self._client)

    def streamed(self, upstream: str, client: str) -> Cost:
        """What one event of a stream costs, one in each read, from the one connection to the other."""
        voice = VOICES[upstream]
        peer = self._begin(upstream, client, stream=True)
        self._answer(peer, streamed_head(voice), *map(chunked, filter(None, [voice.opening])))
        self._answer(peer, *map(chunked, voice.texts(WARM)))
        self._client.take()
        frames = [chunked(frame) for frame in voice.texts(EVENTS)]
        cost = self._counted(EVENTS, lambda: self._answer(peer, *frames))
        assert self._client.written.count(b"\r\n") >= 2 * EVENTS, "each read is written at once"
        self._end(peer, upstream)
        return cost

    def requested(self, upstream: str, client: str, *, stream: bool) -> Cost:
        """What a request costs: one for a stream has one event of text."""
        self._times(_REQUESTS, upstream, client, stream=stream)
        return self._counted(_REQUESTS, lambda: self._times(_REQUESTS, upstream, client, stream=stream))

    def _times(self, times: int, upstream: str, client: str, *, stream: bool) -> None:
        for _ in range(times):
            self._one(upstream, client, stream=stream)

    def _one(self, upstream: str, client: str, *, stream: bool) -> None:
        voice = VOICES[upstream]
        peer = self._begin(upstream, client, stream=stream)
        if stream:
            self._answer(peer, streamed_head(voice) + b"".join(map(chunked, filter(None, [voice.opening]))))
            self._answer(peer, chunked(voice.text(" It works.")))
            self._end(peer, upstream)
        else:
            self._answer(peer, whole_answer(voice))
            self._check(b"It works.")

    def _begin(self, upstream: str, client: str, *, stream: bool) -> Memory:
        """Sends a request; the connection on which it reached the upstream."""
        self._client.take()
        self._loop.perform(self._connection.data_received, _request(client, upstream, stream=stream))
        called = [peer for peer in self._loop.connections if peer.written]
        assert len(called) == 1, f"{len(called)} upstreams were called: {self._client.written!r}"
        called[0].take()
        return called[0]

    def _answer(self, peer: Memory, *parts: bytes) -> None:
        """Each part in a read of its own."""
        receive = peer.get_protocol().data_received  # type: ignore[attr-defined]
        for part in parts:
            assert peer.is_reading()
            self._loop.perform(receive, part)

    def _end(self, peer: Memory, upstream: str) -> None:
        closing = VOICES[upstream].closing
        self._answer(peer, (chunked(closing) if closing else b"") + _LAST)
        self._check(_LAST)

    def _check(self, mark: bytes) -> None:
        written = self._client.take()
        assert mark in written, written[-500:]

    def _counted(self, times: int, act: Callable[[], None]) -> Cost:
        before = self._loop.asked
        with Counter(memory.__file__, __file__) as counter:
            act()
        return Cost(counter.work.per(times), self._loop.asked.since(before).per(times))


@contextmanager
def world(*, metrics: bool = True) -> Iterator[World]:
    """A gateway that has started, and stops at the end of the block. Its log lines are made, and go nowhere."""
    loop, stopping = Loop(), asyncio.Event()
    config = _configuration(metrics=metrics)
    gateway = app.build(config)
    sent: list[str] = []
    told: Iterable[str] = iter(["lifespan.startup"])

    async def receive() -> dict[str, str]:
        for kind in told:
            return {"type": kind}
        await stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def live() -> None:
        await gateway({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    with _silent_log():
        life = loop.create_task(live())
        loop.perform(int)
        assert sent == ["lifespan.startup.complete"], sent
        try:
            yield World(loop, Server(gateway, config.server, app.refuse))
        finally:
            for peer in loop.connections:
                loop.perform(peer.close)
            stopping.set()
            loop.run_until_complete(life)
            loop.close()


@contextmanager
def _silent_log() -> Iterator[None]:
    logger, handler = logging.getLogger("triglot.access"), _Nowhere()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Nowhere(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)
