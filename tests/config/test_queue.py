"""What an upstream says of calls at a time and of who waits, and which settings contradict each other."""

from __future__ import annotations

import pytest

from gateway.config import Config, ConfigError, parse


def config(upstream: str = "", routes: str = "demo: {targets: [{upstream: a}]}") -> Config:
    text = f"upstreams:\n  a: {{dialect: openai, url: 'simulator://'{upstream}}}\nroutes: {{{routes}}}\n"
    return parse(text, "routes.yaml", {})


def test_by_default_an_upstream_gets_everything_and_nobody_waits() -> None:
    upstream = config().upstreams["a"]
    assert (upstream.max_in_flight, upstream.queue.size, upstream.queue.timeout) == (None, 100, 10)


def test_all_of_it_can_be_set() -> None:
    upstream = config(", max_in_flight: 8, queue: {size: 20, timeout: 500ms}").upstreams["a"]
    assert (upstream.max_in_flight, upstream.queue.size, upstream.queue.timeout) == (8, 20, 0.5)
    assert config(", max_in_flight: 8, queue: {size: 0}").upstreams["a"].queue.size == 0


def test_a_wait_that_no_route_has_time_for_is_refused() -> None:
    """Unless another route has, or it is the default that is longer."""
    short = "short: {targets: [{upstream: a}], timeouts: {total: 5s}}"
    with pytest.raises(ConfigError) as caught:
        config(", max_in_flight: 8, queue: {timeout: 6s}", short)
    assert str(caught.value) == (
        "routes.yaml:2: upstreams.a.queue.timeout: longer than the total of any route to it (5s), so it would never be "
        "reached"
    )
    assert config(", max_in_flight: 8, queue: {timeout: 6s}", f"{short}, long: a")
    assert config(", max_in_flight: 8, queue: {size: 5}", short)
