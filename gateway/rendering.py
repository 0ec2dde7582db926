"""A client's call in the words of one target: what is sent there, what is lost on the way, who spells the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.config import Server
from gateway.dialects import DIALECTS, Dialect
from gateway.dialects.base import Json, Outbound
from gateway.dialects.report import Report
from gateway.dialects.turns import steadied
from gateway.neutral.continuing import may_go_on
from gateway.neutral.quick_value import quick_value
from gateway.neutral.request import Request, Wording
from gateway.routing import affinity
from gateway.routing.table import Route
from gateway.routing.target import Target


def governed(request: Request, route: Route, settings: Server, *, is_strict: bool) -> Request:
    """A request with all that the operator has a say in. `is_strict`: what the client asked for.

    Most operators say nothing, and then it is the request itself: a copy of so many fields takes longer than planning.
    """
    said: dict[str, Any] = {
        "is_strict": is_strict or route.is_strict,
        "hides_reasoning": not settings.expose_reasoning,
        "wording": _wording(settings),
        "goes_on": route.continues and may_go_on(request),
    }
    changes = {name: value for name, value in said.items() if value != getattr(request, name)}
    return replace(request, **changes) if changes else request


def _wording(settings: Server) -> Wording:
    return Wording(
        estimates_usage=settings.estimate_usage,
        tells_full_context=settings.context_window_stop != "max_tokens",
        aliases_reasoning=settings.reasoning_field == "reasoning",
    )


def tie(route: Route, request: Request, headers: Mapping[str, str]) -> bytes:
    """What ties a request to a target of its route, the same in all turns of a conversation; empty: nothing."""
    return affinity.key(route.balance, steadied(request) if route.balance.prefix else request, headers)


@quick_value
class Rendering:
    """One call of a client, as `request` and as the `body` it came as, for one target."""

    client: Dialect
    request: Request
    body: Json
    target: Target

    @property
    def dialect(self) -> Dialect:
        """The target's; the client's own where they are the same, also of a call that is only relayed."""
        name = self.target.upstream.dialect
        return self.client if name == self.client.name else DIALECTS[name]

    @property
    def hides(self) -> bool:
        """Whether an answer is spelled anew even for a client of its own dialect, to leave the reasoning out of it."""
        return self.request.hides_reasoning and self.request.own_dialect_only is None

    @property
    def spells_anew(self) -> bool:
        """Whether no answer goes to the client as it comes, not even one in its own dialect."""
        return self.hides or self.request.goes_on

    def outbound(self) -> Outbound:
        """What is sent. Raises what this target can't carry."""
        model, options = self.target.model, self.target.upstream.options
        if self.dialect is self.client:
            forwarded = self.client.forward(self.body, self.request, model, options)
            return self._reported(forwarded) if self.hides else forwarded
        if self.request.own_dialect_only is not None:
            raise self.request.own_dialect_only
        return self.dialect.render(self.request, model, options)

    def passes(self, *, is_whole: bool) -> bool:
        """Whether the client gets an answer as the upstream spelled it: a whole one, or a stream."""
        dialect, options = self.dialect, self.target.upstream.options
        return dialect is self.client and dialect.passes(self.request, options, is_whole) and not self.spells_anew

    def _reported(self, outbound: Outbound) -> Outbound:
        """With what an answer that is spelled anew can't hold; it is one answer, and has no probabilities."""
        report = Report(self.request)
        if (self.request.n or 1) > 1:
            report.refuse("n", why="several answers can't be given where reasoning is not exposed; ask for one")
        report.drop("logprobs", "top_logprobs")
        return replace(outbound, dropped=tuple(sorted({*outbound.dropped, *report.dropped})))
