"""Second tries for one request: when one is made beside a first that is late, and what is noted of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from gateway.calling import Calling
from gateway.errors import GatewayError
from gateway.racing import Lane, Race, Racer
from gateway.routing.course import Course, Try
from gateway.routing.hedge import patience
from gateway.routing.state import HedgeState
from gateway.routing.target import Target

Failure = tuple[Target, GatewayError]
"""What failed, and where."""


class Hedging:
    """Second tries for one request, where its route wants them."""

    def __init__(self, calling: Calling, client: Racer) -> None:
        self._calling = calling
        self._client = client
        self._states = calling.services.states
        self._route = calling.route
        self._record = calling.record
        self._now = asyncio.get_running_loop().time

    def begin(self) -> None:
        """A request more, of which so many may have a second try."""
        if self._route.hedge is not None:
            self._hedges().budget.count(self._now())

    def late_s(self, target: Target) -> float | None:
        """How long the target is waited for before another one is asked too; None: however long it takes."""
        request, limits = self._calling.call.request, self._route.timeouts
        if not (self._calling.is_answer and request.may_be_asked_twice):
            return None
        recent = self._states.target(target).recent(streams=request.stream)
        return patience(self._route.hedge, recent, limits.first_token if request.stream else limits.total)

    async def race(self, planned: Try, course: Course, late_s: float) -> Sequence[Failure]:
        """The try, and another one beside it once it is late. What failed, if none answered."""
        race, targets = Race(self._client), dict[Lane, Target]()

        def lane_of(one: Try) -> Lane:
            lane = Lane(race, self._client, partial(self._calling.failure_of, one), partial(self._won, one.target))
            targets[lane] = one.target
            return lane

        def second() -> Lane | None:
            if self._client.departure.happened_at is not None:
                return None
            now, hedges = self._now(), self._hedges()
            beside = course.beside(planned.target, now, lambda: hedges.budget.spend(now))
            return None if beside is None else lane_of(beside)

        failed = await race.run(first := lane_of(planned), late_s, second)
        if len(targets) > 1:
            self._note_race(race.winner, first, planned.target, late_s)
        return [
            (targets[lane], lane.error) for lane in failed if lane.error is not None and race.winner in (None, lane)
        ]

    def _hedges(self) -> HedgeState:
        hedge = self._route.hedge
        assert hedge is not None
        return self._states.hedges(self._route.name, hedge.max_ratio)

    def _won(self, target: Target) -> None:
        self._record.upstream, self._record.upstream_dialect = target.name, target.upstream.dialect

    def _note_race(self, winner: Lane | None, first: Lane, target: Target, late_s: float) -> None:
        """What came of the second try. Of a first one that was called off it is known that it was late, not how much.

        It counts as long as it was given: what follows from more would be given more, and more again.
        """
        self._record.hedge = "failed" if winner is None else "lost" if winner is first else "won"
        if winner is not None and winner is not first:
            self._hedges().won += 1
            if first.error is None:
                state = self._states.target(target)
                state.answered(late_s, self._now(), streams=self._calling.call.request.stream)
