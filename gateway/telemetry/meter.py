"""What requests are counted by: told once at the end of each, and once at the end of each call of an upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.telemetry.log import Record
from gateway.telemetry.metrics import Metric
from gateway.telemetry.timeline import Timeline

COMPLETE: Final = "complete"
COUNTING: Final = "count_tokens"
"""The operation that asks how many tokens a prompt has, and uses none."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call of an upstream that has ended, after so long. `end`: complete, the word of an error, or left."""

    route: str
    operation: str
    upstream: str
    dialect: str
    end: str
    seconds: float


class Meter(Protocol):
    """Takes what happened. Nothing of it is called for an event of a stream."""

    def stream_began(self, route: str) -> None:
        """A request for a stream has found its route; the other end of it is `ended`."""

    def ended(self, record: Record, operation: str, timeline: Timeline, pause_s: float) -> None:
        """A request is over. `pause_s`: how long its answer stood still for its client to take more of it."""

    def called(self, call: Called) -> None:
        """A call of an upstream is over."""

    def retried(self, route: str, upstream: str) -> None:
        """A target is asked once more."""

    def failed_over(self, route: str, upstream: str) -> None:
        """This upstream failed, and another target is asked."""


class Gauged(Meter, Protocol):
    """A meter that is also told how things stand."""

    @property
    def streams(self) -> dict[str, int]:
        """Requests for a stream that are under way, by route."""

    def set(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """A gauge stands at this now."""

    def add(self, metric: Metric, labels: tuple[str, ...], amount: float) -> None:
        """A counter goes on by this."""

    def observe(self, metric: Metric, value: float) -> None:
        """A histogram without labels has one value more."""

    def page(self, accept: str) -> tuple[bytes, str]:
        """All metrics as Prometheus reads them, in the format it accepts, and the media type. Takes a while."""


class Unmetered:
    """A meter that counts nothing, for a gateway whose metrics are off."""

    def stream_began(self, route: str) -> None:
        """Nothing."""

    def ended(self, record: Record, operation: str, timeline: Timeline, pause_s: float) -> None:
        """Nothing."""

    def called(self, call: Called) -> None:
        """Nothing."""

    def retried(self, route: str, upstream: str) -> None:
        """Nothing."""

    def failed_over(self, route: str, upstream: str) -> None:
        """Nothing."""
