"""Route and chance → targets in order."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from gateway.config import Config, parse
from gateway.routing.balancing import Moment
from gateway.routing.breaker import Breaker, State
from gateway.routing.plan import plan
from gateway.routing.state import States
from gateway.routing.table import Table
from gateway.routing.target import Target

UPSTREAMS = "upstreams:\n" + "".join(
    f"  {name}: {{dialect: openai, url: 'simulator://{name}'}}\n" for name in ("a", "b", "c", "d")
)
UPSTREAMS += "  e: {dialect: openai, url: 'simulator://e', max_in_flight: 1}\n"


def config(routes: str) -> Config:
    return parse(f"{UPSTREAMS}routes:\n  {routes}\n", "routes.yaml", {})


@cache
def table(routes: str) -> Table:
    return Table(config(routes))


def planned(routes: str, asked: str, chance: float) -> tuple[Target, ...]:
    return plan(table(routes).find([asked])[0], asked, Moment(chance), States())


def names_of(targets: tuple[Target, ...]) -> str:
    return "".join(target.name for target in targets)


def names(routes: str, chance: float) -> str:
    return names_of(planned(routes, "demo", chance))


WEIGHTED = "demo: {targets: [{upstream: a, weight: 1}, {upstream: b, weight: 7}, {upstream: c, weight: 2}]}"


def test_the_first_target_is_chosen_exactly_by_weight() -> None:
    firsts = Counter(names(WEIGHTED, step / 1000)[0] for step in range(1000))
    assert firsts == {"a": 100, "b": 700, "c": 200}


@pytest.mark.parametrize(
    ("chance", "order"),
    [(0.0, "abc"), (0.0999, "abc"), (0.1, "bca"), (0.7999, "bca"), (0.8, "cba"), (0.9999999999999999, "cba")],
)
def test_the_others_follow_by_weight(chance: float, order: str) -> None:
    assert names(WEIGHTED, chance) == order


def test_equal_weights_keep_the_order_of_the_file() -> None:
    routes = "demo: {targets: [{upstream: a}, {upstream: b}, {upstream: c}, {upstream: d}]}"
    assert [names(routes, quarter / 4) for quarter in range(4)] == ["abcd", "bacd", "cabd", "dabc"]


def test_weight_zero_is_never_first_and_comes_before_the_fallback() -> None:
    targets = "{upstream: a, weight: 0}, {upstream: b}, {upstream: c, weight: 3}"
    routes = f"demo: {{targets: [{targets}], fallback: [{{upstream: d}}]}}"
    assert {names(routes, step / 64) for step in range(64)} == {"bcad", "cbad"}


def test_the_fallback_comes_last_in_its_own_order() -> None:
    routes = "demo: {targets: [{upstream: b}], fallback: [{upstream: d}, {upstream: a}, {upstream: c}]}"
    assert names(routes, 0.5) == "bdac"


@pytest.mark.parametrize("total", [3, 7, 9, 10, 1_000_000])
def test_the_greatest_chance_still_chooses_a_target(total: int) -> None:
    routes = f"demo: {{targets: [{{upstream: a, weight: 1}}, {{upstream: b, weight: {total - 1}}}]}}"
    assert names(routes, 1 - 2**-53) == "ba"


@pytest.mark.parametrize("chance", [1.0, 2.0])
def test_a_chance_out_of_bounds_is_a_mistake_of_ours(chance: float) -> None:
    with pytest.raises(ValueError, match=rf"chance {chance} is not in \[0, 1\)"):
        names(WEIGHTED, chance)


def test_a_target_has_the_upstream_and_the_model_to_use_there() -> None:
    routes = "demo: {targets: [{upstream: a, model: x}], fallback: [{upstream: b}]}"
    first, second = planned(routes, "demo", 0)
    assert (first.name, first.upstream.url, first.model) == ("a", "simulator://a", "x")
    assert (second.name, second.upstream.url, second.model) == ("b", "simulator://b", "demo")


def test_a_pattern_passes_the_name_asked_for_on() -> None:
    routes = '"claude-*": {targets: [{upstream: a}], fallback: [{upstream: b, model: fixed}]}'
    assert [target.model for target in planned(routes, "claude-opus", 0)] == ["claude-opus", "fixed"]


def test_an_exact_route_uses_its_own_name_whatever_longer_name_led_to_it() -> None:
    route = Table(config("haiku: a")).find(["haiku@staging", "haiku"])[0]
    assert [target.model for target in plan(route, "haiku@staging", Moment(0), States())] == ["haiku"]


def test_no_target_is_tried_twice() -> None:
    routes = '"claude-*": {targets: [{upstream: a}, {upstream: a, model: claude-3}], fallback: [{upstream: b}]}'
    assert [(target.name, target.model) for target in planned(routes, "claude-3", 0.9)] == [
        ("a", "claude-3"),
        ("b", "claude-3"),
    ]


def test_what_is_known_of_a_target_goes_by_configured_names_only() -> None:
    """Clients can make up names without end; each would be a state that nobody ever takes away."""
    routes = '"claude-*": {targets: [{upstream: a}, {upstream: b, model: fixed}]}'
    keys = {target.key for n in range(99) for target in planned(routes, f"claude-{n}", 0)}
    assert keys == {("a", "claude-*"), ("b", "fixed")}


def test_a_target_that_is_left_alone_takes_no_part_until_its_time_is_over() -> None:
    route, _ = table(WEIGHTED).find(["demo"])
    states = States()
    heaviest = plan(route, "demo", Moment(0.5), states)[0]
    states.target(heaviest).breaker = Breaker(State.OPEN, until=60.0)
    left_alone = Counter(names_of(plan(route, "demo", Moment(step / 300, now=59.0), states)) for step in range(300))
    assert left_alone == {"acb": 100, "cab": 200}
    later = plan(route, "demo", Moment(0.5, now=60.0), states)
    assert later[0] == heaviest


def test_a_full_target_takes_no_part_while_another_has_room() -> None:
    route, _ = table("demo: {targets: [{upstream: e, weight: 9}, {upstream: b}]}").find(["demo"])
    states = States()
    assert names_of(plan(route, "demo", Moment(0.5), states)) == "eb"
    states.upstream("e").admission.enter(b"", lambda: None, 1, 0)
    assert {names_of(plan(route, "demo", Moment(step / 8), states)) for step in range(8)} == {"be"}
