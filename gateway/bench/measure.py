"""A benchmark from beginning to end: each line of the plan, round by round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import uvloop

from gateway.bench import processes
from gateway.bench.calls import Address, Call, call
from gateway.bench.checking import fault_of
from gateway.bench.figures import Cost, Figure, Level, Line, Probe, added, level, medians, quantile, scaled
from gateway.bench.load import Load, Seen
from gateway.bench.meter import Meter, Reading
from gateway.bench.plan import Pair, Plan
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect

_MODEL: Final = "bench"
_SAMPLE_S: Final = 0.1
"""Between two looks at the gateway's memory."""
PROBES_S: Final = 1.0
"""What probes take, with the start of a gateway, for the progress."""
_T = TypeVar("_T")


class Progress(Protocol):
    """Told what is measured next, and how many seconds of it are over."""

    def begin(self, what: str) -> None: ...
    def done(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Results:
    """`direct` by the client's dialect. `faults`: what was wrong with answers, each as (where, what, how often)."""

    direct: Mapping[str, Line]
    pairs: Mapping[Pair, Line]
    faults: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs already, measured instead of gateways of ours; our upstream is to listen on a known port, or
    does so already.

    Without `pid` nothing is known of its CPU and memory.
    """

    address: Address
    model: str
    upstream_port: int
    pid: int | None = None


@dataclass(slots=True)
class _Way:
    """One way to answers, through a gateway or direct."""

    name: str
    dialect: Dialect
    call: Callable[..., Call]
    """(tokens, is_streamed=…) → a request."""
    process: processes.Child | None = None
    """One of ours, if the gateway is."""
    pid: int | None = None
    """Of the process that is metered."""


class _Clocks(NamedTuple):
    """Seconds: the wall clock's, and the CPU time of each process."""

    wall_s: float
    gateway_s: Figure
    kernel_s: Figure
    """The kernel's part of it."""
    upstream_s: Figure
    load_s: float


class Bench:
    """Measures a plan. `cores`: the gateway's own, empty for any."""

    def __init__(
        self,
        plan: Plan,
        meter: Meter | None,
        progress: Progress,
        cores: frozenset[int] = frozenset(),
        running: Running | None = None,
    ) -> None:
        self._plan = plan
        self._running = running
        self._meter = meter
        self._progress = progress
        self._cores = cores
        self._faults: dict[tuple[str, str], int] = {}

    def run(self) -> Results:
        """All rounds. Raises CannotMeasure."""
        direct: dict[str, list[Line]] = {name: [] for name in self._plan.clients}
        pairs: dict[Pair, list[Line]] = {pair: [] for pair in self._plan.pairs}
        with ExitStack() as stack:
            self._runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            known_port = self._running.upstream_port if self._running is not None else 0
            upstream = processes.upstream(self._plan.pace_s, known_port)
            self._upstream, self._upstream_port = stack.enter_context(upstream)
            for _ in range(self._plan.rounds):
                for name, found in direct.items():
                    found.append(self._direct(name))
                for pair, found in pairs.items():
                    found.append(self._through(pair))
        return Results(
            {name: medians(lines) for name, lines in direct.items()},
            {pair: medians(lines) for pair, lines in pairs.items()},
            [(where, what, count) for (where, what), count in self._faults.items()],
        )

    def _direct(self, name: str) -> Line:
        dialect, address = DIALECTS[name], Address(processes.HOST, self._upstream_port)
        return self._line(_Way(f"{name}, direct", dialect, partial(call, dialect, address, _MODEL)))

    def _through(self, pair: Pair) -> Line:
        dialect, running = DIALECTS[pair.client], self._running
        if running is not None:
            asked = partial(call, dialect, running.address, running.model)
            return self._line(_Way(str(pair), dialect, asked, pid=running.pid))
        port = processes.free_port()
        asked = partial(call, dialect, Address(processes.HOST, port), pair.upstream)
        plan = self._plan
        routes = processes.routes(self._upstream_port, metrics=plan.metrics)
        with processes.gateway(routes, port, self._cores, plan.workers) as process:
            return self._line(_Way(str(pair), dialect, asked, process, process.pid))

    def _line(self, way: _Way) -> Line:
        load = Load()
        try:
            self._progress.begin(f"{way.name}: one at a time")
            probe = self._probe(way, load)
            self._progress.done(PROBES_S)
            levels = {}
            for streams in self._plan.streams:
                self._progress.begin(f"{way.name}: {streams} streams")
                levels[streams] = self._level(way, load, streams, probe.rest_mb)
                self._progress.done(self._plan.level_s(streams))
        finally:
            load.close()
        return Line(probe, levels)

    def _probe(self, way: _Way, load: Load) -> Probe:
        count = self._plan.probes
        streamed, whole = way.call(1, is_streamed=True), way.call(self._plan.tokens, is_streamed=False)
        self._take(way, load.one_by_one(streamed, max(1, count // 10)), 1)
        seen, spent = self._spent(way, lambda: self._take(way, load.one_by_one(streamed, count), 1))
        _, spent_whole = self._spent(
            way, lambda: self._take(way, load.one_by_one(whole, count), self._plan.tokens, is_streamed=False)
        )
        ttfts, reading = _ttfts(seen), self._read(way.pid)
        return Probe(
            ttft_p50_ms=scaled(quantile(ttfts, 0.5), 1e3),
            ttft_p99_ms=scaled(quantile(ttfts, 0.99), 1e3),
            cpu_ms_streamed=scaled(spent, 1e3 / count),
            cpu_ms_whole=scaled(spent_whole, 1e3 / count),
            rest_mb=None if reading is None else reading.memory / 1e6,
        )

    def _level(self, way: _Way, load: Load, streams: int, rest_mb: Figure) -> Level:
        plan = self._plan
        memory, clocks = list[int](), list[_Clocks]()

        async def run() -> list[Seen]:
            clocks.append(self._clocks(way))
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(way, memory))
                try:
                    return await load.at_a_time(
                        way.call(plan.tokens, is_streamed=True), streams, plan.ramp_s, plan.stream_s
                    )
                finally:
                    clocks.append(self._clocks(way))
                    watching.cancel()

        seen = self._take(way, run(), plan.tokens)
        grown = max(memory) - rest_mb * 1e6 if memory and rest_mb is not None else None
        begun, ended = clocks
        cost = _cost(begun, ended, grown)
        return level(_ttfts(seen), [each.gaps_s for each in seen], plan.tokens, plan.pace_s, cost)

    def _clocks(self, way: _Way) -> _Clocks:
        gateway, upstream = (self._read(pid) for pid in (way.pid, self._upstream.pid if self._upstream else None))
        return _Clocks(
            wall_s=time.perf_counter(),
            gateway_s=gateway and gateway.cpu_s,
            kernel_s=gateway and gateway.kernel_s,
            upstream_s=upstream and upstream.cpu_s,
            load_s=time.process_time(),
        )

    async def _watch(self, way: _Way, memory: list[int]) -> None:
        while (reading := await asyncio.to_thread(self._read, way.pid)) is not None:
            memory.append(reading.memory)
            await asyncio.sleep(_SAMPLE_S)

    def _read(self, pid: int | None) -> Reading | None:
        return self._meter(pid) if self._meter is not None and pid is not None else None

    def _spent(self, way: _Way, run: Callable[[], _T]) -> tuple[_T, Figure]:
        """What a run gives, and the CPU seconds that the gateway spent on it."""
        before = self._read(way.pid)
        given = run()
        after = self._read(way.pid)
        return given, added(after and after.cpu_s, before and before.cpu_s)

    def _take(
        self, way: _Way, run: Coroutine[Any, Any, list[Seen]], tokens: int, *, is_streamed: bool = True
    ) -> list[Seen]:
        """What a run saw, checked: a process that has ended ends all, an answer that isn't whole is noted."""
        seen = self._runner.run(run)
        for process in filter(None, (way.process, self._upstream)):
            process.check()
        for each in seen:
            body = b"".join(each.body)
            fault = each.fault or fault_of(way.dialect, each.status, body, tokens, is_streamed=is_streamed)
            if fault:
                self._faults[way.name, fault] = self._faults.get((way.name, fault), 0) + 1
        return seen


def _cost(begun: _Clocks, ended: _Clocks, memory: Figure) -> Cost:
    load_s, upstream_s = ended.load_s - begun.load_s, added(ended.upstream_s, begun.upstream_s)
    return Cost(
        ended.wall_s - begun.wall_s,
        added(ended.gateway_s, begun.gateway_s),
        added(ended.kernel_s, begun.kernel_s),
        memory,
        load_s if upstream_s is None else max(load_s, upstream_s),
    )


def _ttfts(seen: Sequence[Seen]) -> list[float]:
    return [each.ttft_s for each in seen if each.ttft_s is not None]
