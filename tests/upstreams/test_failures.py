"""What went wrong on the way to an upstream, as our errors."""

from __future__ import annotations

import httpx
import pytest

from gateway.errors import Malformed, TooSlow, Truncated, Unreachable, UpstreamError
from gateway.upstreams.failures import CALL_ERRORS, Dropped, before_head, in_body

ADDRESS = "10.1.2.3"

CASES: dict[str, tuple[Exception, UpstreamError]] = {
    "no connection in time": (
        httpx.ConnectTimeout(ADDRESS),
        TooSlow("the upstream did not accept a connection in time"),
    ),
    "no connection": (httpx.ConnectError(ADDRESS), Unreachable("no connection to the upstream")),
    "closed without a word": (
        Dropped(ADDRESS),
        Unreachable("the upstream closed the connection before it answered"),
    ),
    "closed in the head": (
        httpx.ReadError(ADDRESS),
        Unreachable("the connection to the upstream broke before it answered"),
    ),
    "no HTTP": (
        httpx.RemoteProtocolError(ADDRESS),
        Malformed("the upstream's response head is not valid HTTP"),
    ),
    "a scheme nobody speaks": (
        httpx.UnsupportedProtocol(ADDRESS),
        Unreachable("the upstream's URL can't be called"),
    ),
    "a mounted transport's timeout": (httpx.ReadTimeout(ADDRESS), TooSlow("the upstream did not answer in time")),
    "a request that can't be sent": (
        httpx.LocalProtocolError(ADDRESS),
        Unreachable("the call to the upstream failed"),
    ),
    "anything else": (KeyError(ADDRESS), Unreachable("the call to the upstream failed")),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_of_the_call_has_its_own_class_and_words(case: str) -> None:
    """The first row of the table that fits decides; libraries' texts, which may hold addresses, are never repeated."""
    error, ours = CASES[case]
    assert before_head(error) == ours
    assert ADDRESS not in before_head(error).message


@pytest.mark.parametrize("case", CASES)
def test_another_target_may_be_tried_after_any_of_them(case: str) -> None:
    assert before_head(CASES[case][0]).is_retryable


def test_a_body_that_breaks_was_cut() -> None:
    """mapping.md §9: a cut stream never looks finished."""
    assert in_body() == Truncated("the connection to the upstream broke in the middle of its answer")


@pytest.mark.parametrize("case", [case for case in CASES if case != "anything else"])
def test_what_libraries_raise_is_caught(case: str) -> None:
    """And what is our own fault, as a KeyError, is not."""
    assert isinstance(CASES[case][0], CALL_ERRORS)
    assert not isinstance(CASES["anything else"][0], CALL_ERRORS)
