"""From what was seen to what is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.bench.figures import Cost, Level, Line, Probe, added, level, medians, quantile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    assert quantile(range(100, 0, -1), share) == expected


def test_one_value_is_every_quantile_and_none_is_none() -> None:
    assert [quantile([7.0], share) for share in (0, 0.5, 0.99)] == [7.0] * 3
    assert quantile([], 0.5) is None


def test_a_level_is_told_in_milliseconds_and_by_the_event() -> None:
    gaps = [[0.02, 0.03], *[[0.02, 0.02]] * 19]
    found = level(
        [0.001] * 20,
        gaps,
        tokens=10,
        pace_s=0.02,
        cost=Cost(4.0, cpu_s=0.01, kernel_s=0.004, memory=1_000_000, others_cpu_s=1.0),
    )
    assert (found.ttft_p50_ms, found.ttft_p99_ms) == (1.0, 1.0)
    assert (found.gap_p50_ms, found.gap_max_ms) == (20.0, 30.0)
    assert found.cpu_us_event == pytest.approx(50)
    assert found.kernel_us_event == pytest.approx(20)
    assert found.memory_kb_stream == pytest.approx(50)
    assert found.events_s == pytest.approx(50)
    assert found.others_busy == pytest.approx(0.25)


def test_a_stream_has_stalled_once_however_often_it_did() -> None:
    gaps = [[0.02, 0.0601, 0.3], [0.06, 0.06], [0.02]]
    assert level([], gaps, tokens=3, pace_s=0.02, cost=Cost(1.0)).stalls == 1


def test_what_was_not_metered_is_not_told() -> None:
    found = level([], [[]], tokens=1, pace_s=0.02, cost=Cost(1.0))
    assert (found.cpu_us_event, found.memory_kb_stream, found.ttft_p50_ms, found.gap_max_ms) == (None,) * 4


def test_few_streams_tell_nothing_of_the_memory_of_one() -> None:
    assert level([], [[]] * 5, tokens=1, pace_s=0.02, cost=Cost(1.0, memory=10**7)).memory_kb_stream is None


def test_what_is_added_is_the_difference_where_both_are_known() -> None:
    assert added(3.0, 1.0) == 2.0
    assert added(None, 1.0) is added(1.0, None) is None


def _line(value: float, memory: float | None = None) -> Line:
    probe = Probe(*[value] * 5)
    return Line(probe, {50: replace(Level(*[value] * 11), memory_kb_stream=memory)})


def test_rounds_are_told_by_their_medians_figure_by_figure() -> None:
    found = medians([_line(1), _line(9, 4), _line(2, 6)])
    assert found.probe.ttft_p50_ms == 2
    assert found.levels[50].cpu_us_event == 2
    assert found.levels[50].memory_kb_stream == 5  # of the two rounds that have it
    assert medians([_line(1)]).levels[50].memory_kb_stream is None
