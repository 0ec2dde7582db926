"""Several workers keep a limit together that each of them could not keep alone."""

from __future__ import annotations

import pytest

from gateway.config import Config, ConfigError, parse


def config(workers: int, limit: int | str, queue: int = 10) -> Config:
    return parse(
        f"""
server: {{workers: {workers}}}
upstreams: {{one: {{dialect: openai, url: "http://h/v1", max_in_flight: {limit}, queue: {{size: {queue}}}}}}}
routes: {{demo: one}}
""",
        "routes.yaml",
        {},
    )


@pytest.mark.parametrize(("workers", "limit"), [(1, 7), (2, 7), (3, 7), (4, 8), (7, 7)])
def test_the_shares_of_all_workers_are_the_limit(workers: int, limit: int) -> None:
    whole = config(workers, limit)
    shares = [whole.shared(number).upstreams["one"] for number in range(1, workers + 1)]
    calls = [share.max_in_flight or 0 for share in shares]
    assert sum(calls) == limit
    assert max(calls) - min(calls) <= 1
    assert 10 <= sum(share.queue.size for share in shares) < 10 + workers


def test_no_limit_and_no_queue_stay_none() -> None:
    shared = config(3, 9, queue=0).shared(1).upstreams["one"]
    assert (shared.max_in_flight, shared.queue.size) == (3, 0)
    unlimited = parse('{upstreams: {one: {dialect: openai, url: "http://h/v1"}}, routes: {demo: one}}', "test", {})
    assert unlimited.shared(1) == unlimited


def test_a_limit_below_the_number_of_workers_is_refused_with_the_line_to_change() -> None:
    with pytest.raises(ConfigError) as refused:
        config(4, 3)
    assert refused.value.messages == [
        "routes.yaml:3: upstreams.one.max_in_flight: each of 4 workers needs one of them at least: raise it, or set "
        "server.workers lower"
    ]
