"""What a route says of further tries, and which settings contradict each other."""

from __future__ import annotations

import pytest

from gateway.config import Config, ConfigError, Retries, parse, warnings

_TARGETS = "targets: [{upstream: a}], fallback: [{upstream: b}]"


def config(route: str = _TARGETS, upstream: str = "") -> Config:
    text = (
        f"upstreams: {{a: {{dialect: openai, url: 'simulator://'{upstream}}}, b: {{dialect: openai, url: 'http://b'}}}}\n"
        f"routes: {{demo: {{{route}}}}}\n"
    )
    return parse(text, "routes.yaml", {})


def complaint(route: str = _TARGETS, upstream: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        config(route, upstream)
    return str(caught.value)


def test_the_defaults_are_what_the_page_of_figures_says() -> None:
    """HARDENING.md §2: three tries, one fifth of extra load."""
    whole = config()
    assert whole.routes["demo"].retries == Retries(
        attempts=None, same_target=1, backoff=0.25, max_backoff=5, max_retry_after=10
    )
    assert whole.upstreams["a"].retry_budget == 0.2
    assert [target.context for target in whole.routes["demo"].targets] == [None]


def test_all_of_it_can_be_set() -> None:
    retries = "retries: {attempts: 5, same_target: 2, backoff: 50ms, max_backoff: 1s, max_retry_after: 0s}"
    whole = config(
        f"targets: [{{upstream: a, context: 8000}}], fallback: [{{upstream: b, context: 128000}}], {retries}",
        ", retry_budget: 0.5",
    )
    route = whole.routes["demo"]
    assert route.retries == Retries(attempts=5, same_target=2, backoff=0.05, max_backoff=1, max_retry_after=0)
    assert (route.targets[0].context, route.fallback[0].context) == (8000, 128000)
    assert whole.upstreams["a"].retry_budget == 0.5


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        ("{attempts: 0}", "retries.attempts: must be at least 1, not 0"),
        ("{same_target: -1}", "retries.same_target: must be at least 0, not -1"),
        ("{backoff: 0s}", "retries.backoff: must be above 0"),
        ("{backoff: 250}", "retries.backoff: 250: a duration needs a unit"),
        ("{retries: 3}", "retries.retries: unknown setting"),
        (
            "{attempts: 1, same_target: 1}",
            "retries.same_target: attempts is 1, so no target is ever tried again",
        ),
        (
            "{backoff: 2s, max_backoff: 1s}",
            "retries.backoff: longer than max_backoff (1s), which it grows up to",
        ),
        ("{same_target: 0, backoff: 1s}", "retries.backoff: same_target is 0, so no target is ever waited for"),
        (
            "{short_retry_after: 3s, max_retry_after: 2s}",
            "retries.short_retry_after: longer than max_retry_after (2s)",
        ),
        (
            "{same_target: 0, max_retry_after: 1s}",
            "retries.max_retry_after: same_target is 0, so no target is ever waited for",
        ),
        (
            "{max_retry_after: 11m}",
            "retries.max_retry_after: longer than timeouts.total (600s), so never waited for",
        ),
        ("{max_backoff: 11m}", "retries.max_backoff: longer than timeouts.total (600s), so never waited for"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_place_and_the_reason(
    retries: str, expected: str
) -> None:
    assert expected in complaint(f"{_TARGETS}, retries: {retries}")


@pytest.mark.parametrize("budget", ["-0.1", "1.1"])
def test_a_budget_is_a_share(budget: str) -> None:
    assert "upstreams.a.retry_budget: must be at " in complaint(upstream=f", retry_budget: {budget}")


def test_a_context_is_a_number_of_tokens() -> None:
    assert "targets[0].context: must be at least 1, not 0" in complaint("targets: [{upstream: a, context: 0}]")


def test_a_default_never_makes_a_short_total_wrong() -> None:
    assert config("targets: [{upstream: a}], timeouts: {total: 1s}").routes["demo"].retries.max_retry_after == 10


def test_a_second_try_that_no_upstream_allows_is_refused() -> None:
    assert "routes.demo.retries.same_target: its upstreams have a retry_budget of 0" in complaint(
        "targets: [{upstream: a}], retries: {same_target: 1}", ", retry_budget: 0"
    )
    assert config(f"{_TARGETS}, retries: {{same_target: 1}}", ", retry_budget: 0"), "b allows it"
    assert config("targets: [{upstream: a}]", ", retry_budget: 0"), "only what was written"


def test_an_operator_is_told_of_targets_that_a_limit_keeps_from_their_turn() -> None:
    assert warnings(config(f"{_TARGETS}, retries: {{attempts: 1}}")) == (
        "routes.demo.retries.attempts: 1 calls for a request don't reach all of its 2 targets if they fail",
    )
    assert warnings(config(f"{_TARGETS}, retries: {{attempts: 2}}")) == ()
    assert warnings(config()) == ()
