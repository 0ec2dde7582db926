"""The real gateway on real sockets, with a configuration that points at a hostile upstream."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from gateway import app
from gateway.config import Config, parse
from gateway.server import Server
from tests.faults.callers import CALLERS
from tests.faults.hostile_upstream import until
from tests.faults.voices import VOICES

KEY: Final = "sk-our-own-upstream-credential-0123456789"
PAIRS: Final = [(caller, voice) for caller in CALLERS for voice in VOICES]
PAIR_IDS: Final = [f"{caller.name}-of-{voice.name}" for caller, voice in PAIRS]
"""All sixteen pairs of dialects, Truss in both its forms."""


def settings(port: int, *, server: dict[str, Any] | None = None, timeouts: dict[str, str] | None = None) -> bytes:
    """A routes.yaml (JSON is YAML). Each dialect is a route; `quick-` has short deadlines, `spare-` a second target."""
    urls = {
        "openai": f"http://127.0.0.1:{port}/v1",
        "anthropic": f"http://127.0.0.1:{port}",
        "responses": f"http://127.0.0.1:{port}/v1",
        "truss": f"http://127.0.0.1:{port}/predict",
    }
    upstreams: dict[str, Any] = {
        name: {"dialect": name, "url": url, "key": KEY, "breaker": False} for name, url in urls.items()
    }
    quick = timeouts or {"first_token": "250ms", "idle": "250ms", "total": "20s"}
    routes: dict[str, Any] = {}
    for name in urls:
        target = {"upstream": name, "model": "first"}
        routes[name] = {"targets": [target]}
        routes[f"quick-{name}"] = {"targets": [target], "timeouts": quick}
        routes[f"spare-{name}"] = {
            "targets": [target],
            "fallback": [{"upstream": name, "model": "second"}],
            "timeouts": quick,
        }
        routes[f"brief-{name}"] = {"targets": [target], "timeouts": {"total": "400ms"}}
    two = {
        "targets": [{"upstream": "openai", "model": "first"}],
        "fallback": [{"upstream": "openai", "model": "second"}],
    }
    routes["brief-spare"] = {**two, "timeouts": {"total": "400ms"}}
    routes["stuck-openai"] = {"targets": two["targets"], "timeouts": {"total": "1s"}}
    for route in routes.values():  # what a retry waits for is shown where retries are
        route["retries"] = {"backoff": "1ms", "max_retry_after": "0s"}
    limits = {"port": "0", **(server or {})}
    return orjson.dumps({"server": limits, "upstreams": upstreams, "routes": routes})


def configuration(port: int, **limits: Any) -> Config:
    return parse(settings(port, server=limits), "faults.yaml", {})


@dataclass
class Gateway:
    """A running gateway. `lines` are its access log, one dictionary a request, `news` what it says of upstreams."""

    port: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None
    running: int = 0

    def forget(self) -> None:
        """What happened so far, once it is all over."""
        until(lambda: not self.running, "every request is over")
        self.lines.clear()
        self.failures.clear()

    def the_line(self) -> dict[str, Any]:
        """The one line of the one request since `forget`."""
        until(lambda: bool(self.lines), "a log line was written")
        assert len(self.lines) == 1, self.lines
        return self.lines[0]

    @property
    def tasks(self) -> int:
        assert self.loop is not None
        return len(asyncio.all_tasks(self.loop))


class _Collector(logging.Handler):
    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "triglot.access":
            self._gateway.lines.append(orjson.loads(record.getMessage()))
        elif record.name == "triglot.upstreams":
            self._gateway.news.append(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._gateway.failures.append(f"{record.getMessage()} {record.exc_info}")


@contextmanager
def gateway_in_thread(config: Config) -> Iterator[Gateway]:
    """The gateway in this process, on its own loop; fails the block if it logged a failure of its own."""
    gateway = Gateway()
    inner = app.build(config)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        gateway.loop = asyncio.get_running_loop()
        gateway.running += scope["type"] == "http"
        try:
            await inner(scope, receive, send)
        finally:
            gateway.running -= scope["type"] == "http"

    collector = _Collector(gateway)
    loggers = [logging.getLogger("triglot"), logging.getLogger("uvicorn.error"), logging.getLogger("asyncio")]
    loggers[0].setLevel(logging.INFO)  # for good: gateways of several scopes end in any order
    for logger in loggers:
        logger.addHandler(collector)
    try:
        with Server(outer, config.server, app.refuse).in_thread() as server:
            gateway.port = server.port
            yield gateway
    finally:
        for logger in loggers:
            logger.removeHandler(collector)


@dataclass(frozen=True, slots=True)
class Process:
    """A gateway in a process of its own."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The access log so far, one dictionary a request."""
        return [line for line in self._objects() if "request_id" in line]

    @property
    def said(self) -> str:
        """All else that it said so far: what stands in no object, and the messages of those that hold one."""
        plain = [line for line in self.log.read_text().splitlines() if not line.startswith("{")]
        return "\n".join([*plain, *(_message(line) for line in self._objects() if "message" in line)]) + "\n"

    def _objects(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines() if line.startswith(b"{")]

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _message(line: dict[str, Any]) -> str:
    worker = f"worker {line['worker']}: " if "worker" in line else ""
    return f"{worker}{line['message']}{line.get('exception', '')}"


@contextmanager
def gateway_process(folder: Path, routes: bytes, port: int, *options: str) -> Iterator[Process]:
    """`triglot serve` on a port that was free a moment ago."""
    path = folder / "routes.yaml"
    path.write_bytes(routes)
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", str(port), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: is_open(port) or process.poll() is not None, "the gateway listens", 20)
            assert process.poll() is None, (folder / "log").read_text()
            yield Process(process, port, folder / "log")
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def watched(read: Any, seconds: float) -> list[int]:
    """A figure over a span of time: what is being shown is that nothing happens in it."""
    end, values = time.perf_counter() + seconds, [read()]
    while time.perf_counter() < end:
        time.sleep(0.05)
        values.append(read())
    return values
