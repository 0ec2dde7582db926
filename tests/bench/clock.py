"""`python -m tests.bench.clock`: the microseconds of the pure part for an event of text, in every pair.

Nothing asserts them. The least of many runs: what the machine did beside it is only ever added.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import process_time_ns
from typing import Final

from gateway.dialects import DIALECTS
from gateway.relay.carrier import Carrier
from tests.bench.carriers import begun, pass_through, translation
from tests.bench.streams import VOICES

EVENTS: Final = 100
RUNS: Final = 100


def microseconds(made: Callable[[], Carrier], upstream: str) -> float:
    """From one read's bytes to one write's."""
    frames = VOICES[upstream].texts(EVENTS)
    return min(_run(begun(made(), upstream).feed, frames) for _ in range(RUNS)) / EVENTS / 1000


def _run(feed: Callable[[bytes], object], frames: list[bytes]) -> int:
    before = process_time_ns()
    for frame in frames:
        feed(frame)
    return process_time_ns() - before


def main() -> None:
    """A line for each pair: upstream, client, and what it takes; `as it came` where bytes are passed through."""
    for upstream in DIALECTS:
        passed = microseconds(partial(pass_through, upstream), upstream)
        sys.stdout.write(f"{upstream:10} {'as it came':10} {passed:5.2f}\n")
        for client in DIALECTS:
            taken = microseconds(partial(translation, upstream, client), upstream)
            sys.stdout.write(f"{upstream:10} {client:10} {taken:5.2f}\n")


if __name__ == "__main__":
    main()
