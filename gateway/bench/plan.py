"""What is to be measured: pairs of dialects, numbers of streams, and how long each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_STREAMS: Final = 10_000
"""At a time. Loopback has some 28,000 ports for connections, and each stream takes two."""
_ANY: Final = "*"


class Pair(NamedTuple):
    """A client's dialect, and that of the upstream behind the gateway."""

    client: str
    upstream: str

    def __str__(self) -> str:
        return f"{self.client}<-{self.upstream}"


@dataclass(frozen=True, slots=True)
class Plan:
    """`streams`: how many at a time, ascending. `pace_s`: between two tokens of a stream.

    `probes` requests of each kind are sent one at a time. All is measured `rounds` times, and medians are told. The
    gateway has so many `workers`, and its `metrics` are on or off.
    """

    pairs: tuple[Pair, ...]
    streams: tuple[int, ...]
    tokens: int = 100
    pace_s: float = 0.02
    rounds: int = 1
    probes: int = 200
    workers: int = 1
    metrics: bool = True

    @property
    def clients(self) -> tuple[str, ...]:
        """The dialects whose direct line is measured."""
        return tuple(dict.fromkeys(pair.client for pair in self.pairs))

    @property
    def stream_s(self) -> float:
        """How long a stream lasts."""
        return self.tokens * self.pace_s

    @property
    def ramp_s(self) -> float:
        """The streams begin evenly over this time, so that all are open for the other half of their own."""
        return self.stream_s / 2

    def level_s(self, streams: int) -> float:
        """How long it takes to measure so many streams, if all goes well."""
        return self.stream_s + (self.ramp_s if streams > 1 else 0)


def read_pairs(text: str, dialects: Sequence[str]) -> tuple[Pair, ...]:
    """`CLIENT:UPSTREAM,…`, where `*` stands for each dialect. Raises ValueError for what is no pair."""
    found: dict[Pair, None] = {}
    for part in text.split(","):
        client, colon, upstream = part.strip().partition(":")
        if not colon or {client, upstream} - {_ANY, *dialects}:
            raise ValueError(f'no pair "{part.strip()}": write CLIENT:UPSTREAM, each {", ".join(dialects)} or {_ANY}')
        clients, upstreams = (dialects if name == _ANY else (name,) for name in (client, upstream))
        found.update(dict.fromkeys(Pair(one, other) for one in clients for other in upstreams))
    return tuple(found)


def read_streams(text: str) -> tuple[int, ...]:
    """`1,50,…`, each once, ascending. Raises ValueError for what is no such number."""
    found = set()
    for part in text.split(","):
        number = part.strip()
        if not number.isdecimal() or not 1 <= int(number) <= MAX_STREAMS:
            raise ValueError(f'"{number}" streams: expected numbers from 1 to {MAX_STREAMS}, as 1,50,200')
        found.add(int(number))
    return tuple(sorted(found))
