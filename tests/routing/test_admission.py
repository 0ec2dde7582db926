"""Slots and a queue: who gets in, who waits, who is sent away, and that no key keeps the others out."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.admission import Admission, Standing, Ticket

A, B, C = b"a", b"b", b"c"


class Door:
    """An admission with fixed limits, and who was called in which order."""

    def __init__(self, limit: int | None, size: int) -> None:
        self.admission = Admission()
        self.limit = limit
        self.size = size
        self.called: list[Ticket] = []

    def enter(self, key: bytes) -> Ticket:
        tickets: list[Ticket] = []
        ticket = self.admission.enter(key, lambda: self.called.append(tickets[0]), self.limit, self.size)
        tickets.append(ticket)
        return ticket

    def come(self, keys: bytes) -> list[Ticket]:
        """One ticket for each letter."""
        return [self.enter(bytes([key])) for key in keys]

    def served(self) -> bytes:
        """The keys of those who wait, in the order in which they get a slot when one after the other leaves."""
        order = []
        while self.admission.waiting:
            before = len(self.called)
            self.admission.leave(self.running.popleft())
            order += self.called[before:]
            self.running += self.called[before:]
        return b"".join(ticket.key for ticket in order)

    running: deque[Ticket]


def standings(tickets: list[Ticket]) -> str:
    return "".join(ticket.standing.name[0] for ticket in tickets)


def test_as_many_as_the_limit_are_admitted_the_next_wait_and_the_rest_are_refused() -> None:
    door = Door(limit=2, size=3)
    assert standings(door.come(b"aaaaaaa")) == "AAWWWRR"
    assert (door.admission.running, door.admission.waiting, door.admission.refused) == (2, 3, 2)


def test_without_a_limit_nobody_waits() -> None:
    door = Door(limit=None, size=0)
    assert standings(door.come(b"ab" * 50)) == "A" * 100
    assert door.admission.has_room(None)


def test_who_leaves_calls_the_first_who_waits_once() -> None:
    door = Door(limit=1, size=2)
    running, first, second = door.come(b"aaa")
    door.admission.leave(running)
    assert (door.called, standings([running, first, second])) == ([first], "LAW")
    door.admission.leave(running)
    assert (door.called, door.admission.running) == ([first], 1), "a slot is given back once"


def test_who_goes_away_while_waiting_frees_a_place_and_no_slot() -> None:
    door = Door(limit=1, size=1)
    running, waiting = door.come(b"ab")
    door.admission.leave(waiting)
    assert (door.admission.waiting, door.called) == (0, [])
    late = door.enter(C)
    door.admission.leave(running)
    assert door.called == [late]


def test_who_was_refused_has_nothing_to_give_back() -> None:
    door = Door(limit=1, size=0)
    _, refused = door.come(b"aa")
    door.admission.leave(refused)
    assert (door.admission.running, door.admission.waiting) == (1, 0)


def test_room_is_what_is_left_of_the_limit() -> None:
    door = Door(limit=2, size=2)
    assert door.admission.has_room(2)
    tickets = door.come(b"ab")
    assert not door.admission.has_room(2)
    assert door.admission.has_room(3)
    door.admission.leave(tickets[0])
    assert door.admission.has_room(2)


@pytest.mark.parametrize(
    ("waiting", "order"),
    [
        (b"aaaa", b"aaaa"),
        (b"aaab", b"abaa"),
        (b"aaabbc", b"abcaba"),
        (b"abcabc", b"abcabc"),
        (b"bbbbba", b"babbbb"),
    ],
)
def test_keys_take_turns_and_within_one_the_first_comes_first(waiting: bytes, order: bytes) -> None:
    door = Door(limit=1, size=10)
    door.running = deque(door.come(b"x"))
    tickets = door.come(waiting)
    assert door.served() == order
    for key in (A, B, C):
        mine = [ticket for ticket in tickets if ticket.key == key]
        assert [ticket for ticket in door.called if ticket.key == key] == mine


def test_a_key_that_fills_the_queue_keeps_nobody_out() -> None:
    """The last of the greedy key goes, whoever runs stays."""
    door = Door(limit=2, size=3)
    greedy = door.come(b"aaaaa")
    modest = door.enter(B)
    assert (standings(greedy), modest.standing) == ("AAWWR", Standing.WAITING)
    assert (door.called, greedy[4].is_greedy) == ([greedy[4]], True)


def test_also_the_only_place_in_a_queue_goes_to_the_key_that_has_nothing() -> None:
    door = Door(limit=1, size=1)
    running, waiting = door.come(b"aa")
    late = door.enter(B)
    assert standings([running, waiting, late]) == "ARW"


def test_a_key_that_has_no_more_than_the_newcomer_would_have_keeps_its_place() -> None:
    door = Door(limit=1, size=1)
    assert standings(door.come(b"abc")) == "AWR"


def test_who_loses_its_place_without_having_more_than_its_share_is_not_called_greedy() -> None:
    """Whoever runs has most, and is never cut off."""
    door = Door(limit=20, size=2)
    tickets = door.come(b"a" * 20 + b"bbc")
    assert standings(tickets[20:]) == "WRW"
    assert not tickets[21].is_greedy


@pytest.mark.parametrize(
    ("there", "key", "is_greedy"),
    [
        (b"aaaa", A, False),  # alone it may have everything: the upstream is simply busy
        (b"abab", A, True),  # half of everything is its share
        (b"abab", C, False),
        (b"aabb", B, True),
    ],
)
def test_who_is_refused_hears_whose_fault_it_is(there: bytes, key: bytes, is_greedy: bool) -> None:
    door = Door(limit=2, size=2)
    door.come(there)
    assert door.enter(key).is_greedy is is_greedy


def test_a_higher_limit_lets_those_in_who_wait() -> None:
    """A reload brings it, and the next entry tells of it."""
    door = Door(limit=1, size=3)
    _, first, second = door.come(b"aaa")
    door.limit = 3
    assert door.enter(B).standing is Standing.WAITING
    assert door.called == [first, second]
    door.limit = None
    assert door.enter(C).standing is Standing.ADMITTED
    assert door.admission.waiting == 0


def test_a_lower_limit_cuts_nobody_off() -> None:
    door = Door(limit=3, size=3)
    running = door.come(b"abc")
    door.limit = 1
    late = door.enter(A)
    assert standings([*running, late]) == "AAAW"
    for ticket in running[:2]:
        door.admission.leave(ticket)
        assert late.standing is Standing.WAITING
    door.admission.leave(running[2])
    assert late.standing is Standing.ADMITTED


# -- whatever comes and goes -----------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.sampled_from([A, B, C, b"d"]), st.integers(0, 9)), max_size=80)


@given(limit=st.integers(1, 4), size=st.integers(0, 6), steps=STEPS)
def test_the_books_are_right_whatever_comes_and_goes(limit: int, size: int, steps: list[tuple[bytes, int]]) -> None:
    """Never more than the limit, no free slot while somebody waits, each ticket called once, and nothing is left."""
    door = Door(limit, size)
    there: list[Ticket] = []
    refused = 0
    for key, choice in steps:
        if choice < 6 or not there:
            ticket = door.enter(key)
            there.append(ticket)
        else:
            door.admission.leave(there.pop(choice % len(there)))
        counted = Counter(ticket.standing for ticket in there)
        assert (door.admission.running, door.admission.waiting) == (
            counted[Standing.ADMITTED],
            counted[Standing.WAITING],
        )
        assert door.admission.running <= limit
        assert door.admission.waiting <= size
        assert not door.admission.waiting or door.admission.running == limit
        refused = max(refused, counted[Standing.REFUSED])
    assert door.admission.refused >= refused
    assert len(door.called) == len(set(door.called))
    for ticket in there:
        door.admission.leave(ticket)
    assert (door.admission.running, door.admission.waiting) == (0, 0)


@given(limit=st.integers(1, 3), size=st.integers(1, 8), steps=STEPS, greed=st.integers(1, 30))
def test_no_key_starves(limit: int, size: int, steps: list[tuple[bytes, int]], greed: int) -> None:
    """From when a key has a ticket in the queue until it gets a slot, no other key gets two."""
    door = Door(limit, size)
    there = door.come(b"a" * greed)
    waits: dict[bytes, Counter[bytes]] = {}
    for key, choice in steps:
        before = len(door.called)
        if choice < 6:
            there.append(door.enter(key))
        elif running := [ticket for ticket in there if ticket.standing is Standing.ADMITTED]:
            door.admission.leave(running[choice % len(running)])
        for ticket in door.called[before:]:
            if ticket.standing is Standing.ADMITTED:
                waits.pop(ticket.key, None)
                for passed in waits.values():
                    passed[ticket.key] += 1
        waiting = {ticket.key for ticket in there if ticket.standing is Standing.WAITING}
        waits = {key: waits.get(key, Counter()) for key in waiting}
        assert all(count == 1 for passed in waits.values() for count in passed.values())


@given(limit=st.integers(1, 3), size=st.integers(1, 8), greed=st.integers(2, 40))
def test_a_key_that_is_not_there_gets_in_beside_one_that_takes_all(limit: int, size: int, greed: int) -> None:
    door = Door(limit, size)
    door.come(b"a" * greed)
    assert door.enter(B).standing is not Standing.REFUSED
