"""How long an answer is waited for before the next target is asked too."""

from __future__ import annotations

from typing import Final

from gateway.config import P95, Hedge
from gateway.routing.quantile import Recent

_SHARE: Final = 0.95


def patience(hedge: Hedge | None, recent: Recent, limit_s: float) -> float | None:
    """Seconds from the call, or None: no second target is asked.

    `recent`: how long the target's last answers took. `limit_s`: when the wait is over in any case.
    """
    if hedge is None:
        return None
    after = recent.quantile(_SHARE) if hedge.after == P95 else float(hedge.after)
    return after if after is not None and after < limit_s else None
