"""What a dialect must provide: four pairs of functions, as the server of a client and as the client of an upstream.

|         | as server                        | as client                             |
| ------- | -------------------------------- | ------------------------------------- |
| request | `parse(inbound) → Request`       | `render(request, model, options) → Outbound` |
| stream  | `encoder(request, stamp)`        | `decoder(options)`                    |
| whole   | `dump(response, request, stamp)` | `load(body, options) → pieces`        |
| failure | `dump_error(error)`              | `load_error(status, body)`            |

A dialect is a value, an entry of `DIALECTS`; nothing outside its module asks for its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import orjson

from gateway.dialects.limits import X_RATELIMIT, LimitHeaders
from gateway.dialects.sealing import Sealer
from gateway.errors import GatewayError, UpstreamError
from gateway.neutral.events import Event
from gateway.neutral.pieces import Piece
from gateway.neutral.quick_value import quick_value
from gateway.neutral.request import Request
from gateway.neutral.response import Response
from gateway.neutral.restoring import Restoration
from gateway.wire.sse import MAX_EVENT

Json = dict[str, Any]
_UNSEALED: Final = Sealer()


@quick_value
class Inbound:
    """A client's request as it came: the decoded body, what the path says, and the few headers a dialect may read."""

    body: Json = field(repr=False)
    path: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sealer: Sealer = _UNSEALED
    """Reads the signature tokens that we gave to this client earlier."""
    is_strict: bool = False
    """Whether the client wants a refusal wherever something of its request would be lost."""

    @property
    def is_versioned(self) -> bool:
        """Whether `models` adds versions that the path names, as `model@environment`."""
        return not self.path.keys().isdisjoint(("env", "deployment", "host_model"))

    def models(self, *named: str) -> tuple[str, ...]:
        """Route names to try, in order: what the path names before what the body `named` (truss.md §2.1).

        A path may add an environment, which is a preference, or a deployment, which is a promise of one version.
        """
        names: tuple[str, ...] = (model,) if (model := self.path.get("model")) else named
        if label := self.path.get("host_model"):  # an id may hold dashes too: the whole label first
            base, _, part = label.rpartition("-")
            names = (label, f"{base}@{part}", base) if base else (label,)
        if deployment := self.path.get("deployment"):
            return tuple(f"{name}@{deployment}" for name in names)
        env = self.path.get("env")
        return tuple(found for name in names for found in ((f"{name}@{env}", name) if env else (name,)))


@quick_value
class Outbound:
    """A request to an upstream. `path` is added to the upstream's URL.

    `dropped` and `adapted` are what the client is told in `x-gateway-dropped` and `x-gateway-adapted`, by the
    client's own wire names.
    """

    body: Json = field(repr=False)
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    restoration: Restoration = field(default_factory=Restoration)
    """What the answer has to undo."""


@quick_value
class Stamp:
    """What an answer needs of clock, chance and secrets: the token its id is made of, the time it was created
    (epoch s), and what makes the signatures of reasoning that has none."""

    token: str
    created: int
    sealer: Sealer = _UNSEALED


class Encoder(Protocol):
    """Events in strict order → the client's bytes. Trusts the order and guesses nothing.

    `tells_failure` is false where the wire has no word for a failure (raw text): the connection is cut instead.
    `keep_alive` is a frame that carries nothing, empty where there is none.
    """

    media_type: str
    tells_failure: bool
    keep_alive: bytes

    def encode(self, events: Sequence[Event]) -> bytes: ...


class Fault(NamedTuple):
    """What an encoder got wrong: a kind of frame, in a state of its dialect's grammar that does not take it."""

    state: str
    frame: str

    def __str__(self) -> str:
        return f"{self.frame} in state {self.state}"


class Guard(Protocol):
    """Checks what an encoder wrote against the grammar of its dialect (`guard.py`), whole frames at a time."""

    def check(self, data: bytes) -> Fault | None:
        """Takes these frames, or names what is wrong with one of them and takes none."""

    def end(self) -> Fault | None:
        """Nothing comes any more; a fault where the client was not told so."""


def unguarded(request: Request) -> Guard | None:
    """For a wire that has no grammar."""
    return None


class Decoder(Protocol):
    """An upstream's bytes → pieces. Never raises: what can't be read comes out as `Failed`.

    `keep_alive` is a frame that carries nothing in what is being relayed, empty where there is none.
    `proves_end` is false once it is known that the wire can't prove completeness (raw text).
    """

    @property
    def proves_end(self) -> bool: ...

    @property
    def keep_alive(self) -> bytes: ...

    def feed(self, chunk: bytes) -> list[Piece]: ...

    def observe(self, chunk: bytes) -> tuple[bytes, list[Piece]]:
        """As `feed`, for pass-through: also the bytes to relay, as they came, cut where they may be cut."""

    def more(self, chunk: bytes) -> Sequence[str]:
        """The texts of `chunk`, if it is nothing but whole frames that are like the last one, but for their texts.

        `feed` would have made a `ContentPiece` of each, none of them empty, else equal to the last piece it made, and
        `observe` would have relayed `chunk` as it is. Empty: it is anything else, and nothing of it was taken.
        """

    def tell(self, error: GatewayError) -> bytes:
        """A failure in the words of what is being relayed; empty where it has none."""

    def eof(self, *, is_framed: bool) -> tuple[bytes, list[Piece]]:
        """The body ended; `is_framed`: by a last chunk or its length, which a closed connection alone isn't."""


def same_form(request: Request, options: Any, is_whole: bool) -> bool:
    """Passes if the upstream streamed what was to be streamed, and not what wasn't (pitfall 41)."""
    return request.stream is not is_whole


@dataclass(frozen=True, slots=True)
class Path:
    """A path template in Starlette's form, and parameters that the path itself implies."""

    template: str
    params: Mapping[str, str] = field(default_factory=dict)


METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Sample:
    """A call to try, shown by `triglot serve`. `{model}` in the path and in the body's texts is a model's name."""

    client: str
    path: str
    body: Json
    options: Mapping[str, Any] = field(default_factory=dict)
    """What is set for an upstream that reads calls as this one."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A call of an API that the gateway knows and doesn't serve, and its fixed answer, so that nobody hunts for a typo.

    Texts of `body` may repeat the path's parameters, as `{id}`, and the whole `{path}`.
    """

    template: str
    status: int
    body: Json
    methods: tuple[str, ...] = METHODS


@dataclass(frozen=True, slots=True)
class Counting:
    """The call of an API that counts the tokens of a prompt, as its server and as its client."""

    path: Path
    """Where clients of this dialect send it."""
    ending: str
    """How its path ends at an upstream of this dialect."""
    parse: Callable[[Inbound], Request]
    """A request whose answer is whole, with all that rendering needs though counting does not."""
    dump: Callable[[int], Json]
    ask: Callable[[Outbound], Outbound]
    """A call for an answer → the call for its prompt's count."""
    load: Callable[[Any], int | None]
    """The count in an upstream's answer, None if it isn't there."""


@dataclass(frozen=True, slots=True)
class Prefixing:
    """How an upstream is given the beginning of its answer, so that it says only what follows (mapping.md §4.5)."""

    takes: Callable[[str, Any], bool]
    """(text, options): whether an upstream with these options goes on behind exactly this text."""
    put: Callable[[Json, Request, str, Any], Json | None]
    """(body, request, text, options): a body of this dialect with the text behind its messages, and with the limit of
    the request, which asks for the rest only; None where this body can't have it."""


class MakeDecoder(Protocol):
    """`max_event`: bytes of one event before the upstream counts as broken."""

    def __call__(self, options: Any, max_event: int = MAX_EVENT) -> Decoder: ...


@dataclass(frozen=True, slots=True)
class Profiles:
    """Kinds of servers: `rows` is a record of settings for each, `meanings` what each setting says."""

    rows: Mapping[str, Any]
    meanings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One public API's way to spell requests, streams, answers and errors."""

    name: str
    paths: tuple[Path, ...]
    """Where clients of this dialect send their calls."""
    owns: Callable[[str], bool]
    """Whether an error on this path, which no template matches, is told in this dialect."""
    parse: Callable[[Inbound], Request]
    render: Callable[[Request, str, Any], Outbound]
    forward: Callable[[Json, Request, str, Any], Outbound]
    """A body of this dialect for an upstream of this dialect: only the model changes."""
    encoder: Callable[[Request, Stamp], Encoder]
    decoder: MakeDecoder
    dump: Callable[[Response, Request, Stamp], Any]
    load: Callable[[Any, Any], list[Piece]]
    observe: Callable[[Any, Any], list[Piece]]
    """As `load`, for a body that is relayed as it is: only what the gateway has to know of it."""
    passes: Callable[[Request, Any, bool], bool]
    """(request, options, is whole): whether this dialect's own client takes the upstream's bytes as they are."""
    dump_error: Callable[[GatewayError, str], tuple[int, Json]]
    """(error, request id) → status and body."""
    load_error: Callable[[int, bytes, Mapping[str, str]], UpstreamError]
    """(status, body, headers) of an upstream's refusal."""
    options: type[Any]
    """What an operator may set per upstream: a frozen dataclass of the dialect's module."""
    auth: str
    """How the credential is sent where the operator does not say: `bearer`, `api-key`, `x-api-key` or `none`."""
    operation: str = "chat"
    """What its calls are to OpenTelemetry (`gen_ai.operation.name`)."""
    guard: Callable[[Request], Guard | None] = unguarded
    """The grammar of the streams that `encoder` makes for the same request; `None` where they have none."""
    id_header: str = "x-request-id"
    passed_on: tuple[str, ...] = ("retry-after", "x-should-retry")
    """How the headers begin that a client of this dialect gets to see of an upstream of this dialect; no others."""
    limits: LimitHeaders = X_RATELIMIT
    """How this API spells its rate limits, which clients of other dialects get to see in theirs."""
    reads: tuple[str, ...] = ()
    """Request headers that `parse` reads beside those that say what the body is and what the client takes."""
    lends: tuple[Path, ...] = ()
    """Where in this API the paths of all other dialects begin again."""
    absent: tuple[Absent, ...] = ()
    """Calls of this API with a fixed answer; on a path that is served too, they come first."""
    ending: str = ""
    """How the path of a call ends at an upstream of this dialect; the longest that fits names it, so that an empty one
    takes what is left."""
    skim: Callable[[bytes], Any] = orjson.loads
    """A body for `observe`, decoded as far as that reads it. Raises JSONDecodeError."""
    counts: Counting | None = None
    relayed: tuple[Dialect, ...] = ()
    """Further calls of this API that are passed to upstreams of the same API as they are, and never translated: this
    dialect with their own `paths`, `ending`, `parse`, `forward`, codecs, and `own_dialect_only` set in each request."""
    seals: str = ""
    """Format of the opaque values in which this API seals reasoning (mapping.md §1), empty where it has none."""
    simulate: Callable[[Request], Json] | None = None
    """What the simulator answers to calls that aren't answered in words."""
    sample: Sample | None = None
    told_by: tuple[str, ...] = ()
    """Request headers that tell a client of this dialect where several APIs share a path."""
    page: Callable[[Sequence[str], Mapping[str, str]], tuple[Sequence[str], bool]] | None = None
    """(names of models, query) → those on the page asked for, and whether there are more; None: no pages."""
    prefixing: Prefixing | None = None
    """None: no upstream of this dialect can be given the beginning of an answer."""
    lossy: tuple[tuple[str, str], ...] = ()
    """What this dialect can't carry: (what, what becomes of it)."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What each of `options` says, for editors and the docs."""
    profiles: Profiles | None = None
    """The kinds of servers that speak this dialect, for the docs."""
