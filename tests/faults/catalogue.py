"""The fault catalogue: what each row of `tests/faults/*.yaml` may say, and how it is read. A slip in a row is refused.

A row says what upstreams do, how far their answer had come, and what must follow from it: what the client sees, and how
many calls each upstream gets, and when. It is played by clients of every dialect (`tests/faults/stage.py`). To add one,
write it; the words for what an upstream does are the functions of `tests/faults/acts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.errors import Kind

FOLDER: Final = Path(__file__).parent

Position = Literal["before the head", "before content", "after content"]
"""How far an answer had come: not at all; head and lifecycle frames, or a head alone; two tokens, or half a body."""
POSITIONS: Final[tuple[Position, ...]] = ("before the head", "before content", "after content")
Asked = Literal["stream", "whole"]
Place = Literal["first", "second"]
PLACES: Final[tuple[Place, ...]] = ("first", "second")
"""The targets of a route: the one it prefers, and its fallback."""
NOW_S: Final = 4.0
"""What `now` allows: this is real time, on machines that may stand still for a second."""


class Window(NamedTuple):
    """Seconds from a client's call: the earliest and the latest."""

    low: float
    high: float

    def __contains__(self, seconds: object) -> bool:
        return isinstance(seconds, float) and self.low <= seconds <= self.high


def _window(value: object) -> object:
    if value == "now":
        return Window(0.0, NOW_S)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)", str(value))
    if found is None:
        raise ValueError("a window is `now` or `0.2..1.5`, in seconds from the client's call")
    return Window(float(found[1]), float(found[2]))


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _sight(value: object) -> object:
    known = ("whole", "broken", "filtered", *Kind)
    if value not in known:
        raise ValueError(f"a client sees one of {', '.join(known)}")
    return str(value)


Sees = Annotated[str, BeforeValidator(_sight)]
"""`whole`: all of the answer, once. `broken`: told midway that it broke. `filtered`: two tokens, and that a filter cut
the rest. Or the kind of an error told instead."""
Calls = tuple[Annotated[Window, BeforeValidator(_window)], ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Act(_Strict):
    """What an upstream does with one call; the last one of a list with all that follow. `does` alone is enough."""

    does: str
    at: Position | None = None
    """Instead of the row's."""
    status: int = 500
    saying: str = ""
    """What a refusal is about: a word of `acts.SAYINGS`."""
    retry_after: str = ""
    """As the header has it."""
    after_s: float = 0.0
    """How long it waits before it does so."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        return {"does": value} if isinstance(value, str) else value


class Expectation(_Strict):
    """What must follow from one call of the client."""

    sees: Sees
    calls: Mapping[Place, Calls]
    """When each upstream is called: one window a call, no more and no fewer calls."""
    within: Annotated[Window, BeforeValidator(_window)] | None = None
    """When the client has all it gets."""
    message: str = ""
    """Found in the message of the error."""
    headers: Mapping[str, str] = {}
    """Of the response."""
    log: Mapping[str, Any] = {}
    """Of the request's line."""
    after_s: float = 0.0
    """How long the client waits before it calls; of a further call."""


class Row(Expectation):
    """One fault, wherever in an answer it may happen, as everyone may ask."""

    fault: str
    why: str
    """The rule, or the document that has it."""
    at: Annotated[tuple[Position, ...], BeforeValidator(_listed)] = ("before the head",)
    asked: Annotated[tuple[Asked, ...], BeforeValidator(_listed)] = ("stream", "whole")
    clients: tuple[str, ...] = ()
    """Which dialects' clients; none given: all."""
    voices: tuple[str, ...] = ()
    """Which upstreams, by the names of `voices.VOICES`; none given: the client's own dialect and another one."""
    first: Annotated[tuple[Act, ...], BeforeValidator(_listed), Field(min_length=1)]
    second: Annotated[tuple[Act, ...], BeforeValidator(_listed)] = ()
    """None given: the route has no fallback."""
    upstreams: Mapping[Place, Mapping[str, Any]] = {}
    """Settings of each upstream."""
    targets: Mapping[Place, Mapping[str, Any]] = {}
    """Settings of each target."""
    route: Mapping[str, Any] = {}
    """Settings of the route."""
    body: Mapping[str, Any] = {}
    """Fields of the request."""
    hides: tuple[str, ...] = ()
    """What of the upstream must not reach the client."""
    takes_mib: float = 16.0
    """How much of what an upstream sends may be taken of it."""
    then: tuple[Expectation, ...] = ()
    """What further calls of the same client see: a gateway learns."""

    @model_validator(mode="after")
    def _calls_who_is_there(self) -> Row:
        places = set(PLACES) if self.second else {PLACES[0]}
        for expected in (self, *self.then):
            if set(expected.calls) != places:
                raise ValueError(f"calls: says of {', '.join(sorted(places))} when they are called, of nobody else")
        return self


class Outage(_Strict):
    """An upstream that is down for a while and then fine, under steady traffic of all clients. Times are seconds.

    The tests play it faster than it is written, the breaker's durations included; `pytest -m slow` takes the time that
    it says. The breaker has its defaults, so that what is shown is what users get.
    """

    fault: str
    why: str
    down: Act
    second: Act
    down_s: float
    for_s: float
    every_s: float
    """Between two requests."""
    back_within_s: float
    """From the end of the outage to the first answer of the target that was down."""
    sees: Sees
    """What every single client sees."""
    calls_at_most: int
    """Of the target, as long as it is down."""


class Page(_Strict):
    """One file: rows that belong together, with what a reader should know of them."""

    order: int
    """Of the pages, for a reader."""
    title: str
    about: str
    rows: tuple[Row, ...] = ()
    outages: tuple[Outage, ...] = ()


def pages() -> list[Page]:
    """All of the catalogue. Raises pydantic's ValidationError with the path of each slip."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.yaml")]
    return sorted(map(Page.model_validate, read), key=lambda page: page.order)


def rows() -> tuple[Row, ...]:
    """All rows, in the order of the documentation."""
    return tuple(row for page in pages() for row in page.rows)
