"""Whether an upstream passes its health checks: how many in a row went which way. Pure, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import HealthCheck


@dataclass(frozen=True, slots=True)
class Health:
    """What the checks so far say. An upstream that was never checked is taken for healthy."""

    is_healthy: bool = True
    run: int = 0
    """Checks in a row, up to the last one, that say otherwise."""


def noted(health: Health, settings: HealthCheck, *, is_fine: bool) -> Health:
    """With one more check."""
    if is_fine is health.is_healthy:
        return Health(health.is_healthy)
    run = health.run + 1
    is_enough = run >= (settings.healthy if is_fine else settings.unhealthy)
    return Health(is_fine) if is_enough else Health(health.is_healthy, run)
