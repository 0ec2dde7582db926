"""Who may call an upstream now, who waits for that, and who is sent away: a bounded queue that is fair between keys.

An upstream takes `limit` calls at a time. Whoever comes later waits, at most `size` of them, each key in a lane of its
own. A slot that is free goes to the lane whose turn it is, and there to the one who came first; so between two turns of
a lane every other lane has at most one, however many wait in it.

Full, it sheds new work and never what is running. Is a key there with less than others, it may wait in place of the
last one in the lane of the key that is there with most: no key can keep the others out by filling the queue. Who is
sent away is told whose fault that is, by `is_greedy`: the key's own, where it is there with more than its share, or
nobody's, where the upstream is simply busy.

Tickets are told of their fate through `called`; what they do about it is the caller's business. Limits come with each
entry, as a reload may have changed them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_EVERYTHING: Final = float("inf")


class Standing(Enum):
    """Of a ticket. Only WAITING changes by what others do."""

    WAITING = auto()
    ADMITTED = auto()
    """Holds a slot until it leaves."""
    REFUSED = auto()
    """There was no room, or another key had more right to its place."""
    LEFT = auto()


@dataclass(slots=True, eq=False)
class Ticket:
    """One call, from its entry until it leaves. `called` is run once, when a ticket that waits no longer does."""

    key: bytes
    called: Callable[[], None]
    standing: Standing = Standing.WAITING
    is_greedy: bool = False
    """Refused because its key is there with more than its share."""


class Admission:
    """The slots of one upstream. `running` and `waiting` are now; `refused` counts since the start."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.refused = 0
        self._limit: int | None = None
        self._present: Counter[bytes] = Counter()
        """How many tickets of each key run or wait."""
        self._lanes: OrderedDict[bytes, deque[Ticket]] = OrderedDict()
        """Tickets that wait, by key; the lane whose turn it is comes first. No lane is empty."""

    def has_room(self, limit: int | None) -> bool:
        """Whether a call would be admitted at once."""
        return limit is None or self.running + self.waiting < limit

    def enter(self, key: bytes, called: Callable[[], None], limit: int | None, size: int) -> Ticket:
        """A ticket that is admitted, waits or was refused.

        `limit`: calls at a time, None for any number; `size`: how many may wait.
        """
        self._limit = limit
        self._call_up()
        ticket = Ticket(key, called)
        if self._is_free:
            self._admit(ticket)
        elif self.waiting < size or self._displace(key, size):
            self._lanes.setdefault(key, deque()).append(ticket)
            self.waiting += 1
        else:
            self._refuse(ticket, self._share(key, size))
            return ticket
        self._present[key] += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Gives back a slot, or a place in the queue; a second time does nothing."""
        standing, ticket.standing = ticket.standing, Standing.LEFT
        if standing is Standing.ADMITTED:
            self.running -= 1
            self._forget(ticket)
            self._call_up()
        elif standing is Standing.WAITING:
            self._take(ticket)
            self._forget(ticket)

    @property
    def _is_free(self) -> bool:
        return self._limit is None or self.running < self._limit

    def _call_up(self) -> None:
        """Free slots to those who wait, a lane at a time."""
        while self._lanes and self._is_free:
            key = next(iter(self._lanes))
            ticket = self._lanes[key][0]
            self._take(ticket)
            if key in self._lanes:
                self._lanes.move_to_end(key)
            self._admit(ticket)
            ticket.called()

    def _admit(self, ticket: Ticket) -> None:
        ticket.standing = Standing.ADMITTED
        self.running += 1

    def _displace(self, key: bytes, size: int) -> bool:
        """Room for one more of a key, at the cost of the key that is there with most, if that one has more still."""
        if not self._lanes:
            return False
        greediest = max(self._lanes, key=self._present.__getitem__)
        if self._present[greediest] <= self._present[key] + 1:
            return False
        ticket = self._lanes[greediest][-1]
        self._take(ticket)
        self._forget(ticket)
        self._refuse(ticket, self._share(key, size))
        ticket.called()
        return True

    def _refuse(self, ticket: Ticket, share: float) -> None:
        ticket.standing = Standing.REFUSED
        ticket.is_greedy = self._present[ticket.key] + 1 > share
        self.refused += 1

    def _share(self, key: bytes, size: int) -> float:
        """What each key may have of all there is, the newcomer's included. Alone, a key may have everything."""
        others = len(self._present) - (key in self._present)
        return ((self._limit or 0) + size) / (others + 1) if others else _EVERYTHING

    def _take(self, ticket: Ticket) -> None:
        """Out of its lane."""
        lane = self._lanes[ticket.key]
        lane.remove(ticket)
        self.waiting -= 1
        if not lane:
            del self._lanes[ticket.key]

    def _forget(self, ticket: Ticket) -> None:
        self._present[ticket.key] -= 1
        if not self._present[ticket.key]:
            del self._present[ticket.key]
