"""Model name → route → targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.config import (
    Balance,
    Config,
    Hedge,
    Retries,
    SlowClient,
    Target,
    Timeouts,
    Upstream,
    WeightedTarget,
    hint,
    matches,
)
from gateway.errors import NoRoute, NotAllowed

MayUse = Callable[[str], bool]
"""Whether a client may use a model name."""


@dataclass(frozen=True, slots=True)
class Route:
    """A configured model name or pattern with everything needed to plan attempts."""

    name: str
    targets: tuple[WeightedTarget, ...]
    fallback: tuple[Target, ...]
    timeouts: Timeouts
    upstreams: Mapping[str, Upstream]
    balance: Balance
    retries: Retries
    is_strict: bool = False
    """Whether what a target would drop is refused, whatever the client asks for."""
    slow_client: SlowClient = field(default_factory=SlowClient)
    drain_s: float = 0.0
    """How long an answer is read on whose client has left."""
    hedge: Hedge | None = None
    continues: bool = False
    """Whether an answer that breaks after the commit point may go on from another target."""

    @property
    def is_pattern(self) -> bool:
        """Whether the route serves more than one name, and so passes the name asked for on."""
        return "*" in self.name


class Table:
    """All routes. Exact names win; then the pattern with the most literal text; then the one configured first."""

    def __init__(self, config: Config) -> None:
        routes = [
            Route(
                name,
                route.targets,
                route.fallback,
                route.timeouts,
                config.upstreams,
                route.balance,
                route.retries,
                route.strict,
                route.slow_client,
                route.on_disconnect.drain,
                hedge=route.hedge,
                continues=route.continue_after_cut,
            )
            for name, route in config.routes.items()
        ]
        self._exact = {route.name: route for route in routes if not route.is_pattern}
        patterns = (route for route in routes if route.is_pattern)
        self._patterns = sorted(patterns, key=lambda route: len(route.name.replace("*", "")), reverse=True)

        places = ((route.name, place) for route in routes for place in (*route.targets, *route.fallback))
        self.targets: Final = tuple(dict.fromkeys((place.upstream, place.model or name) for name, place in places))
        """All targets of all routes: upstream, and model as configured (`Target.key`)."""
        self.upstreams: Final = tuple(dict.fromkeys(upstream for upstream, _ in self.targets))
        """The upstreams that any route calls."""
        ways = (route.balance.sticky for route in routes)
        self.session_headers: Final = frozenset(way.header for way in ways if way and way.header)
        """Request headers that tie requests to targets, in lower case."""

    @property
    def names(self) -> tuple[str, ...]:
        """The exact names, in the order of the file: what a list of models can show."""
        return tuple(self._exact)

    def find(
        self, names: Sequence[str], *, is_versioned: bool = False, may_use: MayUse | None = None
    ) -> tuple[Route, str]:
        """The route of the first name that has one, and that name. Raises `NoRoute`, and `NotAllowed` by `may_use`.

        Where names are versioned, `model@version` promises that version, and only a pattern with an `@` takes it.
        """
        for name in names:
            if route := self._exact.get(name) or self._matching(name, is_version=is_versioned and "@" in name):
                if may_use is not None and not may_use(name):
                    raise NotAllowed(
                        f'this key may not use the route "{_shown(name)}"; GET /v1/models lists those it may'
                    )
                return route, name
        asked = _shown(names[0]) if names else ""
        known = [name for name in self._exact if may_use is None or may_use(name)]
        raise NoRoute(f'no route for model "{asked}"; {hint(asked, known)}')

    def _matching(self, name: str, *, is_version: bool) -> Route | None:
        patterns = (route for route in self._patterns if "@" in route.name or not is_version)
        return next((route for route in patterns if matches(route.name, name)), None)


def _shown(name: str) -> str:
    """A client's text, fit for a message: at most 64 characters, all printable."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])
