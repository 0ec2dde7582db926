"""What is remembered of upstreams and targets, for how many of them, and what it means for the next request."""

from __future__ import annotations

from gateway.config import Breaker as Settings
from gateway.config import HealthCheck, Upstream
from gateway.errors import Unreachable
from gateway.routing.breaker import State
from gateway.routing.state import States
from gateway.routing.target import Target
from gateway.routing.trial import Trial

SETTINGS = Settings(min_requests=2, open=5, max_open=20)
GUARDED = Upstream(dialect="openai", url="http://a", breaker=SETTINGS)
UNGUARDED = Upstream.model_validate({"dialect": "openai", "url": "http://a", "breaker": False})
CHECK = HealthCheck(path="/health", every=10, timeout=2, unhealthy=2, healthy=2)


def target(name: str, model: str = "m", upstream: Upstream = GUARDED) -> Target:
    return Target(name, upstream, model)


def fail(states: States, place: Target, times: int = 2, now: float = 0.0) -> None:
    for _ in range(times):
        Trial(states.target(place), place.upstream.breaker, now).ended(Unreachable("gone"), now, 0.999)


def admitted(states: States, now: float, *plan: Target) -> str:
    return "".join(place.name for place in states.admit(plan, now))


def test_models_of_one_upstream_are_apart() -> None:
    states = States()
    fail(states, target("a", "one"))
    assert not states.admits(target("a", "one"), 1.0)
    assert states.admits(target("a", "two"), 1.0)
    assert states.is_usable("a", 1.0)


def test_an_open_target_is_left_out_of_a_plan_that_has_another() -> None:
    states = States()
    fail(states, target("a"))
    assert admitted(states, 1.0, target("a"), target("b")) == "b"
    assert admitted(states, 1.0, target("a")) == "a"
    assert admitted(states, 5.0, target("a"), target("b")) == "ab"


def test_a_breaker_turned_off_on_reload_bars_nothing_any_more() -> None:
    states = States()
    fail(states, target("a"))
    assert admitted(states, 1.0, target("a", upstream=UNGUARDED), target("b")) == "ab"


def test_an_upstream_is_usable_until_all_its_targets_are_open() -> None:
    states = States()
    assert states.is_any_usable(["a", "b"], 0.0)
    fail(states, target("a"))
    assert not states.is_usable("a", 1.0)
    assert states.is_any_usable(["a", "b"], 1.0)
    fail(states, target("b"))
    assert not states.is_any_usable(["a", "b"], 1.0)
    assert states.is_any_usable(["a", "b"], 5.0)


def test_failed_checks_take_an_upstream_out_with_targets_that_were_never_called() -> None:
    states = States()
    states.target(target("a", "known"))
    assert states.checked("a", CHECK, 0.0, is_fine=False) is None
    assert states.is_usable("a", 0.0)
    assert states.checked("a", CHECK, 10.0, is_fine=False) is False
    assert states.checked("a", CHECK, 20.0, is_fine=False) is None
    assert admitted(states, 40.0, target("a", "known"), target("a", "new"), target("b")) == "b"
    assert not states.is_usable("a", 40.0)


def test_checks_that_are_fine_again_let_a_probe_through() -> None:
    states = States()
    states.target(target("a"))
    for step in range(3):
        states.checked("a", CHECK, 10.0 * step, is_fine=False)
    assert states.checked("a", CHECK, 30.0, is_fine=True) is None
    assert not states.admits(target("a"), 30.0)
    assert states.checked("a", CHECK, 40.0, is_fine=True) is True
    assert states.target(target("a")).breaker.state is State.HALF_OPEN
    assert states.admits(target("a", "new"), 40.0)


def test_a_fine_check_shortens_what_failing_requests_brought_about() -> None:
    states = States()
    fail(states, target("a"))
    states.checked("a", CHECK, 1.0, is_fine=True)
    assert states.admits(target("a"), 1.0)


def test_checks_of_one_upstream_say_nothing_of_others() -> None:
    states = States()
    states.target(target("b"))
    for step in range(3):
        states.checked("a", CHECK, 10.0 * step, is_fine=False)
    assert states.admits(target("b"), 20.0)


def test_the_models_that_clients_name_behind_a_pattern_are_one_target() -> None:
    """They are without end. What is known of one of them is known of all."""
    states = States()
    for number in range(100):
        fail(states, Target("a", GUARDED, f"model-{number}", "model-*"), times=1)
    assert not states.admits(Target("a", GUARDED, "another", "model-*"), 1.0)
    assert len(states._targets) == 1


def test_what_is_known_of_an_upstream_that_stays_is_shared_with_the_configuration_before() -> None:
    """Requests that began before go on to count, in both ways."""
    before = States()
    fail(before, target("a"))
    after = before.kept({"a"})
    assert admitted(after, 1.0, target("a"), target("b")) == "b"
    assert after.target(target("a")) is before.target(target("a"))
    assert after.upstream("a") is before.upstream("a")


def test_an_upstream_that_changed_is_known_for_nothing() -> None:
    """What requests to the server before still find out is not held against the one that has its name now."""
    before = States()
    fail(before, target("a"))
    after = before.kept(set())
    assert admitted(after, 1.0, target("a"), target("b")) == "ab"
    fail(before, target("a"))
    assert after.admits(target("a"), 1.0)


def test_targets_with_room_come_first_whenever_it_is_asked() -> None:
    states, limited = States(), Upstream(dialect="openai", url="http://a", max_in_flight=1)
    a, b, c = target("a", upstream=limited), target("b", upstream=limited), target("c")
    plan = (a, b, c)
    ticket = states.upstream("a").admission.enter(b"", lambda: None, 1, 5)
    assert admitted(states, 0.0, *plan) == "bca"
    states.upstream("b").admission.enter(b"", lambda: None, 1, 5)
    assert admitted(states, 0.0, *plan) == "cab"
    states.upstream("a").admission.leave(ticket)
    assert admitted(states, 0.0, *plan) == "acb"


def test_the_books_of_a_route_that_stays_go_on() -> None:
    """So that a reload gives nobody second tries beyond the share."""
    before = States()
    hedges, continuations = before.hedges("stays", 0.1), before.continuations("stays")
    after = before.kept((), {"stays"})
    assert after.hedges("stays", 0.2) is hedges
    assert after.continuations("stays") is continuations
    assert before.kept((), ()).hedges("stays", 0.1) is not hedges
