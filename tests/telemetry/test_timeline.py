"""When things happened, from events and a number for now."""

from __future__ import annotations

from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Finish,
    Ping,
    Reason,
    ReasoningDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.telemetry.timeline import Timeline


def test_time_to_first_token_is_from_the_request_to_the_first_content() -> None:
    """Lifecycle frames and pings are no tokens."""
    timeline = Timeline(100.0)
    timeline.note([Start(), Ping(), Usage(input=3)], 100.5)
    assert timeline.ttft_s is None
    timeline.note([BlockStart(0, BlockKind.TEXT), TextDelta(0, "a")], 101.25)
    timeline.note([TextDelta(0, "b")], 109.0)
    assert timeline.ttft_s == 1.25


def test_an_answer_without_content_has_no_first_token() -> None:
    """Unknown is None, never 0."""
    timeline = Timeline(1.0)
    timeline.note([Start(), Finish(Reason.STOP), End()], 2.0)
    assert timeline.ttft_s is None
    assert timeline.content_events == 0


def test_content_of_every_kind_is_counted_and_dated() -> None:
    timeline = Timeline(0.0)
    timeline.note([Start(), BlockStart(0, BlockKind.REASONING), ReasoningDelta(0, "a"), BlockStop(0)], 1.0)
    timeline.note([BlockStart(1, BlockKind.TOOL, "x", "f"), ArgsDelta(1, "{}")], 2.0)
    timeline.note([BlockStop(1), Finish(Reason.TOOL_CALLS)], 3.0)
    assert (timeline.content_events, timeline.first_content, timeline.last_content) == (4, 1.0, 2.0)


def test_usage_is_the_latest_of_everything_told() -> None:
    """From the start, and from snapshots that each know only a part."""
    timeline = Timeline(0.0)
    timeline.note([Start(usage=Usage(input=5, output=1)), Usage(output=2)], 1.0)
    timeline.note([Usage(output=9, cache_read=0, is_final=True)], 2.0)
    assert timeline.usage == Usage(input=5, output=9, cache_read=0, is_final=True)


def test_the_finish_is_remembered() -> None:
    timeline, finish = Timeline(0.0), Finish(Reason.LENGTH, is_certain=False)
    assert timeline.finish is None
    timeline.note([finish, End()], 1.0)
    assert timeline.finish == finish


def test_deltas_that_are_only_counted_count_as_those_that_are_shown() -> None:
    shown, counted = Timeline(0.0), Timeline(0.0)
    for timeline in (shown, counted):
        timeline.note([BlockStart(0, BlockKind.TEXT), TextDelta(0, "a")], 1.0)
    shown.note([TextDelta(0, "b"), TextDelta(0, "c")], 2.0)
    counted.note_more(2, 2.0)
    assert vars(counted) == vars(shown)
