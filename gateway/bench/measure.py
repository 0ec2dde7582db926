"""A benchmark from beginning to end: each line of the plan, round by round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson
import uvloop

from gateway.bench import processes
from gateway.bench.checking import fault_of
from gateway.bench.figures import Cost, Figure, Level, Line, Probe, added, level, medians, quantile, scaled
from gateway.bench.load import Call, Load, Seen
from gateway.bench.meter import Meter, Reading
from gateway.bench.plan import Pair, Plan
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect

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


@dataclass(slots=True)
class _Way:
    """One way to answers, through a gateway or direct."""

    name: str
    dialect: Dialect
    call: Callable[[int, bool], Call]
    """(tokens, is streamed) → a request."""
    process: processes.Child | None = None
    """The gateway's, which is metered."""


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

    def __init__(self, plan: Plan, meter: Meter | None, progress: Progress, cores: frozenset[int]) -> None:
        self._plan = plan
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
            self._upstream, self._upstream_port = stack.enter_context(processes.upstream())
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
        def call(tokens: int, is_streamed: bool) -> Call:
            place = processes.place(name, tokens, self._plan.pace_s)
            return _call(DIALECTS[name], self._upstream_port, "bench", is_streamed, below=place)

        return self._line(_Way(f"{name}, direct", DIALECTS[name], call))

    def _through(self, pair: Pair) -> Line:
        port = processes.free_port()
        client = DIALECTS[pair.client]

        def call(tokens: int, is_streamed: bool) -> Call:
            return _call(client, port, processes.model(pair.upstream, tokens), is_streamed)

        routes = processes.routes(self._upstream_port, {1, self._plan.tokens}, self._plan.pace_s)
        with processes.gateway(routes, port, self._cores) as process:
            return self._line(_Way(str(pair), client, call, process))

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
        warm, streamed, whole = way.call(1, True), way.call(1, True), way.call(self._plan.tokens, False)
        self._take(way, load.one_by_one(warm, max(1, count // 10)), 1)
        seen, spent = self._spent(way, lambda: self._take(way, load.one_by_one(streamed, count), 1))
        _, spent_whole = self._spent(
            way, lambda: self._take(way, load.one_by_one(whole, count), self._plan.tokens, is_streamed=False)
        )
        ttfts, reading = _ttfts(seen), self._read(way.process)
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
                    return await load.at_a_time(way.call(plan.tokens, True), streams, plan.ramp_s, plan.stream_s)
                finally:
                    clocks.append(self._clocks(way))
                    watching.cancel()

        seen = self._take(way, run(), plan.tokens)
        grown = max(memory) - rest_mb * 1e6 if memory and rest_mb is not None else None
        begun, ended = clocks
        cost = _cost(begun, ended, grown)
        return level(_ttfts(seen), [each.gaps_s for each in seen], plan.tokens, plan.pace_s, cost)

    def _clocks(self, way: _Way) -> _Clocks:
        gateway, upstream = (self._read(process) for process in (way.process, self._upstream))
        return _Clocks(
            wall_s=time.perf_counter(),
            gateway_s=gateway and gateway.cpu_s,
            kernel_s=gateway and gateway.kernel_s,
            upstream_s=upstream and upstream.cpu_s,
            load_s=time.process_time(),
        )

    async def _watch(self, way: _Way, memory: list[int]) -> None:
        while (reading := await asyncio.to_thread(self._read, way.process)) is not None:
            memory.append(reading.memory)
            await asyncio.sleep(_SAMPLE_S)

    def _read(self, process: processes.Child | None) -> Reading | None:
        return self._meter(process.pid) if self._meter is not None and process is not None else None

    def _spent(self, way: _Way, run: Callable[[], _T]) -> tuple[_T, Figure]:
        """What a run gives, and the CPU seconds that the gateway spent on it."""
        before = self._read(way.process)
        given = run()
        after = self._read(way.process)
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


def _call(dialect: Dialect, port: int, model: str, is_streamed: bool, below: str = "") -> Call:
    """The sample that a dialect gives of its calls, as the bytes of a request."""
    sample = dialect.sample
    assert sample is not None, f"{dialect.name} has no sample"
    told = {
        name: value.replace("{model}", model) if isinstance(value, str) else value
        for name, value in sample.body.items()
    }
    body = orjson.dumps({**told, "stream": is_streamed})
    head = (
        f"POST {below}{sample.path.replace('{model}', model)} HTTP/1.1",
        f"host: {processes.HOST}:{port}",
        "content-type: application/json",
        "authorization: Bearer unused",
        f"content-length: {len(body)}",
    )
    return Call(port, "\r\n".join(head).encode() + b"\r\n\r\n" + body)
