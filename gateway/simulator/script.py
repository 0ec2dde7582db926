"""What the simulator says, and when, and how it fails: pure, as steps for somebody else to perform.

A script is written like a query string, `ttft=200ms&tps=20&say=echo&fault=cut@3`, and stands in an upstream's URL, in a
model name behind `?`, or on the command line of `triglot simulate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from gateway.errors import BadRequest, UpstreamError
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Failed,
    Finish,
    Reason,
    ReasoningDelta,
    ReasoningSignature,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.request import HostedTool, Request, Text, ToolCall
from gateway.neutral.response import Block
from gateway.simulator import sayings

FAULTS: Final[Mapping[str, str]] = {
    "cut": "the connection breaks after N tokens",
    "close": "the body ends properly after N tokens, unfinished",
    "stall": "silence after N tokens, for ever",
    "error": "an error, in the dialect's own words, after N tokens",
    "bad_json": "a frame that does not parse after N tokens",
    "split_utf8": "every character cut in half between two writes",
    "no_done": "a proper end without the dialect's last frame",
    "endless": "tokens without end, as fast as they are taken",
    "endless_line": "one line without end after N tokens",
    "busy": "429 to every other call, with retry-after",
    "status": "the status N instead of an answer",
    "refused": "the connection breaks before any head",
}
_FRAGMENT: Final = 8
"""Characters of a fragment of a call's arguments."""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


@dataclass(frozen=True, slots=True)
class Script:
    """`say`: a name of `sayings.SAYS`. `ttft_s`: before the first token. `tps`: tokens a second, 0 without pause.

    `fault` happens `at` a token, or with status `at`; `when` is `stream` if answers that aren't streamed are spared it.
    `cache_read`, `cache_write`: prompt tokens that the answer's
    usage counts besides its own, as read from a cache and written to it.
    """

    say: str = "auto"
    ttft_s: float = 0.2
    tps: float = 20.0
    fault: str = ""
    at: int = 0
    when: str = ""
    cache_read: int | None = None
    cache_write: int | None = None

    @property
    def gap_s(self) -> float:
        return 1 / self.tps if self.tps else 0.0


def read(query: str, base: Script | None = None) -> Script:
    """The script in a query string, on top of another. Raises BadRequest for what it doesn't know."""
    script = base or Script()
    for name, value in parse_qsl(query, keep_blank_values=True):
        script = _set(script, name, value)
    return script


def _set(script: Script, name: str, value: str) -> Script:
    match name:
        case "say" if value in sayings.SAYS:
            return replace(script, say=value)
        case "ttft" if found := _DURATION.fullmatch(value):
            return replace(script, ttft_s=float(found[1]) * (0.001 if found[2] == "ms" else 1))
        case "tps" if value.isdecimal():
            return replace(script, tps=float(value))
        case "when" if value == "stream":
            return replace(script, when=value)
        case "cache_read" if value.isdecimal():
            return replace(script, cache_read=int(value))
        case "cache_write" if value.isdecimal():
            return replace(script, cache_write=int(value))
        case "fault":
            fault, _, at = value.partition("@")
            if fault in FAULTS and (not at or at.isdecimal()):
                return replace(script, fault=fault, at=int(at or 0))
    raise BadRequest(
        f"simulator: {name}={value[:32]!r} is none of ttft=200ms, tps=20, say={'|'.join(sayings.SAYS)}, fault=NAME@N, "
        "when=stream, cache_read=N, cache_write=N"
    )


def for_request(script: Script, request: Request) -> Script:
    """The script as far as it concerns a request."""
    return replace(script, fault="") if script.when == "stream" and not request.stream else script


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that no encoder would write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks here."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing comes any more."""


Step = Pause | Say | Raw | Cut | Hang


def play(script: Script, request: Request, seal_format: str = "") -> Iterator[Step]:
    """The steps of one answer, faults and all.

    `seal_format`: of the opaque values that seal reasoning in the played API, empty where it has none.
    """
    usage = _usage(script, request)
    blocks = sayings.blocks(script.say, request, seal_format)
    yield Pause(script.ttft_s)
    count = thinking = 0
    yield Say([Start(id="simulated", model=request.model, usage=usage)])
    for step in _content(script, request, blocks):
        if script.fault and count == script.at and script.fault in _STEPS:
            yield from _STEPS[script.fault]
            while script.fault == "endless_line":
                yield Raw(b"x" * 65536)
            return
        is_token = isinstance(step[-1], TextDelta | ArgsDelta | ReasoningDelta)
        if is_token and count:
            yield Pause(script.gap_s)
        count += is_token
        thinking += isinstance(step[-1], ReasoningDelta)
        yield Say(step)
    yield Say(
        [Finish(_reason(request, blocks)), replace(usage, output=count, reasoning=thinking or None, is_final=True)]
    )
    if script.fault != "no_done":
        yield Say([End()])


def _usage(script: Script, request: Request) -> Usage:
    cached = (script.cache_read or 0) + (script.cache_write or 0)
    tokens_in = prompt_tokens(request) + cached
    return Usage(input=tokens_in, output=0, cache_read=script.cache_read, cache_write=script.cache_write)


def _reason(request: Request, blocks: Sequence[Block]) -> Reason:
    if any(block.kind is BlockKind.TOOL for block in blocks):
        return Reason.TOOL_CALLS
    spoken = sum(len(tokens(block.text)) for block in blocks if block.kind is BlockKind.TEXT)
    return Reason.LENGTH if request.max_tokens is not None and spoken >= request.max_tokens else Reason.STOP


_STEPS: Final[Mapping[str, tuple[Step, ...]]] = {
    "cut": (Cut(),),
    "close": (),
    "stall": (Hang(),),
    "error": (Say([Failed(UpstreamError("simulated failure"))]),),
    "endless_line": (Raw(b"data: "),),
    "bad_json": (Raw(b'data: {"broken": \n\n'), Hang()),
}
"""What happens at the token of a fault, instead of the rest."""


def tokens(text: str) -> list[str]:
    """Words with the blank behind them."""
    return re.findall(r"\S*\s+|\S+", text)


def prompt_tokens(request: Request) -> int:
    """The words of a prompt, counted and not estimated: texts, calls, results and tools."""
    texts = [part.text for part in (*request.system, *request.parts()) if isinstance(part, Text)]
    texts += [f"{part.name} {part.arguments}" for part in request.parts() if isinstance(part, ToolCall)]
    texts += [f"{tool.name} {tool.description or ''}" for tool in request.tools if not isinstance(tool, HostedTool)]
    return max(1, sum(len(tokens(text)) for text in texts))


def _content(script: Script, request: Request, blocks: Sequence[Block]) -> Iterator[Sequence[Event]]:
    """What is written together: a token, with the start of its block before the first one."""
    if script.fault == "endless":
        yield from _endless()
    budget = request.max_tokens
    for index, block in enumerate(blocks):
        yield from _SPELLERS[block.kind](index, block, budget)


def _endless() -> Iterator[Sequence[Event]]:
    yield [BlockStart(0, BlockKind.TEXT)]
    while True:
        yield [TextDelta(0, "on and on " * 100)]


def _spell_text(index: int, block: Block, budget: int | None) -> Iterator[Sequence[Event]]:
    first, *rest = tokens(block.text)[:budget] or [""]
    yield [BlockStart(index, BlockKind.TEXT), TextDelta(index, first)]
    for piece in rest:
        yield [TextDelta(index, piece)]
    yield [BlockStop(index)]


def _spell_reasoning(index: int, block: Block, budget: int | None) -> Iterator[Sequence[Event]]:
    yield [BlockStart(index, BlockKind.REASONING)]
    for piece in tokens(block.text):
        yield [ReasoningDelta(index, piece)]
    yield [*([ReasoningSignature(index, block.signature)] if block.signature else []), BlockStop(index)]


def _spell_call(index: int, block: Block, budget: int | None) -> Iterator[Sequence[Event]]:
    kind, namespace = block.call_kind, block.namespace
    yield [BlockStart(index, BlockKind.TOOL, id=block.id, name=block.name, call_kind=kind, namespace=namespace)]
    for begin in range(0, len(block.text), _FRAGMENT):
        yield [ArgsDelta(index, block.text[begin : begin + _FRAGMENT])]
    yield [BlockStop(index)]


_SPELLERS: Final = {
    BlockKind.TEXT: _spell_text,
    BlockKind.REASONING: _spell_reasoning,
    BlockKind.TOOL: _spell_call,
}
"""kind of block → its events, at most `budget` tokens of text."""
