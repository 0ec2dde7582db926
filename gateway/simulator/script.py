"""What the simulator says, and when, and how it fails: pure, as steps for somebody else to perform.

A script is written like a query string, `ttft=200ms&tps=20&say=echo&fault=cut@3`, and stands in an upstream's URL, in a
model name behind `?`, or on the command line of `triglot simulate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

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
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.request import ChoiceMode, FunctionTool, HostedTool, Request, Role, Text, ToolCall, ToolResult

HAIKU: Final = "Grey waves fold and fall,\nsalt wind combs the waiting shore,\nthe tide keeps its word. 🌊\n"

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
_SAYS: Final = ("auto", "haiku", "echo", "tools")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


@dataclass(frozen=True, slots=True)
class Script:
    """`say`: haiku, echo, tools, or auto. `ttft_s`: before the first token. `tps`: tokens a second, 0 without pause.

    `fault` happens `at` a token, or with status `at`.
    """

    say: str = "auto"
    ttft_s: float = 0.2
    tps: float = 20.0
    fault: str = ""
    at: int = 0

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
        case "say" if value in _SAYS:
            return replace(script, say=value)
        case "ttft" if found := _DURATION.fullmatch(value):
            return replace(script, ttft_s=float(found[1]) * (0.001 if found[2] == "ms" else 1))
        case "tps" if value.isdecimal():
            return replace(script, tps=float(value))
        case "fault":
            fault, _, at = value.partition("@")
            if fault in FAULTS and (not at or at.isdecimal()):
                return replace(script, fault=fault, at=int(at or 0))
    raise BadRequest(
        f"simulator: {name}={value[:32]!r} is none of ttft=200ms, tps=20, say={'|'.join(_SAYS)}, fault=NAME@N"
    )


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


def play(script: Script, request: Request) -> Iterator[Step]:
    """The steps of one answer, faults and all."""
    usage = Usage(input=prompt_tokens(request), output=0)
    yield Pause(script.ttft_s)
    count = 0
    yield Say([Start(id="simulated", model=request.model, usage=usage)])
    for step in _content(script, request):
        if script.fault and count == script.at and script.fault in _STEPS:
            yield from _STEPS[script.fault]
            while script.fault == "endless_line":
                yield Raw(b"x" * 65536)
            return
        is_token = isinstance(step[-1], TextDelta | ArgsDelta)
        if is_token and count:
            yield Pause(script.gap_s)
        count += is_token
        yield Say(step)
    reason = Reason.TOOL_CALLS if _calls_tools(script, request) else Reason.STOP
    limited = request.max_tokens is not None and count >= request.max_tokens and reason is Reason.STOP
    finish = Finish(Reason.LENGTH if limited else reason)
    yield Say([finish, replace(usage, output=count, is_final=True)])
    if script.fault != "no_done":
        yield Say([End()])


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


def _content(script: Script, request: Request) -> Iterator[Sequence[Event]]:
    if _calls_tools(script, request):
        yield from _tool_calls(request)
        return
    pieces = _endless() if script.fault == "endless" else iter(tokens(_text(script, request))[: request.max_tokens])
    first = next(pieces, "")
    yield [BlockStart(0, BlockKind.TEXT), TextDelta(0, first)]
    for piece in pieces:
        yield [TextDelta(0, piece)]
    yield [BlockStop(0)]


def _endless() -> Iterator[str]:
    while True:
        yield "on and on " * 100


def _calls_tools(script: Script, request: Request) -> bool:
    """Tools are called when there are any and they have not answered yet."""
    is_allowed = not (request.tool_choice and request.tool_choice.mode is ChoiceMode.NONE)
    is_answered = bool(request.turns) and any(isinstance(part, ToolResult) for part in request.turns[-1].parts)
    return bool(request.tools) and is_allowed and not is_answered and script.say in ("auto", "tools")


def _tool_calls(request: Request) -> Iterator[Sequence[Event]]:
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    for index, tool in enumerate(functions):
        yield [BlockStart(index, BlockKind.TOOL, id=f"call_simulated_{index}", name=tool.name)]
        text = orjson.dumps(_arguments(tool.schema or {})).decode()
        for begin in range(0, len(text), 8):
            yield [ArgsDelta(index, text[begin : begin + 8])]
        yield [BlockStop(index)]


_SAMPLES: Final[Mapping[str, Any]] = {"string": "Oslo", "integer": 3, "number": 1.5, "boolean": True}


def _arguments(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    return {name: _SAMPLES.get(kind.get("type"), None) for name, kind in properties.items()}


def _text(script: Script, request: Request) -> str:
    asked = _last_text(request)
    if results := _last_results(request):
        told = [part.text for result in results for part in result.parts if isinstance(part, Text)]
        return f"The tools said: {'; '.join(told)}"
    if script.say == "haiku" or (script.say != "echo" and "haiku" in asked.lower()):
        return HAIKU
    return f"You said: {asked}" if asked else HAIKU


def _last_results(request: Request) -> list[ToolResult]:
    """What the tools said last: all in one turn, or a turn each, as the dialect has it."""
    results: list[ToolResult] = []
    for turn in reversed(request.turns):
        found = [part for part in turn.parts if isinstance(part, ToolResult)]
        if not found:
            break
        results = found + results
    return results


def _last_text(request: Request) -> str:
    for turn in reversed(request.turns):
        if turn.role is Role.USER:
            return "".join(part.text for part in turn.parts if isinstance(part, Text))
    return ""
