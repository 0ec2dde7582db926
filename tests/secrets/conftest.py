"""One gateway, asked everything there is to ask, and all that it ever said."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.faults.harness import free_port, is_open
from tests.faults.hostile_upstream import HostileUpstream, Play, Seen, hostile_upstream, until
from tests.secrets.calls import KINDS, SHOWN, Kind, refused, request
from tests.secrets.endings import ENDINGS, OWN, SILENT, VOICES, play
from tests.secrets.planted import CLIENT_KEY, SEAL_KEY, UPSTREAM_KEYS
from tests.secrets.spoilt_gateway import SPOILT_ANSWER, SPOILT_REQUEST

PATIENCE_S: Final = 20.0
_AT_ONCE: Final = 8
_UPSTREAMS: Final = {
    "openai": ("openai", "/v1"),
    "anthropic": ("anthropic", ""),
    "responses": ("responses", "/v1"),
    "truss": ("truss", "/predict"),
    OWN: ("openai", "/v1"),
}
"""The dialect of each, and where its API begins."""
_PAGES: Final = ("/", "/livez", "/readyz", "/metrics", "/v1/models", "/v1/models/openai:fine", "/v1/nowhere", "/docs")


@dataclass
class Evidence:
    """All that was said in a run. `replies` are raw bytes, by what was asked; `seen` is what upstreams got."""

    log: bytes = b""
    replies: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(int(reply.split(b" ", 2)[1]) for reply in self.replies.values() if reply)


def routes(port: int) -> bytes:
    """A routes file: for each dialect and each ending an upstream, whose path says how it is to end."""
    upstreams: dict[str, Any] = {}
    for name, (dialect, path) in _UPSTREAMS.items():
        key = "client" if name == OWN else f"${{KEY_{name.upper()}}}"
        for ending in ENDINGS:
            url = f"http://127.0.0.1:{port}/{name}/{ending}{path}"
            upstreams[f"{name}-{ending}"] = {"dialect": dialect, "url": url, "key": key}
    plain: dict[str, Any] = {
        name.replace("-", ":", 1): {"targets": [{"upstream": name}], "retries": {"same_target": 0}}
        for name in upstreams
    }
    for name in _UPSTREAMS:
        plain[f"{name}:{SILENT}"]["timeouts"] = {"total": "200ms"}
    plain[SPOILT_REQUEST] = plain[SPOILT_ANSWER] = {"targets": [{"upstream": "anthropic-fine"}]}
    plain["spare"] = {"targets": [{"upstream": "openai-500"}], "fallback": [{"upstream": "truss-400"}]}
    plain["claude-*"] = {"targets": [{"upstream": "anthropic-fine"}]}
    server = {"seal_key": "${SEAL_KEY}", "max_body": "64KiB", "max_head": "64KiB"}
    keys = {"team": {"sha256": hashlib.sha256(CLIENT_KEY.text.encode()).hexdigest(), "routes": ["*"]}}
    return orjson.dumps({"server": server, "keys": keys, "upstreams": upstreams, "routes": plain})


def environment() -> dict[str, str]:
    """Where the gateway finds its own credentials."""
    keys = {f"KEY_{dialect.upper()}": key.text for dialect, key in UPSTREAM_KEYS.items()}
    return {**os.environ, **keys, "SEAL_KEY": SEAL_KEY.text}


def director(seen: Seen) -> Play:
    """Plays what the path says."""
    _, upstream, ending, *_ = seen.target.split("/")
    return play(upstream, ending)


def questions() -> Iterator[tuple[str, bytes]]:
    """Everything that is asked."""
    yield from refused()
    for kind in KINDS:
        yield from _of_every_upstream(kind)
        yield from _in_every_way(kind)
    for kind in KINDS[:2]:
        for path in ("/v1/messages/count_tokens", "/v1/completions", "/v1/embeddings", "/v1/nowhere"):
            yield f"{kind.name} at {path}", request(path, kind.content("openai:fine"), SHOWN["a query"])


def _of_every_upstream(kind: Kind) -> Iterator[tuple[str, bytes]]:
    models = [f"{upstream}:{ending}" for upstream in VOICES for ending in ENDINGS]
    for model in (*models, SPOILT_REQUEST, SPOILT_ANSWER, "spare", "claude-x"):
        for stream in (False, True):
            content = kind.content(model, stream=stream)
            yield f"{kind.name}, {model}, stream={stream}", request(kind.target(model), content, SHOWN["own"])


def _in_every_way(kind: Kind) -> Iterator[tuple[str, bytes]]:
    for name, shown in SHOWN.items():
        for model in ("openai:fine", "anthropic:400", "nobody"):
            yield f"{kind.name}, {name}, {model}", request(kind.target(model), kind.content(model), shown)


def ask(port: int, question: bytes) -> bytes:
    """All that comes back, until the connection closes or breaks."""
    received = []
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client, suppress(ConnectionError):
        client.sendall(question)
        while data := client.recv(1 << 20):
            received.append(data)
    return b"".join(received)


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Of a whole run, from the gateway's start to its end."""
    folder, told = tmp_path_factory.mktemp("secrets"), Evidence()
    with hostile_upstream() as upstream:
        upstream.direct(director)
        run(folder, upstream, told)
        told.seen = list(upstream.requests)
        assert not upstream.slips, upstream.slips
    told.log = (folder / "log").read_bytes()
    return told


def run(folder: Path, upstream: HostileUpstream, told: Evidence) -> None:
    """Starts a gateway, asks, reloads, and ends it."""
    path, port = folder / "routes.yaml", free_port()
    path.write_bytes(routes(upstream.port))
    command = [sys.executable, "-m", "tests.secrets.spoilt_gateway", "serve", "-c", str(path), "--port", str(port)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment()) as process,
    ):
        try:
            until(lambda: is_open(port) or process.poll() is not None, "the gateway listens", PATIENCE_S)
            named = dict(questions())
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                told.replies = dict(zip(named, threads.map(partial(ask, port), named.values()), strict=True))
            for page in _PAGES:
                told.pages[page] = ask(port, request(page, b"", SHOWN["a query"], "GET"))
            process.send_signal(signal.SIGHUP)
            until(lambda: b"reload" in (folder / "log").read_bytes(), "it reloads", PATIENCE_S)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
