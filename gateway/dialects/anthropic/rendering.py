"""Request → an Anthropic request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.dialects.anthropic.options import SAMPLING_VERSION, Options
from gateway.dialects.anthropic.parsing import MODES
from gateway.dialects.base import Json, Outbound
from gateway.dialects.identity import spell_user
from gateway.dialects.report import Report, refuse_part
from gateway.dialects.tools import arguments_object, drop_choice, object_schema, refuse_tool
from gateway.dialects.turns import tidy
from gateway.errors import BadRequest
from gateway.neutral import request as rq

_REFUSED: Final = {
    "output": "structured output can't be translated for this upstream yet",
    "modalities": "only text answers can be translated",
    "prefill": "an answer's beginning can't be given to this upstream",
}
_DROPPED: Final = (
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "logprobs",
    "top_logprobs",
    "verbosity",
    "cache_key",
    "metadata",
    "service_tier",
)
PATH: Final = "/v1/messages"


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A messages body as it came, with the upstream's model name."""
    return Outbound({**body, "model": model}, PATH, _headers(options))


def _headers(options: Options) -> dict[str, str]:
    return {"anthropic-version": options.version}


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a messages request (mapping.md §3.1)."""
    report = Report(request)
    for field, why in _REFUSED.items():
        report.refuse(field, why=why)
    if request.reasoning is not None and request.reasoning.mode != "off":
        report.refuse("reasoning", why="reasoning settings can't be translated for this upstream yet")
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    body: Json = {"model": model, "max_tokens": _limit(request, options, report)}
    if request.system:
        body["system"] = "\n\n".join(text.text for text in request.system)
    body["messages"] = _messages(request, report)
    body |= _sampling(request, options, report)
    body |= _tools(request, report)
    if request.user_id is not None:
        body["metadata"] = {"user_id": spell_user(request.user_id, 256, report, hides_personal=True)}
    if request.stream:
        body["stream"] = True
    report.drop(*_DROPPED)
    report.drop_extras()
    report.drop_caching()
    report.drop_strictness()
    return Outbound(body, PATH, _headers(options), report.dropped, report.adapted)


def _limit(request: rq.Request, options: Options, report: Report) -> int:
    if request.max_tokens is None:
        report.adapt("max_tokens", "default")
        return options.max_tokens
    return request.max_tokens


def _sampling(request: rq.Request, options: Options, report: Report) -> Json:
    body: Json = {}
    stops = [stop for stop in request.stop if stop.strip()]
    if stops:
        body["stop_sequences"] = stops
    if len(stops) < len(request.stop):
        report.adapt("stop", "blank_removed")
    if options.version != SAMPLING_VERSION:
        report.drop("temperature", "top_p", "top_k")
        return body
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)
        if request.temperature > 1:
            report.adapt("temperature", "clamped")
    for name in ("top_p", "top_k"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    return body


def _messages(request: rq.Request, report: Report) -> list[Json]:
    """Tidied turns, nothing empty in them; the first and the last are the user's (mapping.md §4.2)."""
    messages: list[Json] = []
    for turn in tidy(request, report):
        blocks = list(_spell_turn(turn, report))
        if messages and messages[-1]["role"] == turn.role.value:  # what stood between them was empty
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": turn.role.value, "content": blocks})
    if not messages or messages[0]["role"] == "assistant":
        messages.insert(0, {"role": "user", "content": [{"type": "text", "text": "(continue)"}]})
        report.adapt("messages", "user_inserted")
    if messages[-1]["role"] == "assistant":
        where = request.turns[-1].where or "messages"
        raise BadRequest(f"{where}: the last message must be the user's for this upstream", param=where)
    return messages


def _spell_turn(turn: rq.Turn, report: Report) -> Iterator[Json]:
    for part in turn.parts:
        if isinstance(part, rq.Reasoning | rq.RedactedReasoning):
            report.drop_name("messages.reasoning")
        else:
            yield from _spell_part(part, report)


def _spell_part(part: rq.Part, report: Report) -> Iterator[Json]:
    match part:
        case rq.Text(text=text) | rq.Refusal(text=text):
            if text.strip():
                yield {"type": "text", "text": text}
        case rq.ToolCall(kind="function"):
            arguments, is_repaired = arguments_object(part.arguments, closes_cut=True)
            if is_repaired:
                report.adapt("tool_calls.arguments", "repaired")
            yield {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
        case rq.ToolResult():
            yield _spell_result(part, report)
        case _:
            refuse_part(part, "this upstream")


def _spell_result(result: rq.ToolResult, report: Report) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": result.call_id}
    content = [block for part in result.parts for block in _spell_part(part, report)]
    if content:
        block["content"] = content
    if result.is_error:
        block["is_error"] = True
    return block


def _tools(request: rq.Request, report: Report) -> Json:
    if not request.tools:
        drop_choice(request, report)
        return {}
    body: Json = {"tools": [_declare(tool) for tool in request.tools]}
    choice = _choose(request.tool_choice, report)
    if request.parallel_tools is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    if choice:
        body["tool_choice"] = choice
    return body


def _declare(tool: rq.Tool) -> Json:
    if not isinstance(tool, rq.FunctionTool):
        refuse_tool(tool)
    declared: Json = {"name": tool.name}
    if tool.description:
        declared["description"] = tool.description
    declared["input_schema"] = object_schema(tool.schema)
    return declared


def _choose(choice: rq.ToolChoice | None, report: Report) -> Json | None:
    if choice is None:
        return None
    if choice.mode is rq.ChoiceMode.ALLOWED:
        report.refuse("tool_choice", why="a list of allowed tools can't be translated yet")
    kind = next(wire for wire, mode in MODES.items() if mode is choice.mode)
    return {"type": kind, "name": choice.names[0]} if choice.names else {"type": kind}
