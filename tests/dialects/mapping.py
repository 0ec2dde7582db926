"""Rows of mapping.md's tables, as data: what a client asks, and what an upstream hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from gateway.dialects.base import Outbound
from gateway.errors import ClientError
from tests.dialects.requests import BODIES, Json, carried, parse, render


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: at this upstream these fields become `sent`, where None is nothing at all."""

    name: str
    client: str
    fields: Json
    upstream: str
    sent: Json = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    options: Json = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.client} to {self.upstream}: {self.name}"

    @property
    def body(self) -> Json:
        return BODIES[self.client](**self.fields)

    def carried(self) -> Outbound:
        return carried(self.client, self.body, self.upstream, **self.options)

    def carried_strictly(self) -> Outbound:
        return render(replace(parse(self.client, self.body), is_strict=True), self.upstream, **self.options)

    def check(self) -> None:
        """Whether that is what becomes of it."""
        outbound = self.carried()
        assert {name: outbound.body.get(name) for name in self.sent} == self.sent
        assert (outbound.dropped, outbound.adapted) == (self.dropped, self.adapted)


def refusal(client: str, body: Json, upstream: str, **options: object) -> ClientError:
    """What a client is told of a request that can't be translated."""
    with pytest.raises(ClientError) as caught:
        _translate(client, body, upstream, **options)
    return caught.value


def _translate(client: str, body: Json, upstream: str, **options: object) -> None:
    request = parse(client, body)
    if request.own_dialect_only is not None:
        raise request.own_dialect_only
    render(request, upstream, **options)
