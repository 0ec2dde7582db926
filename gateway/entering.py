"""Who may come in: a client's key and its limits, held as long as its request lasts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from gateway.access.keyring import Headers, Holder, Keyring, credentials
from gateway.access.limits import Count, InFlight, Rates
from gateway.config import Config
from gateway.dialects.limits import LimitHeaders
from gateway.errors import NotAllowed, TooMany

_AGAIN_S: Final = 1.0
"""When to come back if all that a key may have at a time is under way: nobody knows when one of them ends."""
_REQUESTS: Final = "requests"


class Visit:
    """One request of a client, from its admission to its end.

    `headers`: what its answer says of the key's limits. `credential`: what it sent beside the key, for upstreams that
    are called with that.
    """

    def __init__(self, holder: Holder | None, credential: bytes, in_flight: InFlight, rates: Rates | None) -> None:
        self.holder = holder
        self.credential = credential
        self.headers: Mapping[str, str] = {}
        self._in_flight = in_flight
        self._rates = rates
        self._is_inside = False

    def may_use(self, name: str) -> bool:
        """Whether it may ask for a model name."""
        return self.holder is None or self.holder.may_use(name)

    async def begin(self, spelling: LimitHeaders, now: int) -> None:
        """Counts the request. Raises TooMany.

        `spelling`: of limits, in the client's dialect; `now` in epoch seconds.
        """
        holder = self.holder
        if holder is None:
            return
        if not self._in_flight.enter(holder.id, holder.max_in_flight):
            most = holder.max_in_flight or 0
            what = f'the key "{holder.id}" has {most} requests under way, as many as it may have at a time'
            raise _too_many(
                f"{what}; ask again when one has ended", Count(most, 0, _AGAIN_S, is_over=True), spelling, now
            )
        self._is_inside = True
        if holder.requests_per_minute is not None and self._rates is not None:
            count = await self._rates.count(holder.id, holder.requests_per_minute)
            if count.is_over:
                what = f'the key "{holder.id}" may make {count.limit} requests a minute'
                raise _too_many(f"{what}; ask again in {_whole(count.reset_s)} s", count, spelling, now)
            self.headers = _told(count, spelling, now)

    def leave(self) -> None:
        """It is over, however; a second time does nothing."""
        if self._is_inside and self.holder is not None:
            self._is_inside = False
            self._in_flight.leave(self.holder.id)


class Entrance:
    """The keys in force, and what was counted of them."""

    def __init__(self, config: Config, rates: Rates | None = None, in_flight: InFlight | None = None) -> None:
        """`rates`: needed where a key has requests_per_minute."""
        self._keyring = Keyring(config.keys) if config.keys else None
        self.rates = rates
        self.in_flight = in_flight or InFlight()

    def visit(self, headers: Headers, now: float) -> Visit:
        """Whose request it is. Raises BadKey. `now` in epoch seconds."""
        given = credentials(headers)
        if self._keyring is None:  # but an upstream is called with the client's own
            return Visit(None, next(filter(None, given), b""), self.in_flight, None)
        holder, foreign = self._keyring.find(given, now)
        return Visit(holder, foreign, self.in_flight, self.rates)


def entrance_of(config: Config, before: Entrance | None = None) -> Entrance | None:
    """What a configuration asks for, with the counts from before; None where nobody is asked anything."""
    if not config.keys and not any(upstream.takes_client_key for upstream in config.upstreams.values()):
        return None
    rates = before.rates if before else None
    if rates is None and any(key.requests_per_minute for key in config.keys.values()):
        from gateway.rates import MemoryRates  # a fifth of a second, and some megabytes

        rates = MemoryRates()
    return Entrance(config, rates, before.in_flight if before else None)


def check_operator(entrance: Entrance | None, headers: Headers, now: float) -> None:
    """Raises BadKey, or NotAllowed for a client whose key isn't an operator's."""
    holder = entrance.visit(headers, now).holder if entrance else None
    if holder is None or not holder.is_admin:
        raise NotAllowed("this is for operators: from other machines it takes a key that is marked admin: true")


def _too_many(what: str, count: Count, spelling: LimitHeaders, now: int) -> TooMany:
    return TooMany(what, retry_after_s=_whole(count.reset_s), headers=_told(count, spelling, now))


def _told(count: Count, spelling: LimitHeaders, now: int) -> dict[str, str]:
    return spelling.told(_REQUESTS, count.limit, count.remaining, _whole(count.reset_s), now)


def _whole(seconds: float) -> int:
    """Whole seconds, as Retry-After has them (RFC 9110 §10.2.3), and never too few."""
    return max(1, math.ceil(seconds))
