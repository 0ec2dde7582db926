"""What an event and a request cost: measured now, and as written down by version of Python; and whether it is too much.

The files are written by `make figures` and reviewed by eye, like the transcripts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.dialects import DIALECTS
from gateway.relay.carrier import Carrier
from tests.bench.carriers import Burdened, kept, pass_through, translation, work
from tests.bench.world import Cost, World, world

Figure = Mapping[str, float]
"""What something costs, by what is counted."""
Figures = dict[str, dict[str, Figure]]
"""By what was done (`DONE`), and between whom."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
FILE: Final = Path(__file__).parent / "figures" / f"{PYTHON}.yaml"
LIBRARIES: Final = ("anyio", "httpx", "starlette", "uvicorn")
"""Those whose Python is run for a request: its figures hold for these versions of them only."""

TOLERANCE: Final = 0.10
"""What is more than that above its figure is a regression; below, the figure should be lowered."""
_SLACK: Final = {"kept": 0.5}
"""Blocks that come and go with the interpreter's own caches."""

PAIRS: Final = tuple((upstream, client) for upstream in DIALECTS for client in DIALECTS)
TRANSLATED: Final = {f"{upstream} to {client}": (upstream, client) for upstream, client in PAIRS}
_Made = Callable[[], Carrier]
CARRIERS: Final[Mapping[str, tuple[_Made, str]]] = {
    **{f"{dialect} as it came": (partial(pass_through, dialect), dialect) for dialect in DIALECTS},
    **{between: (partial(translation, *pair), pair[0]) for between, pair in TRANSLATED.items()},
}
"""How each is made, and whose bytes it takes."""

DONE: Final = {
    "carrier": tuple(CARRIERS),
    "event": tuple(TRANSLATED),
    "stream": tuple(TRANSLATED),
    "whole": tuple(TRANSLATED),
}
"""carrier: an event of text from bytes to bytes. event: the same from connection to connection, through all of the
gateway. stream, whole: a request for a stream of one event, and for a whole answer."""

_HEADER: Final = f"""\
# What events and requests cost under Python {PYTHON}. Written by `make figures`; review it by eye.
# instructions: of bytecode; calls: of C functions from Python; kept: blocks of memory still there after an event;
# wakes, tasks, timers: what the event loop was asked for. tests/bench/figures.py says what was done.
"""


def measure(wanted: str = "", burden: float = 0.0, *, metrics: bool = True) -> Figures:
    """What is done costs, as far as its name holds `wanted`; with that share of all instructions wasted on top."""
    measured: Figures = {}
    with world(metrics=metrics) as gateway:
        for done, between, read in (*_carriers(burden), *_whole_ways(gateway)):
            if wanted in f"{done} {between}":
                measured.setdefault(done, {})[between] = {name: round(value, 1) for name, value in read().items()}
    return measured


_Measures = Iterator[tuple[str, str, Callable[[], Figure]]]


def _carriers(burden: float) -> _Measures:
    for between, (made, upstream) in CARRIERS.items():
        yield "carrier", between, partial(_carrier, made, upstream, burden)


def _carrier(made: _Made, upstream: str, burden: float) -> Figure:
    done = work(made(), upstream)
    if burden:
        done = work(Burdened(made(), burden * done.instructions), upstream)
    return {**done._asdict(), "kept": kept(made(), upstream)}


def _whole_ways(gateway: World) -> _Measures:
    for between, pair in TRANSLATED.items():
        yield "event", between, partial(_told, partial(gateway.streamed, *pair))
        yield "stream", between, partial(_told, partial(gateway.requested, *pair, stream=True))
        yield "whole", between, partial(_told, partial(gateway.requested, *pair, stream=False))


def _told(read: Callable[[], Cost]) -> Figure:
    cost = read()
    return cost.work._asdict() | cost.asked._asdict()


def load() -> Figures | None:
    """What is written down for this version of Python, if anything is."""
    if not FILE.exists():
        return None
    figures: Figures = yaml.safe_load(FILE.read_bytes())["figures"]
    return figures


def libraries() -> dict[str, str]:
    """The versions that are installed."""
    return {name: version(name) for name in LIBRARIES}


def libraries_then() -> dict[str, str]:
    """The versions that the figures written down were measured with."""
    return dict(yaml.safe_load(FILE.read_bytes())["libraries"])


def save(figures: Figures) -> None:
    """Writes them down in place of what was there."""
    document = {"libraries": libraries(), "figures": figures}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(_HEADER + spelled(document), encoding="utf-8")


def spelled(document: Mapping[str, Any]) -> str:
    """As YAML, one line for each figure."""
    text: str = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120)
    return text


def excess(figure: Figure, measured: Figure) -> list[str]:
    """What costs more than its figure allows."""
    return [
        f"{name}: {measured[name]:g}, the figure is {expected:g}"
        for name, expected in figure.items()
        if measured[name] > expected * (1 + TOLERANCE) + _SLACK.get(name, 0.0)
    ]


def is_outdated(figure: Figure, measured: Figure) -> bool:
    """Whether it has become so much cheaper that a regression could hide below the figure."""
    return any(measured[name] < expected * (1 - TOLERANCE) - _SLACK.get(name, 0.0) for name, expected in figure.items())
