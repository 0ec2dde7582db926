"""The transcripts: what upstreams sent, what it means, what each client must see (STYLE.md, "A test").

`about.md` may hold lines that say how a case is to be read:

    Options: {"stream_format": "jsonl"}     what the operator set for the upstream
    Wire: anthropic                         what is inside an `input.sse` of a Truss upstream; else the folder's dialect
    Connection: closed without a last chunk
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from gateway import errors
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Stamp
from gateway.dialects.truss.parsing import FORM_RAW
from gateway.errors import GatewayError, UpstreamError
from gateway.neutral import events, request
from gateway.neutral.events import Event, Failed
from gateway.neutral.pieces import Piece
from gateway.neutral.request import Request, Role, Text, Turn
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer

ROOT: Final = Path(__file__).parent / "transcripts"
STAMP: Final = Stamp("000000000000000000000001", 1700000000)
SEED: Final = "seed"
"""What ids of calls that come without one are made of."""
CLIENTS: Final = tuple(DIALECTS)
OUTPUTS: Final = {
    "openai": "openai.sse",
    "anthropic": "anthropic.sse",
    "responses": "responses.sse",
    "truss": "truss.txt",
}
_ABORTED: Final = "\n<aborted: {}>\n"
_NAMES: Final = {**vars(events), **vars(errors), **vars(request)}

Split = Callable[[bytes], Iterable[bytes]]


def asked(client: str) -> Request:
    """The request that every transcript answers; a Truss client asks with a `prompt`."""
    form = FORM_RAW if client == "truss" else ""
    turns = (Turn(Role.USER, (Text("What is the weather in Oslo?"),)),)
    return Request("demo", turns, stream=True, include_usage=True, form=form)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One folder."""

    path: Path

    def __str__(self) -> str:
        return f"{self.path.parent.name}-{self.path.name}"

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.path.parent.name]

    @property
    def source(self) -> Path:
        return next(self.path.glob("input.*"))

    @property
    def input(self) -> bytes:
        return self.source.read_bytes()

    @property
    def is_whole(self) -> bool:
        return self.source.suffix == ".json"

    @property
    def is_framed(self) -> bool:
        return not self.note("Connection")

    @property
    def wire(self) -> str:
        """openai, anthropic, responses, raw, jsonl or whole."""
        if self.is_whole:
            return "whole"
        return self.note("Wire") or ("raw" if self.source.suffix == ".txt" else self.path.parent.name)

    @property
    def options(self) -> Any:
        return self.dialect.options(**orjson.loads(self.note("Options") or "{}"))

    @property
    def events(self) -> list[Event]:
        """What the folder says that the input means."""
        return list(_read_events((self.path / "events.txt").read_bytes()))

    @property
    def is_success(self) -> bool:
        return not isinstance(self.events[-1], Failed)

    def note(self, name: str) -> str:
        """A line of `about.md` that begins with this name, empty if there is none."""
        lines = (self.path / "about.md").read_text(encoding="utf-8").splitlines()
        return next((line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")), "")

    def output(self, client: str) -> bytes:
        return (self.path / OUTPUTS[client]).read_bytes()

    def decode(self, data: bytes, split: Split = lambda data: [data]) -> list[Event]:
        """The events of this input, or of a part of it."""
        return sequence(self.load(data) if self.is_whole else self._stream(data, split))

    def load(self, data: bytes) -> list[Piece]:
        try:
            return self.dialect.load(orjson.loads(data), self.options)
        except UpstreamError as error:
            return [Failed(error)]

    def _stream(self, data: bytes, split: Split) -> list[Piece]:
        decoder = self.dialect.decoder(self.options)
        pieces = [piece for chunk in split(data) for piece in decoder.feed(chunk)]
        return pieces + decoder.eof(is_framed=self.is_framed)[1]


CASES: Final = tuple(Case(path.parent) for path in sorted(ROOT.glob("*/*/about.md")))
STREAMS: Final = tuple(case for case in CASES if not case.is_whole)


@cache
def _read_events(lines: bytes) -> tuple[Event, ...]:
    return tuple(eval(line, dict(_NAMES)) for line in lines.decode().split("\n") if line)


def sequence(pieces: Iterable[Piece]) -> list[Event]:
    return Sequencer(SEED).feed(pieces)


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def at_random(seed: int) -> Split:
    """Splits at a dozen points, the same ones for the same seed."""

    def split(data: bytes) -> Iterable[bytes]:
        points = sorted(Random(seed).choices(range(len(data) + 1), k=12))
        return [data[a:b] for a, b in zip([0, *points], [*points, len(data)], strict=True)]

    split.__name__ = f"at_random_{seed}"
    return split


SPLITS: Final = (whole, bytewise, *(at_random(seed) for seed in range(3)))


def spell(value: object) -> str:
    """A value as Python, defaults left out."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, GatewayError):
        told = {"kind": value.kind, "param": value.param, "status": value.status, "retry_after_s": value.retry_after_s}
        usual = {"kind": value.default_kind}
        words = [f"{name}={spell(told[name])}" for name in told if told[name] != usual.get(name)]
        return f"{type(value).__name__}({', '.join([repr(value.message), *words])})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        words = [f"{field.name}={spell(got)}" for field, got in named if not _is_default(field, got)]
        return f"{type(value).__name__}({', '.join(words)})"
    return repr(value)


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default) and type(value) is type(field.default)


def transcribe(told: Iterable[Event]) -> bytes:
    """The content of `events.txt`."""
    return "".join(f"{spell(event)}\n" for event in told).encode()


def encode(client: str, told: Iterable[Event]) -> bytes:
    """What a client receives, one event at a time; where its wire can't say how it ends, the last line does."""
    encoder = DIALECTS[client].encoder(asked(client), STAMP)
    data = b""
    for event in told:
        try:
            data += encoder.encode([event])
        except UpstreamError as error:
            return data + _ABORTED.format(error.message).encode()
        if isinstance(event, Failed) and not encoder.tells_failure:
            return data + _ABORTED.format(event.error.message).encode()
    return data


def encode_at_once(client: str, told: Sequence[Event]) -> bytes:
    """What a client receives when everything came in one read."""
    return DIALECTS[client].encoder(asked(client), STAMP).encode(told)


def dump(client: str, told: Iterable[Event]) -> Any:
    """The whole answer that these events fold to."""
    return DIALECTS[client].dump(fold(told), asked(client), STAMP)
