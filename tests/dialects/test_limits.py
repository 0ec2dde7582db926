"""Rate limits in response headers, from one API's spelling to another's (mapping.md §9.2)."""

from __future__ import annotations

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.limits import carried, read_duration, write_duration

NOW = 1_700_000_000
ANTHROPIC, OPENAI = DIALECTS["anthropic"].limits, DIALECTS["openai"].limits
TIMES = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:50Z",
    "anthropic-ratelimit-tokens-remaining": "1000",
    "retry-after": "7",
}
DURATIONS = {
    "x-ratelimit-limit-requests": "50",
    "x-ratelimit-remaining-requests": "49",
    "x-ratelimit-reset-requests": "1m30s",
    "x-ratelimit-remaining-tokens": "1000",
    "retry-after": "7",
}


def test_limits_are_spelled_in_the_clients_way_and_back() -> None:
    """A reset is a time there and a duration here."""
    assert carried(TIMES, ANTHROPIC, OPENAI, NOW) == DURATIONS
    assert carried(DURATIONS, OPENAI, ANTHROPIC, NOW) == TIMES


def test_what_the_client_has_no_word_for_is_left_out_and_what_all_read_is_not() -> None:
    headers = {
        "anthropic-ratelimit-input-tokens-remaining": "5",
        "anthropic-ratelimit-requests-reset": "soon",
        "retry-after-ms": "1500",
        "x-should-retry": "false",
        "anthropic-organization-id": "o",
        "set-cookie": "c",
    }
    assert carried(headers, ANTHROPIC, OPENAI, NOW) == {"retry-after-ms": "1500", "x-should-retry": "false"}
    assert carried({"x-ratelimit-reset-tokens": "soon"}, OPENAI, ANTHROPIC, NOW) == {}


def test_between_apis_of_one_spelling_values_stay_as_they_are() -> None:
    headers = {"x-ratelimit-reset-requests": "whenever"}
    assert carried(headers, OPENAI, DIALECTS["responses"].limits, NOW) == headers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("250ms", 0.25), ("2m", 120), ("17", 17), ("1.5", 1.5), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text, NOW) == pytest.approx(seconds)
    assert read_duration(write_duration(seconds, NOW), NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1d", "s", "9" * 40, "2023-11-14T22:14:50Z"])
def test_what_is_no_duration(text: str) -> None:
    assert read_duration(text, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (59, "59s"), (360, "6m0s"), (3723.5, "62m3.5s")]
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert write_duration(seconds, NOW) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:25Z", 5),
        ("2023-11-14T23:13:25+01:00", 5),
        ("2020-01-01T00:00:00Z", 0),
        ("2023-11-14", None),
        ("x", None),
        ("2023-13-14T22:13:25Z", None),
        ("0000-01-01T00:00:00Z", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    """A time that is past is now; one without a zone means nothing."""
    assert ANTHROPIC.read_reset(text, NOW) == seconds
    if seconds:
        assert ANTHROPIC.read_reset(ANTHROPIC.write_reset(seconds - 0.5, NOW), NOW) == seconds


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_799, "2000-02-29T23:59:59Z"),
        (1_772_323_200, "2026-03-01T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ],
)
def test_every_date_is_written_and_read(now: int, text: str) -> None:
    assert ANTHROPIC.write_reset(0, now) == text
    assert ANTHROPIC.read_reset(text, now - 5) == 5
