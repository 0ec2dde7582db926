"""Ten minutes of mixed traffic with random faults and disconnects: nothing leaks, and every request has one end.

    TRIGLOT_SOAK_S=600 pytest -m soak

The gateway, its hostile upstream, and the built-in simulator are processes of their own; this one is the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
import pytest

from tests.faults.harness import Process, free_port, is_open
from tests.faults.hostile_upstream import until
from tests.faults.soak.crowd import Crowd
from tests.faults.voices import VOICES
from tests.measured import measure

SOAK_S: Final = float(os.environ.get("TRIGLOT_SOAK_S", "600"))
AT_ONCE: Final = 200
WARM_UP_S: Final = max(15.0, SOAK_S / 10)
_BASES: Final = {"openai": "/v1", "responses": "/v1", "anthropic": "", "truss": "/predict"}
_AGREE: Final = {
    "whole": {"complete"},
    "broken": {"broken"},
    "refused": {"refused"},
    "left": {"client_left", "complete", "broken", "refused"},  # it may have been over before the gateway knew
}
"""What a client saw → how the log may say that its request ended."""
ROOM: Final = 0.1
"""How much the memory may grow from the end of the warm-up to the end."""


def routes(port: int, hostile: int) -> bytes:
    """Each voice of the upstream has a route, whose fallback is the next voice; queues are short enough to be used."""
    many = {"max_in_flight": 60, "queue": {"size": 40, "timeout": "2s"}}
    upstreams = {
        voice.name: {
            **many,
            "dialect": voice.upstream,
            "url": f"http://127.0.0.1:{hostile}/{voice.name}{_BASES[voice.upstream]}",
            "key": "sk-soak",
        }
        for voice in VOICES
    }
    names = list(upstreams)
    timeouts = {"connect": "2s", "first_token": "3s", "idle": "2s", "total": "20s"}
    told = {
        name: {
            "targets": [{"upstream": name, "model": "m"}],
            "fallback": [{"upstream": names[(number + 1) % len(names)], "model": "m"}],
            "timeouts": timeouts,
            "hedge": {"after": "1s", "max_ratio": 0.1},
        }
        for number, name in enumerate(names)
    }
    limits = {"port": port, "max_event": "1MiB", "max_answer": "1MiB", "drain": "2s", "idle_timeout": "5s"}
    return orjson.dumps({"server": limits, "upstreams": upstreams, "routes": told})


@dataclass
class Watched:
    """A gateway's process, and what can be known of it from outside."""

    process: Process
    folder: Path
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def tasks(self) -> dict[str, int]:
        """How many there are, by what they run."""
        path = self.folder / "report"
        before = path.stat().st_size
        os.kill(self.process.pid, signal.SIGUSR1)
        until(lambda: path.read_bytes()[before:].endswith(b"\n"), "the gateway counted its tasks")
        last: dict[str, int] = orjson.loads(path.read_bytes().splitlines()[-1])
        return last

    def log(self) -> tuple[list[dict[str, Any]], list[str]]:
        """One record a request, and whatever else it said."""
        records, others = [], []
        for line in (self.folder / "log").read_text(encoding="utf-8").splitlines():
            told = orjson.loads(line) if line.startswith("{") else {"message": line}
            if "request_id" in told:
                records.append(told)
            elif told["message"].strip():
                others.append(told["message"] + told.get("exception", ""))
        return records, others

    async def sample(self) -> None:
        """Notes its memory again and again."""
        while True:
            self.memory.append((time.perf_counter(), self.process.memory))
            await asyncio.sleep(0.5)

    def memory_between(self, begin: float, end: float) -> float:
        """The median, in MiB."""
        return median(size for at, size in self.memory if begin <= at <= end) / 2**20


@contextmanager
def serving(folder: Path, hostile: int) -> Iterator[Watched]:
    port = free_port()
    (folder / "routes.yaml").write_bytes(routes(port, hostile))
    report, settings = folder / "report", folder / "routes.yaml"
    command = [sys.executable, "-m", "tests.faults.soak.gateway_child", str(report), "serve", "--config", str(settings)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: is_open(port) or process.poll() is not None, "the gateway listens", 30)
            assert process.poll() is None, (folder / "log").read_text()
            yield Watched(Process(process, port, folder / "log"), folder)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


class Hostile:
    """The upstream's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.port = int(self._said())

    def hang_up(self) -> None:
        """Closes the connections that it keeps, so that they are counted nowhere."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"hang up\n")
        self._process.stdin.flush()
        assert self._said() == b"ok\n"

    def end(self) -> dict[str, Any]:
        """How often it did what."""
        told, _ = self._process.communicate(timeout=20)
        did: dict[str, Any] = orjson.loads(told)
        return did

    def _said(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def hostile() -> Iterator[Hostile]:
    command = [sys.executable, "-m", "tests.faults.soak.upstream", "soak"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Hostile(process)
        finally:
            process.kill()


@pytest.mark.soak
def test_nothing_leaks_and_every_request_has_one_end(tmp_path: Path) -> None:
    with hostile() as upstream, serving(tmp_path, upstream.port) as gateway:
        names = [voice.name for voice in VOICES]
        first = Crowd(gateway.process.port, names, "first")
        asyncio.run(first.work(20, time.perf_counter() + 5))  # what is made once: pools, threads, caches
        before = at_rest(gateway, upstream)
        crowd = Crowd(gateway.process.port, names, "soak")
        begun, ended = asyncio.run(soak(gateway, crowd))
        measure("soak: s that it took", ended - begun)
        compare_memory(gateway, begun, ended)
        compare_rest(gateway, upstream, before)
        records, others = gateway.log()
        assert not [line for line in others if "Traceback" in line or "Error" in line], others[-5:]
        compare_ends(crowd, records[first.sent :])
        report(crowd, upstream.end())


async def soak(gateway: Watched, crowd: Crowd) -> tuple[float, float]:
    """When the traffic began and ended."""
    begun = time.perf_counter()
    watch = asyncio.ensure_future(gateway.sample())
    await crowd.work(AT_ONCE, begun + SOAK_S)
    watch.cancel()
    return begun, time.perf_counter()


def at_rest(gateway: Watched, upstream: Hostile) -> tuple[int, int]:
    """Descriptors and tasks when nothing happens: two looks, some time apart, see the same."""
    upstream.hang_up()
    seen: list[tuple[int, int]] = []

    def is_steady() -> bool:
        time.sleep(0.5)
        seen.append((gateway.descriptors, sum(gateway.tasks.values())))
        return len(seen) > 4 and len(set(seen[-4:])) == 1

    until(is_steady, "the gateway came to rest", 60)
    return seen[-1]


def compare_rest(gateway: Watched, upstream: Hostile, before: tuple[int, int]) -> None:
    """No task and no descriptor more than before, connections among them."""
    upstream.hang_up()
    files, tasks = before
    with contextlib.suppress(AssertionError):
        until(
            lambda: gateway.descriptors <= files and sum(gateway.tasks.values()) <= tasks,
            "the gateway came to rest",
            30,
        )
    measure("soak: descriptors at rest, before", files)
    measure("soak: descriptors at rest, after", gateway.descriptors)
    measure("soak: tasks at rest, before", tasks)
    measure("soak: tasks at rest, after", sum(gateway.tasks.values()))
    assert gateway.descriptors <= files
    assert sum(gateway.tasks.values()) <= tasks, gateway.tasks


def compare_memory(gateway: Watched, begun: float, ended: float) -> None:
    """Flat: the last of the traffic takes as much as what followed the warm-up."""
    span = (ended - begun - WARM_UP_S) / 6
    first = gateway.memory_between(begun + WARM_UP_S, begun + WARM_UP_S + span)
    last = gateway.memory_between(ended - span, ended)
    measure("soak: MiB of memory after the warm-up", first)
    measure("soak: MiB of memory at the end", last)
    measure("soak: MiB of memory per 10 minutes", (last - first) / (ended - begun - WARM_UP_S - span) * 600)
    assert last < first * (1 + ROOM)


def compare_ends(crowd: Crowd, records: list[dict[str, Any]]) -> None:
    """One record for each request that was sent, which ends as its client saw it end."""
    assert not crowd.oddities, f"{len(crowd.oddities)} oddities\n" + "\n".join(crowd.oddities[:20])
    assert len(records) == len({record["request_id"] for record in records}) == crowd.sent
    by_id = {record["request_id"]: record for record in records}
    assert crowd.seen.keys() <= by_id.keys()
    ends = Counter((seen, by_id[name]["end"]) for name, seen in crowd.seen.items())
    assert all(end in _AGREE[seen] for seen, end in ends), ends
    unseen = [record for name, record in by_id.items() if name not in crowd.seen]
    assert len(unseen) == crowd.left
    assert {record["end"] for record in unseen} <= _AGREE["left"]
    assert not [record for record in records if record.get("grammar_fault") or record.get("status") == 500]
    assert sum(Counter(record["end"] for record in records).values()) == crowd.sent


def report(crowd: Crowd, did: dict[str, Any]) -> None:
    """The figures, printed at the end of the run."""
    assert not did["slips"], did["slips"]
    measure("soak: requests", crowd.sent)
    measure("soak: most requests open at once", crowd.most_open)
    measure("soak: calls of the upstream", sum(did["calls"].values()))
    for what, count in crowd.counts.items():
        measure(f"soak: clients who saw: {what}", count)
    for fault, count in did["calls"].items():
        measure(f"soak: upstream: {fault}", count)
    assert crowd.most_open >= AT_ONCE * 0.9
    assert crowd.counts["whole"] > crowd.sent / 3
    assert min(crowd.counts[what] for what in ("broken", "refused", "left")) > 0
