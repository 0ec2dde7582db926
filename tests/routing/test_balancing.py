"""Which target is first: as tables, and as promises over many requests. Chance is a seed, time a number."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import parse
from gateway.config.balance import Balance
from gateway.routing.affinity import key_of
from gateway.routing.balancing import Candidate, Moment, order, reasons
from gateway.routing.state import TargetState
from gateway.routing.target import Target

UPSTREAM = parse(
    "upstreams: {u: {dialect: openai, url: 'simulator://'}}\nroutes: {demo: u}", "routes.yaml", {}
).upstreams["u"]
BALANCES = ["weighted", "least_in_flight", "fastest", "prefix", {"sticky": "user"}]


def balance(written: Any) -> Balance:
    return Balance.model_validate(written)


def candidates(**weights: int) -> list[Candidate]:
    return [Candidate(Target(name, UPSTREAM, "m"), weight, TargetState()) for name, weight in weights.items()]


def busy(numbers: Mapping[str, tuple[int, int]]) -> list[Candidate]:
    """Targets by (weight, in flight)."""
    found = candidates(**{name: weight for name, (weight, _) in numbers.items()})
    for candidate in found:
        candidate.state.in_flight = numbers[candidate.target.name][1]
    return found


def names(ordered: list[Candidate]) -> str:
    return "".join(candidate.target.name for candidate in ordered)


def moments(count: int, seed: int = 7, **further: Any) -> Iterator[Moment]:
    chances = random.Random(seed)
    return (Moment(chances.random(), **further) for _ in range(count))


# --- all of them ---


@given(
    written=st.sampled_from(BALANCES),
    numbers=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=7),
    chance=st.floats(0, 1, exclude_max=True),
    key=st.sampled_from([b"", key_of("s")]),
)
def test_every_target_comes_once_and_those_of_weight_zero_last(
    written: Any, numbers: list[tuple[int, int]], chance: float, key: bytes
) -> None:
    given_ = busy({f"t{index}": pair for index, pair in enumerate(numbers)})
    ordered = order(balance(written), given_, Moment(chance, key=key))
    assert sorted(map(id, ordered)) == sorted(map(id, given_))
    weights = [candidate.weight > 0 for candidate in ordered]
    assert weights == sorted(weights, reverse=True)
    assert names(ordered) == names(order(balance(written), given_, Moment(chance, key=key)))
    assert all(reasons(balance(written), given_, Moment(chance, key=key)))


@pytest.mark.parametrize("written", BALANCES, ids=str)
def test_who_cannot_be_called_is_not_first_while_another_can(written: Any) -> None:
    a, b, c, standby = candidates(a=5, b=1, c=1, d=0)
    gone = a._replace(is_ready=False)
    for moment in moments(30, key=key_of("s")):
        ordered = order(balance(written), [gone, b, c, standby], moment)
        assert ordered[2:] == [gone, standby]
        all_gone = [candidate._replace(is_ready=False) for candidate in (a, b, c)]
        assert names(order(balance(written), all_gone, moment)) == names(order(balance(written), [a, b, c], moment))


def test_the_share_of_one_that_cannot_be_called_is_shared_by_all_others() -> None:
    """It isn't left to whoever comes next in the file."""
    a, b, c = candidates(a=1, b=1, c=1)
    gone = a._replace(is_ready=False)
    firsts = Counter(names(order(balance("weighted"), [gone, b, c], moment))[0] for moment in moments(2000))
    assert firsts["b"] / 2000 == pytest.approx(1 / 2, abs=0.05)


def test_room_is_reckoned_among_those_that_can_be_called() -> None:
    """Two of three left: each may hold 1.25 times a half, not a third."""
    a, b, c = busy({"a": (1, 0), "b": (1, 5), "c": (1, 5)})
    moment = Moment(0.1, key=key_of("s"))
    first, *_ = order(balance("prefix"), [a._replace(is_ready=False), b, c], moment)
    assert first == order(balance({"sticky": "user"}), [b, c], moment)[0]


# --- least in flight ---


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"a": (1, 3), "b": (1, 1)}, "ba"),
        ({"a": (1, 0), "b": (1, 1)}, "ab"),
        ({"a": (4, 3), "b": (1, 1)}, "ab"),
        ({"a": (4, 5), "b": (1, 1)}, "ba"),
        ({"a": (1, 9), "b": (0, 0)}, "ab"),
    ],
)
def test_of_two_the_one_with_less_in_flight_for_its_weight_is_first(
    numbers: Mapping[str, tuple[int, int]], expected: str
) -> None:
    for moment in moments(20):
        assert names(order(balance("least_in_flight"), busy(numbers), moment)) == expected


def test_idle_targets_are_drawn_by_weight() -> None:
    targets = candidates(a=1, b=3)
    firsts = Counter(names(order(balance("least_in_flight"), targets, moment))[0] for moment in moments(4000))
    assert firsts["b"] / 4000 == pytest.approx(3 / 4, abs=0.03)


def test_the_two_that_are_compared_are_drawn_independently() -> None:
    """One number of chance makes both draws: every pair has to come as often as any other."""
    least = balance("least_in_flight")
    firsts = Counter(
        names(order(least, busy({"a": (1, 0), "b": (1, 1), "c": (1, 2), "d": (1, 3)}), moment))[0]
        for moment in moments(6000)
    )
    assert firsts["d"] == 0
    for name, share in {"a": 3 / 6, "b": 2 / 6, "c": 1 / 6}.items():
        assert firsts[name] / 6000 == pytest.approx(share, abs=0.03)


def test_two_choices_keep_the_fullest_target_near_the_mean() -> None:
    """Berenbrink et al. 2000: at most log log n above the mean, however many requests; by chance alone it grows."""
    fullest = {}
    for written in ("least_in_flight", "weighted"):
        targets = candidates(**{f"t{index}": 1 for index in range(50)})
        for moment in moments(5_000):
            order(balance(written), targets, moment)[0].state.in_flight += 1
        fullest[written] = max(candidate.state.in_flight for candidate in targets)
    assert fullest["least_in_flight"] <= 100 + 4
    assert fullest["weighted"] > 100 + 15


def test_a_target_that_never_answers_does_not_pile_up_requests() -> None:
    targets = candidates(slow=1, quick=1)
    for moment in moments(100):
        first = order(balance("least_in_flight"), targets, moment)[0]
        first.state.in_flight += first.target.name == "slow"
    assert targets[0].state.in_flight == 1


# --- fastest ---


def waited(**seconds: float | None) -> list[Candidate]:
    found = candidates(**dict.fromkeys(seconds, 1))
    for candidate in found:
        if (wait := seconds[candidate.target.name]) is not None:
            candidate.state.first_token.answered(wait, 0.0)
    return found


@pytest.mark.parametrize("moment", list(moments(5)))
def test_the_shortest_wait_is_first(moment: Moment) -> None:
    assert names(order(balance("fastest"), waited(a=0.9, b=0.1, c=0.3), moment)) == "bca"


def test_requests_in_flight_multiply_the_wait() -> None:
    targets = waited(a=0.1, b=0.35)
    taken = ""
    for moment in moments(8):
        first = order(balance("fastest"), targets, moment)[0]
        first.state.in_flight += 1
        taken += first.target.name
    assert taken[:4] == "aaab"
    assert Counter(taken) == {"a": 6, "b": 2}


def test_a_target_that_was_never_tried_is_tried_by_one_request_at_a_time() -> None:
    targets = waited(a=0.1, new=None)
    (moment,) = moments(1)
    assert order(balance("fastest"), targets, moment)[0].target.name == "new"
    targets[1].state.in_flight = 1
    assert order(balance("fastest"), targets, moment)[0].target.name == "a"


def test_a_target_that_got_slow_is_tried_again_in_time() -> None:
    targets = waited(a=0.2, b=0.1)
    targets[1].state.first_token.answered(5.0, 10.0)
    firsts = []
    for second in range(11, 300):
        first = order(balance("fastest"), targets, Moment(0.0, float(second)))[0]
        first.state.first_token.answered(0.2 if first.target.name == "a" else 0.1, float(second))
        firsts.append(first.target.name)
    assert firsts[:30] == ["a"] * 30
    assert firsts[-60:].count("b") > 50, "the other one is looked at again now and then"


def test_a_target_that_only_fails_fast_is_not_the_fastest() -> None:
    targets = waited(a=0.3, broken=None)
    tries = 0
    for second in range(120):
        first = order(balance("fastest"), targets, Moment(0.0, float(second)))[0]
        if first.target.name == "broken":
            tries += 1
            first.state.first_token.failed(0.001, float(second))
        else:
            first.state.first_token.answered(0.3, float(second))
    assert 1 <= tries <= 3


def test_one_request_finds_out_whether_a_target_has_recovered() -> None:
    """Its breaker lets one through; that it failed lately must not keep that one away."""
    a, b = waited(a=0.1, b=0.1)
    b.state.first_token.failed(0.001, 0.0)
    assert order(balance("fastest"), [a, b], Moment(0.5))[0] is a
    probed = b._replace(is_on_probation=True)
    assert order(balance("fastest"), [a, probed], Moment(0.5))[0] is probed


def test_streams_and_whole_answers_are_not_compared() -> None:
    targets = waited(a=0.1, b=0.9)
    targets[0].state.whole.answered(20.0, 0.0)
    targets[1].state.whole.answered(10.0, 0.0)
    assert order(balance("fastest"), targets, Moment(0.5, streams=True))[0].target.name == "a"
    assert order(balance("fastest"), targets, Moment(0.5, streams=False))[0].target.name == "b"


def test_targets_of_which_nothing_is_known_share_by_chance() -> None:
    firsts = Counter(order(balance("fastest"), candidates(a=1, b=1), moment)[0].target.name for moment in moments(400))
    assert min(firsts.values()) > 150


# --- affinity ---


@pytest.mark.parametrize("written", ["prefix", {"sticky": "user"}])
def test_a_key_keeps_its_target_whatever_the_chance(written: Any) -> None:
    targets = candidates(a=1, b=1, c=1)
    for session in range(20):
        key = key_of(f"session {session}")
        assert len({names(order(balance(written), targets, moment)) for moment in moments(20, key=key)}) == 1


@pytest.mark.parametrize("written", ["prefix", {"sticky": "user"}])
def test_a_request_without_a_key_goes_by_weight(written: Any) -> None:
    targets = candidates(a=1, b=3)
    for moment in moments(50):
        assert order(balance(written), targets, moment) == order(balance("weighted"), targets, moment)


def test_a_session_stays_however_busy_its_target_is() -> None:
    targets = candidates(a=1, b=1)
    key = key_of("s")
    first = order(balance({"sticky": "user"}), targets, Moment(0.1, key=key))[0]
    first.state.in_flight = 1000
    assert order(balance({"sticky": "user"}), targets, Moment(0.1, key=key))[0] is first


def test_who_takes_over_a_session_is_settled_too() -> None:
    """The next target is tried when the first fails, and it is the same one each time."""
    targets = candidates(a=1, b=1, c=1, d=1)
    key = key_of("s")
    ranked = names(order(balance({"sticky": "user"}), targets, Moment(0.1, key=key)))
    left = [candidate for candidate in targets if candidate.target.name != ranked[0]]
    assert names(order(balance({"sticky": "user"}), left, Moment(0.9, key=key))) == ranked[1:]


@settings(max_examples=50)
@given(
    weights=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    max_load=st.sampled_from([1.05, 1.25, 2.0]),
    seed=st.integers(0, 2**32),
    keys=st.integers(1, 6),
)
def test_bounded_load_is_never_exceeded(weights: list[int], max_load: float, seed: int, keys: int) -> None:
    """Requests of few conversations come and go; none ever lands on a target that holds its part already."""
    targets = candidates(**{f"t{index}": weight for index, weight in enumerate(weights)})
    prefix = balance({"prefix": {"max_load": max_load}})
    chances = random.Random(seed)
    under_way: list[Candidate] = []
    for _ in range(60):
        if under_way and chances.random() < 0.4:
            under_way.pop(chances.randrange(len(under_way))).state.in_flight -= 1
        first = order(prefix, targets, Moment(0.5, key=key_of(str(chances.randrange(keys)))))[0]
        share = first.weight / sum(weights)
        assert first.state.in_flight < max_load * share * (len(under_way) + 1) + 1e-9
        first.state.in_flight += 1
        under_way.append(first)


def test_a_conversation_comes_back_to_its_target_when_that_has_room_again() -> None:
    targets = candidates(a=1, b=1)
    moment = Moment(0.1, key=key_of("s"))
    own, other = order(balance("prefix"), targets, moment)
    own.state.in_flight = 5
    assert order(balance("prefix"), targets, moment) == [other, own]
    other.state.in_flight = 5
    assert order(balance("prefix"), targets, moment) == [own, other]


def test_conversations_keep_their_targets_under_even_load() -> None:
    """The bound is what keeps a hot key from drowning a target; with many keys it should hardly ever move one."""
    targets = candidates(**{f"t{index}": 1 for index in range(4)})
    chances, kept = random.Random(3), 0
    under_way: list[Candidate] = []
    for _ in range(4000):
        if len(under_way) >= 40:
            under_way.pop(chances.randrange(len(under_way))).state.in_flight -= 1
        key = key_of(str(chances.randrange(500)))
        first = order(balance("prefix"), targets, Moment(0.5, key=key))[0]
        kept += first is order(balance({"sticky": "user"}), targets, Moment(0.5, key=key))[0]
        first.state.in_flight += 1
        under_way.append(first)
    assert kept / 4000 > 0.8


# --- why ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("weighted", ["weight 3: first for 75% of requests", "weight 1: first for 25% of requests"]),
        ("least_in_flight", ["2 in flight, weight 3", "0 in flight, weight 1"]),
        ("fastest", ["waited 300 ms lately, 2 in flight", "not tried yet, 0 in flight"]),
        ("prefix", ["choice 1 of this conversation: 2 in flight of at most 3", "choice 2 of this conversation: "]),
        ({"sticky": "user"}, ["choice 1 of this session", "choice 2 of this session"]),
    ],
)
def test_each_balance_says_what_it_weighed(written: Any, expected: list[str]) -> None:
    targets = [*busy({"a": (3, 2), "b": (1, 0)}), *candidates(c=0)]
    targets[0].state.first_token.answered(0.3, 0.0)
    told = reasons(balance(written), targets, Moment(0.5, key=key_of("s")))
    assert told[2] == "weight 0: stands by"
    for one, beginning in zip(told, expected, strict=False):
        assert one.startswith(beginning)


def test_a_full_target_is_told_to_be_full() -> None:
    targets = busy({"a": (1, 5), "b": (1, 0)})
    told = reasons(balance("prefix"), targets, Moment(0.5, key=key_of("s")))
    assert ", full: 5 in flight of at most 4" in told[0]


def test_without_a_key_the_weights_are_told() -> None:
    assert reasons(balance("prefix"), candidates(a=1), Moment(0.5)) == ["weight 1: first for 100% of requests"]
