"""Whose fault an error was: every kind of it, as an upstream would tell it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import (
    BadRequest,
    GatewayError,
    InternalError,
    Kind,
    Malformed,
    OutOfTime,
    Overloaded,
    TooLarge,
    TooMany,
    TooSlow,
    Truncated,
    Unfit,
    Unreachable,
    Unsupported,
    UpstreamError,
    upstream_error,
)
from gateway.routing.blame import BLAMES, Outcome, Verdict, outcome

TARGETS_FAULT = {
    Kind.AUTH,
    Kind.BILLING,
    Kind.PERMISSION,
    Kind.RATE_LIMIT,
    Kind.OVERLOADED,
    Kind.TIMEOUT,
    Kind.UPSTREAM,
    Kind.INTERNAL,
}


def verdict(error: BaseException, *, is_answered: bool = False) -> Verdict:
    return outcome(error, is_answered=is_answered).verdict


def test_the_table_is_total() -> None:
    assert set(BLAMES) == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_an_upstreams_error_counts_unless_the_request_caused_it(kind: Kind) -> None:
    expected = Verdict.FAILED if kind in TARGETS_FAULT else Verdict.NOTHING
    assert verdict(upstream_error(kind, "no")) is expected


@pytest.mark.parametrize("error", [Unreachable("a"), Malformed("a"), Truncated("a"), TooSlow("a"), UpstreamError("a")])
def test_a_broken_call_counts_before_and_after_the_first_content(error: GatewayError) -> None:
    assert verdict(error) is Verdict.FAILED
    assert verdict(error, is_answered=True) is Verdict.BROKE


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("a"),
        Unsupported("a"),
        TooLarge("a"),
        TooMany("a"),
        InternalError("a"),
        Unfit("a"),
        OutOfTime("a"),
        RuntimeError("a"),
        asyncio.CancelledError(),
    ],
)
def test_what_clients_and_we_do_never_counts(error: BaseException) -> None:
    for is_answered in (False, True):
        assert verdict(error, is_answered=is_answered) is Verdict.NOTHING


@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.OVERLOADED])
def test_a_busy_upstream_that_says_for_how_long_is_left_alone_that_long(kind: Kind) -> None:
    assert outcome(upstream_error(kind, "no", 7.5), is_answered=False) == Outcome(Verdict.ASKED_TO_WAIT, 7.5)


def test_a_wait_of_nothing_is_a_failure_like_others() -> None:
    assert verdict(Overloaded("no", retry_after_s=0.0)) is Verdict.FAILED


def test_a_wait_told_with_another_error_is_not_the_targets() -> None:
    assert verdict(upstream_error(Kind.CONFLICT, "no", 7.5)) is Verdict.NOTHING
    assert verdict(upstream_error(Kind.UPSTREAM, "no", 7.5)) is Verdict.FAILED
