"""Plays every carrier's events between two marks, for callgrind to count each apart."""

from __future__ import annotations

import os

from tests.bench.carriers import EVENTS, begun
from tests.bench.figures import CARRIERS
from tests.bench.streams import VOICES


def main() -> None:
    """A system call that nobody else makes is the mark."""
    for made, upstream in CARRIERS.values():
        feed, frames = begun(made(), upstream).feed, VOICES[upstream].texts(EVENTS)
        os.getppid()
        for frame in frames:
            feed(frame)
        os.getppid()


if __name__ == "__main__":
    main()
