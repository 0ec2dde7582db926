"""A target's breaker: what it opens on, what it lets through, when it is back. No clock but a number."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Breaker as Settings
from gateway.errors import Kind, OutOfTime, Overloaded, Refused, Unfit, Unreachable, upstream_error
from gateway.routing.blame import Outcome, Verdict
from gateway.routing.breaker import (
    TRANSITIONS,
    Breaker,
    Input,
    State,
    Ticket,
    admit,
    admits,
    checked,
    enter,
    leave,
)
from gateway.routing.trial import Trial

DEFAULTS = Settings()
SMALL = Settings(failure_rate=0.5, window=10, min_requests=4, open=2, max_open=8, max_cool_down=60)
ANSWERED, FAILED, BROKE = Outcome(Verdict.ANSWERED), Outcome(Verdict.FAILED), Outcome(Verdict.BROKE)
NOTHING = Outcome(Verdict.NOTHING)
WHOLE = 0.9999999
"""The chance that leaves a while as long as it is."""


def wait(seconds: float) -> Outcome:
    return Outcome(Verdict.ASKED_TO_WAIT, seconds)


def after(breaker: Breaker, *outcomes: Outcome, now: float = 0.0, settings: Settings = SMALL) -> Breaker:
    """Tries one after the other, all at one moment."""
    for outcome in outcomes:
        breaker, ticket = enter(breaker, settings, now)
        breaker = leave(breaker, ticket, outcome, settings, now, WHOLE)
    return breaker


OPENED = after(Breaker(), *[FAILED] * 4)
"""Opened at 0, for 2 s."""


def probing(now: float = 2.0) -> tuple[Breaker, Ticket]:
    return enter(OPENED, SMALL, now)


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_state_knows_every_input_but_the_end_of_a_while_it_does_not_have() -> None:
    assert set(TRANSITIONS) == set(State)
    timed = {state for state, row in TRANSITIONS.items() if Input.RESTED in row}
    assert timed == {State.OPEN, State.PROBING}
    assert all(set(Input) - set(row) <= {Input.RESTED} for row in TRANSITIONS.values())


def test_nothing_but_an_answer_closes_it() -> None:
    closing = {
        (state, what)
        for state, row in TRANSITIONS.items()
        for what, then in row.items()
        if then is State.CLOSED and state is not State.CLOSED
    }
    assert {what for _, what in closing} == {Input.ANSWERED}


# -- opening ---------------------------------------------------------------------------------------------------------


def test_a_fresh_target_is_in_use() -> None:
    assert admits(Breaker(), 0.0)


def test_too_many_failures_open_it() -> None:
    assert after(Breaker(), *[FAILED] * 3).state is State.CLOSED
    assert OPENED.state is State.OPEN
    assert not admits(OPENED, 1.99)


def test_a_share_of_failures_below_the_rate_does_not() -> None:
    assert after(Breaker(), *[ANSWERED, ANSWERED, FAILED] * 20).state is State.CLOSED
    assert after(Breaker(), *[ANSWERED] * 20, *[FAILED] * 19).state is State.CLOSED
    assert after(Breaker(), *[ANSWERED] * 20, *[FAILED] * 20).state is State.OPEN


def test_the_window_slides() -> None:
    """Failures older than it count no more; those that are younger still do."""
    breaker = after(Breaker(), *[FAILED] * 3, now=0.0)
    assert after(breaker, FAILED, now=9.0).state is State.OPEN
    assert after(breaker, FAILED, now=11.0).state is State.CLOSED


def test_the_window_stays_small_however_much_comes() -> None:
    breaker = Breaker()
    for step in range(5000):
        breaker = after(breaker, ANSWERED, FAILED, ANSWERED, now=step / 100)
        assert len(breaker.slices) <= 11
    assert breaker.state is State.CLOSED


def test_an_answer_that_breaks_off_counts_as_a_failure_and_not_as_an_answer_too() -> None:
    breaker = Breaker()
    for _ in range(4):
        assert breaker.state is State.CLOSED
        breaker, ticket = enter(breaker, replace_rate(1.0), 0.0)
        breaker = leave(breaker, ticket, ANSWERED, replace_rate(1.0), 0.0, WHOLE)
        breaker = leave(breaker, ticket, BROKE, replace_rate(1.0), 0.0, WHOLE)
    assert breaker.state is State.OPEN


def replace_rate(rate: float) -> Settings:
    return SMALL.model_copy(update={"failure_rate": rate})


def test_an_upstream_that_asks_to_wait_is_left_alone_for_that_long_at_once() -> None:
    breaker = after(Breaker(), wait(7.0))
    assert not admits(breaker, 6.99)
    assert admits(breaker, 7.0)


def test_a_wait_has_a_limit() -> None:
    breaker = after(Breaker(), wait(86400.0))
    assert not admits(breaker, 59.9)
    assert admits(breaker, 60.0)


def test_a_wait_told_to_several_is_the_longest_of_them() -> None:
    breaker, tickets = Breaker(), []
    for _ in range(3):
        breaker, ticket = enter(breaker, SMALL, 0.0)
        tickets.append(ticket)
    for ticket, seconds in zip(tickets, (5.0, 9.0, 2.0), strict=True):
        breaker = leave(breaker, ticket, wait(seconds), SMALL, 0.0, WHOLE)
    assert not admits(breaker, 8.9)
    assert admits(breaker, 9.0)


def test_waits_do_not_make_the_next_while_longer() -> None:
    breaker = Breaker()
    for begun in (0.0, 100.0, 200.0):
        breaker = after(breaker, wait(5.0), now=begun)
    assert after(breaker, FAILED, now=205.0).until == pytest.approx(207.0, abs=0.01)


def test_a_probe_that_hung_does_not_make_the_next_wait_as_if_it_had_just_been_sent() -> None:
    """The while runs from when it was sent, but for the first while's length, which is always kept."""
    breaker, ticket = probing(2.0)
    assert leave(breaker, ticket, FAILED, SMALL, 5.0, WHOLE).until == pytest.approx(7.0, abs=0.01)
    assert leave(breaker, ticket, FAILED, SMALL, 3.0, WHOLE).until == pytest.approx(6.0, abs=0.01)


# -- half-open -------------------------------------------------------------------------------------------------------


def test_the_first_request_after_the_while_is_the_probe_and_the_only_one() -> None:
    breaker, ticket = probing()
    assert ticket.probe
    assert not admits(breaker, 2.0)
    forced, other = enter(breaker, SMALL, 2.0)
    assert not other.probe
    assert forced == breaker


def test_an_answered_probe_closes_it() -> None:
    breaker, ticket = probing()
    breaker = leave(breaker, ticket, ANSWERED, SMALL, 2.5, WHOLE)
    assert breaker.state is State.CLOSED
    assert admits(breaker, 2.5)
    assert after(breaker, *[FAILED] * 3, now=2.5).state is State.CLOSED, "counting begins anew"


def test_each_failed_probe_doubles_the_while_up_to_a_limit() -> None:
    breaker, now, whiles = OPENED, 0.0, []
    for _ in range(5):
        whiles.append(breaker.until - now)
        now = breaker.until
        breaker, ticket = enter(breaker, SMALL, now)
        breaker = leave(breaker, ticket, FAILED, SMALL, now, WHOLE)
    assert whiles == pytest.approx([2, 4, 8, 8, 8], abs=0.01)


def test_chance_takes_up_to_half_of_a_while() -> None:
    breaker, ticket = enter(after(Breaker(), *[FAILED] * 3), SMALL, 0.0)
    whiles = [leave(breaker, ticket, FAILED, SMALL, 0.0, chance).until for chance in (0.0, 0.25, 0.5, WHOLE)]
    assert whiles == pytest.approx([1.0, 1.25, 1.5, 2.0], abs=0.01)


def test_one_that_was_well_for_long_begins_with_a_short_while_again() -> None:
    breaker, ticket = probing()
    breaker = leave(breaker, ticket, FAILED, SMALL, 2.0, WHOLE)  # the second while is 4 s
    breaker = after(breaker, ANSWERED, now=6.0)
    assert after(breaker, *[FAILED] * 4, now=7.0).until == pytest.approx(15.0, abs=0.01)
    assert after(breaker, *[FAILED] * 4, now=14.0).until == pytest.approx(16.0, abs=0.01)


def test_a_probe_whose_client_left_gives_its_place_back() -> None:
    breaker, ticket = probing()
    breaker = leave(breaker, ticket, NOTHING, SMALL, 3.0, WHOLE)
    assert breaker.state is State.HALF_OPEN
    assert enter(breaker, SMALL, 3.0)[1].probe


def test_a_probe_that_says_nothing_for_long_gives_its_place_to_another() -> None:
    """Sent into the last second of an outage, it may hang as long as its deadlines let it."""
    breaker, first = probing(2.0)
    assert not admits(breaker, 9.9)
    breaker, second = enter(breaker, SMALL, 10.0)
    assert second.probe > first.probe
    failed = leave(breaker, first, FAILED, SMALL, 10.5, WHOLE)
    assert failed.state is State.PROBING, "an old probe's failure is old news"
    assert leave(failed, first, NOTHING, SMALL, 10.5, WHOLE).state is State.PROBING
    assert leave(breaker, first, ANSWERED, SMALL, 10.5, WHOLE).state is State.CLOSED, "its answer is not"


def test_a_probe_that_breaks_off_opens_it_again() -> None:
    breaker, ticket = probing()
    breaker = leave(breaker, ticket, ANSWERED, SMALL, 2.5, WHOLE)
    breaker = leave(breaker, ticket, BROKE, SMALL, 3.0, WHOLE)
    assert breaker.state is State.OPEN
    assert breaker.until == pytest.approx(7.0, abs=0.01), "4 s: it never was well"


def test_a_probe_that_breaks_off_long_after_it_closed_it_says_little() -> None:
    breaker, ticket = probing()
    breaker = leave(breaker, ticket, ANSWERED, SMALL, 2.5, WHOLE)
    assert leave(breaker, ticket, BROKE, SMALL, 20.0, WHOLE).state is State.CLOSED


def test_what_was_sent_before_it_opened_neither_closes_nor_opens_it() -> None:
    """Fifty requests hang in an outage, and all time out after it is over."""
    breaker, tickets = Breaker(), []
    for _ in range(50):
        breaker, ticket = enter(breaker, SMALL, 0.0)
        tickets.append(ticket)
    breaker = after(breaker, *[FAILED] * 4)
    assert leave(breaker, tickets.pop(), ANSWERED, SMALL, 1.0, WHOLE).state is State.OPEN
    breaker = after(breaker, ANSWERED, now=2.0)
    for ticket in tickets:
        breaker = leave(breaker, ticket, FAILED, SMALL, 3.0, WHOLE)
    assert breaker.state is State.CLOSED


def test_an_answer_of_the_last_target_closes_it_though_nobody_was_to_call() -> None:
    breaker, ticket = enter(OPENED, SMALL, 1.0)
    assert leave(breaker, ticket, FAILED, SMALL, 1.5, WHOLE) == OPENED
    assert leave(breaker, ticket, ANSWERED, SMALL, 1.5, WHOLE).state is State.CLOSED


# -- health checks ---------------------------------------------------------------------------------------------------


def test_a_failed_check_opens_it_until_one_is_fine() -> None:
    breaker = checked(Breaker(), is_healthy=False, now=0.0, valid_s=24.0)
    for moment in range(10, 60, 10):
        assert not admits(breaker, moment)
        breaker = checked(breaker, is_healthy=False, now=moment, valid_s=24.0)
    breaker = checked(breaker, is_healthy=True, now=60.0, valid_s=24.0)
    assert breaker.state is State.HALF_OPEN
    assert after(breaker, ANSWERED, now=60.0).state is State.CLOSED


def test_a_failed_check_that_no_other_follows_is_forgotten() -> None:
    """The check may have been taken out of the configuration."""
    assert admits(checked(Breaker(), is_healthy=False, now=0.0, valid_s=24.0), 24.0)


def test_a_failed_check_does_not_shorten_what_the_upstream_asked_for() -> None:
    breaker = checked(after(Breaker(), wait(50.0)), is_healthy=False, now=1.0, valid_s=4.0)
    assert not admits(breaker, 49.0)


def test_a_fine_check_ends_a_while_at_once() -> None:
    assert admits(checked(OPENED, is_healthy=True, now=0.5, valid_s=24.0), 0.5)


def test_a_fine_check_does_not_end_what_the_upstream_asked_for() -> None:
    """That a server is up says nothing of its rate limits."""
    assert not admits(checked(after(Breaker(), wait(50.0)), is_healthy=True, now=1.0, valid_s=4.0), 1.0)


def test_a_fine_check_makes_no_room_beside_a_probe() -> None:
    breaker, _ = probing()
    assert not admits(checked(breaker, is_healthy=True, now=2.5, valid_s=24.0), 2.5)


# -- a plan ----------------------------------------------------------------------------------------------------------


def plan(now: float, **breakers: Breaker) -> str:
    return "".join(admit("".join(breakers), breakers.__getitem__, now))


def opened(until: float) -> Breaker:
    return replace(OPENED, until=until)


def test_open_targets_are_left_out_of_a_plan() -> None:
    assert plan(1.0, a=OPENED, b=Breaker(), c=OPENED, d=Breaker()) == "bd"
    assert plan(2.0, a=OPENED, b=Breaker()) == "ab"


def test_the_last_target_is_never_left_out() -> None:
    assert plan(1.0, a=OPENED) == "a"


def test_where_all_are_open_the_one_that_is_back_soonest_comes_first() -> None:
    assert plan(1.0, a=opened(9.0), b=opened(3.0), c=opened(5.0)) == "bca"
    assert plan(2.0, a=opened(3.0), b=probing()[0]) == "ba"
    assert plan(1.0, a=opened(3.0), b=opened(3.0)) == "ab"


# -- anything may happen ---------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A target in use, and the tries under way."""

    breaker: Breaker = field(default_factory=Breaker)
    now: float = 0.0
    running: list[Ticket] = field(default_factory=list)

    def step(self, what: int, chance: float) -> None:
        self.now += chance * 3
        if what == 0 and admits(self.breaker, self.now):
            self.breaker, ticket = enter(self.breaker, SMALL, self.now)
            self.running.append(ticket)
        elif what == 1:
            self.breaker = checked(self.breaker, is_healthy=chance < 0.5, now=self.now, valid_s=5.0)
        elif what > 1 and self.running:
            ticket = self.running.pop(int(chance * len(self.running)))
            outcome = (ANSWERED, FAILED, NOTHING, wait(chance * 20))[what - 2]
            self.breaker = leave(self.breaker, ticket, outcome, SMALL, self.now, chance)


STEPS = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1, exclude_max=True)), max_size=120)


@given(STEPS)
def test_there_is_never_more_than_one_probe_in_a_while(steps: list[tuple[int, float]]) -> None:
    """Of one opening, one is out at a time, and the next may only follow one that ended or held its place for long."""
    model = Model()
    sent: dict[int, float] = {}
    for what, chance in steps:
        known = len(model.running)
        model.step(what, chance)
        if len(model.running) > known and (ticket := model.running[-1]).probe:
            others = [other for other in model.running[:-1] if other.probe and other.era == ticket.era]
            assert all(model.now - sent[other.probe] >= SMALL.max_open for other in others)
            sent[ticket.probe] = model.now


@given(STEPS)
def test_an_open_target_is_always_back_in_time(steps: list[tuple[int, float]]) -> None:
    """Whatever happened, without a probe out it admits within its longest while, or what the upstream asked for."""
    model = Model()
    for what, chance in steps:
        model.step(what, chance)
        longest = SMALL.max_cool_down if model.breaker.is_told else SMALL.max_open
        assert admits(model.breaker, model.now + longest)


@given(STEPS, STEPS)
def test_a_plan_is_never_empty(ones: list[tuple[int, float]], others: list[tuple[int, float]]) -> None:
    a, b = Model(), Model()
    for model, steps in ((a, ones), (b, others)):
        for what, chance in steps:
            model.step(what, chance)
    now = max(a.now, b.now)
    admitted = admit((a, b), lambda model: model.breaker, now)
    assert admitted
    assert set(map(id, admitted)) <= {id(a), id(b)}
    assert len(admitted) == 2 or admits(admitted[0].breaker, now)


CLIENTS_FAULT = [
    *(upstream_error(kind, "no") for kind in (Kind.INVALID_REQUEST, Kind.CONTEXT_LENGTH, Kind.UNSUPPORTED)),
    *(upstream_error(kind, "no") for kind in (Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.CONFLICT)),
    Refused("content filter"),
    Unfit("a tool call for raw text"),
    OutOfTime("the whole answer took longer than 600 s"),
    KeyboardInterrupt(),
]


class Place:
    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker


@given(
    st.lists(st.tuples(st.sampled_from(CLIENTS_FAULT), st.booleans()), max_size=60),
    st.sampled_from([Breaker(), OPENED, probing()[0], after(Breaker(), *[FAILED] * 3, *[ANSWERED] * 2)]),
)
def test_what_clients_cause_never_changes_the_state(ends: list[tuple[BaseException, bool]], before: Breaker) -> None:
    """Neither one bad client nor a thousand of them take a target away from the others."""
    place = Place(before)
    for error, _ in ends:
        trial = Trial(place, SMALL, 1.0)
        assert trial.ended(error, 1.5, 0.5) is None
    assert place.breaker == before


def test_a_probe_that_a_client_caused_to_fail_is_asked_for_again() -> None:
    for error in CLIENTS_FAULT:
        place = Place(OPENED)
        assert Trial(place, SMALL, 2.0).ended(error, 2.5, 0.5) is None
        assert place.breaker.state is State.HALF_OPEN


# -- one try -----------------------------------------------------------------------------------------------------------


def test_a_try_is_counted_once() -> None:
    place = Place(Breaker())
    trial = Trial(place, SMALL, 0.0)
    for _ in range(3):
        trial.answered(0.0)
    trial.ended(None, 1.0, 0.5)
    assert sum(part.answered for part in place.breaker.slices) == 1
    assert sum(part.failed for part in place.breaker.slices) == 0


def test_a_try_that_never_reached_the_upstream_is_no_news() -> None:
    place = Place(OPENED)
    Trial(place, SMALL, 2.0).ended(None, 2.0, 0.5)
    assert place.breaker.state is State.HALF_OPEN


def test_opening_and_closing_are_reported_and_nothing_else_is() -> None:
    place = Place(after(Breaker(), *[FAILED] * 3))
    assert Trial(place, SMALL, 0.0).ended(Unreachable("gone"), 0.0, 0.5) is State.OPEN
    assert Trial(place, SMALL, 1.0).ended(Unreachable("gone"), 1.0, 0.5) is None
    probe = Trial(place, SMALL, 5.0)
    assert probe.answered(5.5) is State.CLOSED
    assert probe.ended(None, 9.0, 0.5) is None
    assert Trial(place, SMALL, 9.0).ended(Overloaded("no", retry_after_s=3), 9.0, 0.5) is State.OPEN


def test_where_it_is_turned_off_nothing_is_counted() -> None:
    place = Place(Breaker())
    for _ in range(50):
        assert Trial(place, None, 0.0).ended(Unreachable("gone"), 0.0, 0.5) is None
    assert place.breaker == Breaker()


# -- the outage of the fault catalogue -------------------------------------------------------------------------------


@pytest.mark.parametrize("failing_s", [0.01, 3.0, 15.0, 19.0, 25.0, 60.0])
@pytest.mark.parametrize("seed", range(20))
def test_an_upstream_that_was_down_for_a_minute_is_back_within_half_a_minute(seed: int, failing_s: float) -> None:
    """As shipped, with two requests a second; `failing_s` is how long a request hangs before it fails.

    Meanwhile the other target of the plan gets all but a few probes.
    """
    rolled = random.Random(seed)
    breaker, now, back_at = Breaker(), 0.0, None
    failing: list[tuple[float, Ticket]] = []
    lost = 0
    while back_at is None:
        now += rolled.expovariate(2.0)
        while failing and failing[0][0] <= now:
            ended, ticket = failing.pop(0)
            breaker = leave(breaker, ticket, FAILED, DEFAULTS, ended, rolled.random())
        if not admits(breaker, now):
            continue
        breaker, ticket = enter(breaker, DEFAULTS, now)
        if 10.0 <= now < 70.0:
            failing.append((now + failing_s, ticket))
            lost += 1
        else:
            breaker = leave(breaker, ticket, ANSWERED, DEFAULTS, now, rolled.random())
            back_at = now if now >= 70.0 and breaker.state is State.CLOSED else None
    assert back_at - 70.0 < 30.0
    if failing_s < 1:
        assert lost <= 35
