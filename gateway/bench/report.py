"""What was measured, as tables for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.bench.figures import Figure, Level, Line, Probe, added
from gateway.bench.measure import Results
from gateway.bench.plan import Pair, Plan

WIDTH: Final = 108
"""Columns that the tables need."""
_BUSY: Final = 0.85
"""Of a core, beyond which a process is late by itself."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where it was measured: name → what, in order; and what has to be known of the figures."""

    facts: Mapping[str, Any]
    notes: Sequence[str] = ()


def tables(plan: Plan, results: Results, setting: Setting) -> RenderableType:
    """Two tables, requests and streams, and below them what must be said."""
    facts = ", ".join(f"{name} {value}" for name, value in setting.facts.items())
    told = (
        f"{plan.tokens} tokens a stream, one every {plan.pace_s * 1000:g} ms, each in a packet of its own; "
        f"{plan.probes} probes; {_counted(plan.workers, 'worker')}{'' if plan.metrics else ' without metrics'}; "
        f"median of {_counted(plan.rounds, 'round')}"
    )
    notes = [Text(f"\n{note}", "yellow") for note in (*setting.notes, *_doubts(results))]
    return Group(Text(f"{facts}\n{told}\n", "dim"), _probes(results), "", _streams(results), *notes)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"


def _probes(results: Results) -> Table:
    table = _table(
        "one request at a time",
        "TTFT ms\np50 / p99",
        "direct\np50 / p99",
        "added ms\np50 / p99",
        "CPU ms\nstreamed",
        "CPU ms\nwhole",
        "MB at\nrest",
    )
    for pair, line in results.pairs.items():
        one, direct = line.probe, results.direct[pair.client].probe
        p50, p99 = added(one.ttft_p50_ms, direct.ttft_p50_ms), added(one.ttft_p99_ms, direct.ttft_p99_ms)
        table.add_row(
            str(pair),
            _two(one.ttft_p50_ms, one.ttft_p99_ms),
            _two(direct.ttft_p50_ms, direct.ttft_p99_ms),
            _two(p50, p99),
            _told(one.cpu_ms_streamed, 2),
            _told(one.cpu_ms_whole, 2),
            _told(one.rest_mb),
        )
    return table


def _streams(results: Results) -> Table:
    table = _table(
        "streams at a time",
        "",
        "CPU us\nan event",
        "in the\nkernel",
        "added TTFT\np50 / p99",
        "gap ms\np50 / p99",
        "direct\np99",
        "stalls",
        "KB a\nstream",
        "events\na second",
    )
    for pair, line in results.pairs.items():
        for number, (streams, one) in enumerate(line.levels.items()):
            direct = results.direct[pair.client].levels[streams]
            table.add_row(
                "" if number else str(pair),
                str(streams),
                _told(one.cpu_us_event),
                _told(one.kernel_us_event),
                _two(added(one.ttft_p50_ms, direct.ttft_p50_ms), added(one.ttft_p99_ms, direct.ttft_p99_ms)),
                _two(one.gap_p50_ms, one.gap_p99_ms),
                _told(direct.gap_p99_ms),
                _told(one.stalls, 0),
                _told(one.memory_kb_stream, 0),
                _told(one.events_s, 0),
            )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _told(value: Figure, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _two(one: Figure, other: Figure) -> str:
    return f"{_told(one)} / {_told(other)}"


def _doubts(results: Results) -> Iterator[str]:
    """Where the direct line stalled too, or the load had no time left, the gateway isn't what was measured."""
    direct = results.direct.items()
    found = [f"{name} at {streams}" for name, line in direct for streams, level in line.levels.items() if level.stalls]
    if found:
        yield f"streams stalled on the direct line too ({', '.join(found)}): the machine is busy, or too small for that"
    lines = {**results.direct, **{str(pair): line for pair, line in results.pairs.items()}}.items()
    spent = [
        f"{name} at {streams}"
        for name, line in lines
        for streams, level in line.levels.items()
        if level.others_busy is not None and level.others_busy > _BUSY
    ]
    if spent:
        yield f"load or upstream had a core nearly full ({', '.join(spent)}): the latency there may be theirs"


def plain(plan: Plan, results: Results, setting: Setting) -> dict[str, Any]:
    """All figures as JSON; None is what was not measured."""
    return {
        "setting": dict(setting.facts),
        "notes": [*setting.notes, *_doubts(results)],
        "tokens": plan.tokens,
        "pace_ms": plan.pace_s * 1000,
        "probes": plan.probes,
        "rounds": plan.rounds,
        "workers": plan.workers,
        "metrics": plan.metrics,
        "direct": [{"client": name, **_plain_line(line)} for name, line in results.direct.items()],
        "pairs": [_plain_pair(pair, line, results.direct[pair.client]) for pair, line in results.pairs.items()],
        "faults": [{"where": where, "what": what, "count": count} for where, what, count in results.faults],
    }


def _plain_line(line: Line) -> dict[str, Any]:
    levels = [{"streams": streams, **asdict(level)} for streams, level in line.levels.items()]
    return {"one_at_a_time": asdict(line.probe), "levels": levels}


def _plain_pair(pair: Pair, line: Line, direct: Line) -> dict[str, Any]:
    found = _plain_line(line)
    found["one_at_a_time"] |= _added(line.probe, direct.probe)
    for told in found["levels"]:
        told |= _added(line.levels[told["streams"]], direct.levels[told["streams"]])
    return {"client": pair.client, "upstream": pair.upstream, **found}


def _added(one: Level | Probe, direct: Level | Probe) -> dict[str, Figure]:
    return {
        "added_ttft_p50_ms": added(one.ttft_p50_ms, direct.ttft_p50_ms),
        "added_ttft_p99_ms": added(one.ttft_p99_ms, direct.ttft_p99_ms),
    }
