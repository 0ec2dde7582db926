"""How tries and health checks went, told to the breakers; and to the operator, when that opened or closed one."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final, Self

from gateway.config import HealthCheck
from gateway.errors import GatewayError
from gateway.routing.breaker import State
from gateway.routing.state import States
from gateway.routing.target import Target
from gateway.routing.trial import Trial
from gateway.telemetry.timeline import Timeline

logger: Final = logging.getLogger("triglot.upstreams")


class Judge:
    """Sits over one try of one target, from when it is sent to when it is over, whichever way."""

    def __init__(self, states: States, target: Target, timeline: Timeline, *, counts: bool) -> None:
        """`counts`: whether it is a try for an answer; a call beside that may fail where answers don't."""
        self._state = states.target(target)
        self._name = "/".join(target.key)
        self._now = asyncio.get_running_loop().time
        self._trial = Trial(self._state, target.upstream.breaker if counts else None, self._now())
        self._broken: GatewayError | None = None
        timeline.on_first_content.append(self._answered)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        error = error or self._broken
        self._tell(self._trial.ended(error, self._now(), random.random()), error)

    def settle(self, error: GatewayError | None, *, has_head: bool) -> None:
        """It ended without raising: `error` broke it when the client had its head. `has_head`: the upstream's came."""
        self._broken = error
        if error is None and has_head:
            self._answered(self._now())

    def _answered(self, now: float) -> None:
        self._tell(self._trial.answered(now), None)

    def _tell(self, became: State | None, error: BaseException | None) -> None:
        if became is State.OPEN:
            self._state.opened += 1
            why = error.word if isinstance(error, GatewayError) else "failures"
            alone_s = self._state.breaker.until - self._now()
            logger.warning("target %s is left alone for %.1f s, the last error was: %s", self._name, alone_s, why)
        elif became is State.CLOSED:
            logger.info("target %s is in use again", self._name)


def health_checked(states: States, name: str, settings: HealthCheck, *, is_fine: bool) -> None:
    """What a health check of an upstream found."""
    now = asyncio.get_running_loop().time()
    is_healthy = states.checked(name, settings, now, is_fine=is_fine)
    if is_healthy is False:
        logger.warning("upstream %s is left alone: %d health checks in a row failed", name, settings.unhealthy)
    elif is_healthy:
        logger.info("upstream %s is healthy again", name)
