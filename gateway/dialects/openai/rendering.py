"""Request → an OpenAI chat request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway.dialects.base import Json, Outbound
from gateway.dialects.identity import spell_user
from gateway.dialects.openai.options import PROFILES, SAMPLERS, Options, Profile
from gateway.dialects.report import Report, refuse_part
from gateway.dialects.tools import drop_choice, object_schema, refuse_tool
from gateway.dialects.turns import tidy
from gateway.neutral import request as rq

_SENT_AS_IS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias")
_REFUSED: Final = {
    "reasoning": "reasoning settings can't be translated for this upstream yet",
    "modalities": "only text answers can be translated",
    "prefill": "an answer's beginning can't be given to this upstream",
}
PATH: Final = "/chat/completions"


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A chat completion body as it came, with the upstream's model name."""
    return Outbound({**body, "model": model}, PATH)


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a chat completion request (mapping.md §3.2)."""
    report = Report(request)
    for field, why in _REFUSED.items():
        report.refuse(field, why=why)
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    profile = PROFILES[options.profile]
    body: Json = {"model": model, "messages": list(spell_messages(request, report))}
    body |= _limits(request, profile, report)
    body |= spell_tools(request, report)
    if request.output is not None:
        body["response_format"] = _format(request.output)
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    report.drop("logprobs", "top_logprobs", "verbosity", "cache_key", "metadata", "service_tier")
    report.drop_extras()
    report.drop_caching()
    report.drop_strictness()
    return Outbound(body, PATH, dropped=report.dropped, adapted=report.adapted)


def _limits(request: rq.Request, profile: Profile, report: Report) -> Json:
    body: Json = {name: value for name in _SENT_AS_IS if (value := getattr(request, name)) is not None}
    if request.max_tokens == 0:
        report.refuse("max_tokens", why="an answer of no tokens can't be asked of this upstream")
    if request.max_tokens is not None:
        body[profile.max_tokens] = request.max_tokens
    for name in SAMPLERS:
        if name in profile.samplers and getattr(request, name) is not None:
            body[name] = getattr(request, name)
        elif name not in profile.samplers:
            report.drop(name)
    if stops := spell_stops(request, report):
        body["stop"] = stops[: profile.max_stops]
        if len(stops) > profile.max_stops:
            report.adapt("stop", f"first_{profile.max_stops}")
    if request.user_id is not None:
        body["user"] = spell_user(request.user_id, 64, report)
    return body


def spell_stops(request: rq.Request, report: Report) -> list[str]:
    """Empty ones are refused by most servers, and match nothing (pitfall 104)."""
    stops = [stop for stop in request.stop if stop]
    if len(stops) < len(request.stop):
        report.adapt("stop", "blank_removed")
    return stops


def _format(output: rq.JsonObjectFormat | rq.JsonSchemaFormat) -> Json:
    if isinstance(output, rq.JsonObjectFormat):
        return {"type": "json_object"}
    schema = {
        "name": output.name or "output",
        "description": output.description,
        "schema": output.schema,
        "strict": output.is_strict,
    }
    return {"type": "json_schema", "json_schema": {key: value for key, value in schema.items() if value is not None}}


def spell_messages(request: rq.Request, report: Report) -> Iterator[Json]:
    """The conversation as chat messages (mapping.md §4)."""
    if request.system:
        yield {"role": "system", "content": "\n\n".join(text.text for text in request.system)}
    for turn in tidy(request, report):
        if turn.role is rq.Role.ASSISTANT:
            yield _assistant(turn, report)
        else:
            yield from _tool_results(turn, report)
            rest = [part for part in turn.parts if not isinstance(part, rq.ToolResult)]
            if rest or not turn.parts:
                yield {"role": turn.role.value, "content": "\n\n".join(_text(part) for part in rest)}


def _tool_results(turn: rq.Turn, report: Report) -> Iterator[Json]:
    """mapping.md §4.2, §4.3: results first, one message each; the error flag becomes text."""
    for part in turn.parts:
        if isinstance(part, rq.ToolResult):
            text = "\n".join(_text(inner) for inner in part.parts)
            if part.is_error and not text.lower().startswith("error"):
                text = f"Error: {text}"
            yield {"role": "tool", "tool_call_id": part.call_id, "content": text}


def _assistant(turn: rq.Turn, report: Report) -> Json:
    message: Json = {"role": "assistant", "content": _joined_text(turn) or None}
    calls = [_call(part) for part in turn.parts if isinstance(part, rq.ToolCall)]
    for part in turn.parts:
        if isinstance(part, rq.Reasoning | rq.RedactedReasoning):
            report.drop_name("messages.reasoning")
        elif not isinstance(part, rq.Text | rq.Refusal | rq.ToolCall):
            refuse_part(part, "this upstream")
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None:
        message["content"] = ""
    return message


def _joined_text(turn: rq.Turn) -> str:
    """Neighbours are one text; what stood on both sides of another block is two (mapping.md §4.2)."""
    joined, is_apart = "", False
    for part in turn.parts:
        if isinstance(part, rq.Text | rq.Refusal):
            joined += "\n\n" + part.text if is_apart and joined and part.text else part.text
            is_apart = is_apart and not part.text
        else:
            is_apart = True
    return joined


def _call(call: rq.ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _text(part: rq.Part) -> str:
    if isinstance(part, rq.Text | rq.Refusal):
        return part.text
    refuse_part(part, "this upstream")


def spell_tools(request: rq.Request, report: Report) -> Json:
    """The tool fields: mapping.md §5.1, §5.3. Without tools, no choice either."""
    if not request.tools:
        drop_choice(request, report)
        return {}
    body: Json = {"tools": [_declare(tool) for tool in request.tools]}
    if request.tool_choice is not None:
        body["tool_choice"] = _choose(request.tool_choice, report)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    return body


def _declare(tool: rq.Tool) -> Json:
    if not isinstance(tool, rq.FunctionTool):
        refuse_tool(tool)
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = object_schema(tool.schema)
    return {"type": "function", "function": function}


def _choose(choice: rq.ToolChoice, report: Report) -> Any:
    if choice.mode is rq.ChoiceMode.NAMED:
        return {"type": "function", "function": {"name": choice.names[0]}}
    if choice.mode is rq.ChoiceMode.ALLOWED:
        report.refuse("tool_choice", why="a list of allowed tools can't be translated yet")
    return choice.mode.value
