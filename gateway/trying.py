"""One request's tries: as its course says, until one answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from gateway.attempt import Attempt, Call, Services
from gateway.calling import Calling
from gateway.continuing import Continuation
from gateway.hedging import Failure, Hedging
from gateway.racing import Racer
from gateway.routing.course import Course, Remedy, Try, remedy_of
from gateway.routing.table import Route
from gateway.routing.target import Target
from gateway.telemetry.log import Record


class Trying:
    """Has the targets of a plan called in turn, as the course of the request says."""

    def __init__(
        self,
        services: Services,
        call: Call,
        route: Route,
        client: Racer,
        record: Record,
        make_attempt: type[Attempt] = Attempt,
    ) -> None:
        self._states = services.states
        self._route = route
        self._client = client
        self._calling = Calling(services, call, route, record, make_attempt)
        self._hedging = Hedging(self._calling, client)
        self._continuation = Continuation(self._calling, client)
        self._now = asyncio.get_running_loop().time

    async def run(self, targets: Sequence[Target]) -> None:
        """Until one answers. A client that leaves cancels whatever is under way, a wait too."""
        self._hedging.begin()
        course = self._course(self._states.with_room_first(targets))
        following: Try | None = course.first()
        while following is not None:
            failures = await self._round(following, course)
            if not failures:
                await self._continuation.go_on(targets)
                return
            following = await self._after(course, failures)
        assert course.told is not None
        raise course.told

    async def _round(self, planned: Try, course: Course) -> Sequence[Failure]:
        """One try, and maybe another one beside it. What failed, if none answered."""
        late_s = self._hedging.late_s(planned.target)
        if late_s is None:
            error = await self._calling.failure_of(planned, self._client)
            return [] if error is None else [(planned.target, error)]
        return await self._hedging.race(planned, course, late_s)

    def _course(self, targets: Sequence[Target]) -> Course:
        """Those that may not be called now come last: they may be until it is their turn."""
        retries, deadline = self._route.retries, self._client.timeline.begun + self._route.timeouts.total
        admit = self._states.admit
        admitted = admit(targets, self._now())
        others = [target for target in targets if target not in admitted]
        return Course([*admitted, *others], retries, deadline, self._calling.afford, admit)

    async def _after(self, course: Course, failures: Sequence[Failure]) -> Try | None:
        """The next try, when its time has come, if its target may be called then.

        That nothing helps against one of two failures outweighs what might against the other.
        """
        *others, (target, error) = sorted(failures, key=lambda failure: remedy_of(failure[1]) is Remedy.NOTHING)
        for other, earlier in others:
            course.failed(other, earlier, self._now())
        while True:
            following = course.after(target, error, self._now(), random.random())
            if following is None or not following.delay_s:
                return following
            await asyncio.sleep(following.delay_s)
            if course.may(following.target, self._now()):
                return following
