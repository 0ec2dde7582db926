"""Figures of a benchmark: from what was seen to what is told. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Final, TypeVar

STALL_SLACK_S: Final = 0.02
_FEW: Final = 20
"""Fewer streams say nothing about the memory of one: the allocator's own steps are larger."""

Figure = float | None
"""None: not measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds; of the gateway, CPU seconds, those in the kernel, and bytes of memory more than at
    rest; and CPU seconds of the busier one of load and upstream."""

    wall_s: float
    cpu_s: Figure = None
    kernel_s: Figure = None
    memory: Figure = None
    others_cpu_s: Figure = None


@dataclass(frozen=True, slots=True)
class Level:
    """So many paced streams at a time. A stream has stalled if one of its gaps was above twice the pace and 20 ms.

    CPU is all that the gateway spent on these requests, divided by their tokens; the kernel's part of it comes in steps
    of 10 ms. `others_busy`: the share of a core that load or upstream took, whichever took more.
    """

    ttft_p50_ms: Figure
    ttft_p99_ms: Figure
    gap_p50_ms: Figure
    gap_p99_ms: Figure
    gap_max_ms: Figure
    stalls: Figure
    events_s: Figure
    cpu_us_event: Figure
    kernel_us_event: Figure
    memory_kb_stream: Figure
    others_busy: Figure


@dataclass(frozen=True, slots=True)
class Probe:
    """One request at a time: streams of one token, then whole answers. `rest_mb`: the gateway's memory after them."""

    ttft_p50_ms: Figure
    ttft_p99_ms: Figure
    cpu_ms_streamed: Figure
    cpu_ms_whole: Figure
    rest_mb: Figure


@dataclass(frozen=True, slots=True)
class Line:
    """What one way to an answer costs: through the gateway, or direct."""

    probe: Probe
    levels: Mapping[int, Level]
    """By the number of streams."""


def quantile(values: Iterable[float], share: float) -> Figure:
    """The least value that so many of all don't exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else None


def level(ttfts_s: Sequence[float], gaps_s: Sequence[Sequence[float]], tokens: int, pace_s: float, cost: Cost) -> Level:
    """The figures of a run: its times to first token, the gaps of each stream, the tokens of each stream."""
    streams, gaps = len(gaps_s), [gap for each in gaps_s for gap in each]
    limit = 2 * pace_s + STALL_SLACK_S
    return Level(
        ttft_p50_ms=scaled(quantile(ttfts_s, 0.5), 1e3),
        ttft_p99_ms=scaled(quantile(ttfts_s, 0.99), 1e3),
        gap_p50_ms=scaled(quantile(gaps, 0.5), 1e3),
        gap_p99_ms=scaled(quantile(gaps, 0.99), 1e3),
        gap_max_ms=scaled(max(gaps, default=None), 1e3),
        stalls=sum(max(each, default=0.0) > limit for each in gaps_s),
        events_s=streams * tokens / cost.wall_s,
        cpu_us_event=scaled(cost.cpu_s, 1e6 / (streams * tokens)),
        kernel_us_event=scaled(cost.kernel_s, 1e6 / (streams * tokens)),
        memory_kb_stream=scaled(cost.memory, 1e-3 / streams) if streams >= _FEW else None,
        others_busy=scaled(cost.others_cpu_s, 1 / cost.wall_s),
    )


def scaled(value: Figure, factor: float) -> Figure:
    """In another unit, where it is known."""
    return None if value is None else value * factor


def added(through: Figure, direct: Figure) -> Figure:
    """What the gateway adds to the direct line."""
    return None if through is None or direct is None else through - direct


_T = TypeVar("_T", Level, Probe)


def _middle(rounds: Sequence[_T]) -> _T:
    """Each figure's median, of the rounds that have it."""
    first = rounds[0]
    known = {f.name: [v for each in rounds if (v := getattr(each, f.name)) is not None] for f in fields(first)}
    middle: dict[str, Figure] = {name: median(values) if values else None for name, values in known.items()}
    return type(first)(**middle)


def medians(rounds: Sequence[Line]) -> Line:
    """One line of several, all measured alike."""
    levels = {streams: _middle([line.levels[streams] for line in rounds]) for streams in rounds[0].levels}
    return Line(_middle([line.probe for line in rounds]), levels)
