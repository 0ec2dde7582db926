"""The real gateway and real upstreams on real sockets: in threads of this process, or as `triglot serve`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from gateway import app
from gateway.config import Config, parse
from gateway.config import Server as Settings
from gateway.dialects import DIALECTS
from gateway.server import Server
from gateway.simulator.app import SimulatorApp

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 20.0

# Upstreams as an operator would write them: their dialect, where their API begins, and what they are told.
KINDS: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = {
    "openai": ("openai", "/v1", {}),
    "anthropic": ("anthropic", "", {}),
    "responses": ("responses", "/v1", {}),
    "truss": ("truss", "/predict", {"input": "messages"}),
    "raw": ("truss", "/predict", {"input": "prompt"}),
}


class Scripted:
    """A simulator whose script stands in the path, `/as/fault=cut@3/v1/…`, so that one server plays every part."""

    def __init__(self) -> None:
        self._simulator = SimulatorApp()
        self.calls: list[str] = []
        self.active: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/as/"):
            await self._simulator(scope, receive, send)
            return
        _, _, script, rest = scope["path"].split("/", 3)
        self.calls.append(script)
        self.active[script] += 1
        try:
            await self._simulator({**scope, "path": f"/{rest}", "query_string": script.encode()}, receive, send)
        finally:
            self.active[script] -= 1


ONCE: Final = {"same_target": 0}
"""No target is tried twice: what a single failure does to a client is to be seen."""


@dataclass(frozen=True)
class World:
    """A gateway, and one simulator for each dialect behind it."""

    gateway: int
    simulators: Mapping[str, int]
    scripted: Mapping[str, Scripted]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway}"

    def upstream_url(self, kind: str, script: str) -> str:
        """The base URL of an upstream that performs a script."""
        return upstream_url(self.simulators, kind, script)

    def calls(self, script: str) -> int:
        """How often upstreams were called to perform a script."""
        return sum(simulator.calls.count(script) for simulator in self.scripted.values())

    def active(self, script: str) -> int:
        """How many upstreams are performing a script just now."""
        return sum(simulator.active[script] for simulator in self.scripted.values())


def upstream_url(ports: Mapping[str, int], kind: str, script: str) -> str:
    """Where the simulator of a kind of upstream performs a script."""
    dialect, path, _ = KINDS[kind]
    return f"http://127.0.0.1:{ports[dialect]}/as/{script}{path}"


def upstream(ports: Mapping[str, int], kind: str, script: str, **further: Any) -> dict[str, Any]:
    """The entry of an upstream in a routes file. `further`: options besides those of its kind."""
    dialect, _, options = KINDS[kind]
    return {"dialect": dialect, "url": upstream_url(ports, kind, script), "options": options | further}


def route_name(kind: str, script: str) -> str:
    """The model name under which a world serves a kind of upstream with a script."""
    return f"{kind}:{script}"


def config_of(upstreams: Mapping[str, Any], routes: Mapping[str, Any], **server: Any) -> Config:
    """A configuration, validated as a file is."""
    document = {"server": {"port": 0, **server}, "upstreams": upstreams, "routes": routes}
    return parse(orjson.dumps(document), "test", {})


@contextmanager
def simulators() -> Iterator[tuple[dict[str, int], dict[str, Scripted]]]:
    """A simulator for each dialect: their ports, and the servers themselves."""
    scripted = {dialect: Scripted() for dialect in DIALECTS}
    with ExitStack() as stack:
        running = {
            dialect: stack.enter_context(Server(simulator, Settings(port=0), app.refuse).in_thread())
            for dialect, simulator in scripted.items()
        }
        yield {dialect: server.port for dialect, server in running.items()}, scripted


@contextmanager
def gateway(config: Config) -> Iterator[int]:
    """The gateway in a thread; its port."""
    with Server(app.build(config), config.server, app.refuse).in_thread() as running:
        yield running.port


@contextmanager
def world(*scripts: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[World]:
    """A gateway with a route `kind:script` to each kind of upstream performing each script.

    `options`: further ones, by the kind of upstream.
    """
    further = options or {}
    with simulators() as (ports, scripted):
        pairs = [(kind, script) for kind in KINDS for script in scripts]
        upstreams = {route_name(*pair): upstream(ports, *pair, **further.get(pair[0], {})) for pair in pairs}
        routes = {name: {"targets": [{"upstream": name}], "retries": ONCE} for name in upstreams}
        with gateway(config_of(upstreams, routes)) as port:
            yield World(port, ports, scripted)


# -- as a process ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(log: Path, *options: str) -> Iterator[str]:
    """`triglot serve` in a process of its own, as `make serve` starts it; its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), *options]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, "NO_COLOR": "1"}) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(f"{url}/readyz", process, log, START_S)
            yield url
        finally:
            process.terminate()
            process.wait(START_S)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path, limit_s: float) -> None:
    """Until the URL answers 200. Raises with the log if the process ends or the time is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)  # asked again until it answers or the deadline is over
    raise RuntimeError(f"{url} does not answer; {log.read_text(errors='replace')[-2000:]}")
