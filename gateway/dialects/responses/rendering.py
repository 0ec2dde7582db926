"""Request → an OpenAI Responses request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.dialects.base import Json, Outbound
from gateway.dialects.identity import spell_user
from gateway.dialects.report import Report, refuse_part
from gateway.dialects.responses.content import spell_content, spell_result
from gateway.dialects.responses.options import PROFILES, Options, Profile
from gateway.dialects.responses.sealed import FORMAT, split_item
from gateway.dialects.sealing import NONE
from gateway.dialects.tools import (
    CallableTool,
    ToolNames,
    allowed_tools,
    callable_tools,
    chosen_tool,
    drop_choice,
    lists_only,
    object_schema,
    spell_id,
)
from gateway.dialects.turns import instructions, tidy
from gateway.neutral import request as rq
from gateway.neutral.restoring import Restoration

PATH: Final = "/responses"
_REFUSED: Final = {
    "modalities": "only text answers can be translated",
    "prefill": "an answer's beginning can't be given to this upstream",
}
_DROPPED: Final = (
    *("top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "stop", "seed"),
    *("logit_bias", "logprobs", "top_logprobs"),
)
_TIERS: Final = {"standard_only": "default"}
"""Other vendors' words for a tier (mapping.md §3.2)."""
_CALL_ID: Final = re.compile(r"(?s).{1,64}")
_SEALED: Final = "reasoning.encrypted_content"


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A responses body as it came, with the upstream's model name.

    Except for reasoning that the client had from another kind of upstream through us: its item means nothing there.
    """
    foreign = {part.where: part for part in request.parts() if _is_ours(part)}
    if not foreign:
        return Outbound({**body, "model": model}, PATH)
    items = []
    for i, item in enumerate(body["input"]):
        part = foreign.get(f"input.{i}")
        spelled = item if part is None else _reasoning(part, options)
        if spelled is not None:
            items.append(spelled)
    adapted = ("input.reasoning=unsealed",)
    return Outbound({**body, "model": model, "input": items}, PATH, adapted=adapted)


def _is_ours(part: rq.Part) -> bool:
    """Whether a part came back in a token of the gateway's, which only the gateway reads."""
    value = _value(part)
    return value is not None and (value.format != FORMAT or bool(value.origin))


def _value(part: rq.Part) -> rq.OpaqueValue | None:
    if isinstance(part, rq.RedactedReasoning):
        return part.value
    return part.signature if isinstance(part, rq.Reasoning) else None


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a responses request (mapping.md §3.2, §3.3)."""
    report = Report(request)
    for field, why in _REFUSED.items():
        report.refuse(field, why=why)
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    profile, names = PROFILES[options.profile], ToolNames(request, 64)
    body: Json = {"model": model}
    body |= _conversation(request, options, names, report)
    body |= _limits(request, report) | _tools(request, names, report) | _text(request)
    body |= _thinking(request, options, profile, report)
    body["store"] = False
    if request.stream:
        body["stream"] = True
    body |= _identity(request, report)
    report.drop(*_DROPPED)
    report.drop_extras()
    report.drop_caching()
    report.drop_citing()
    return Outbound(body, PATH, {}, report.dropped, report.adapted, Restoration(names.restored))


def _conversation(request: rq.Request, options: Options, names: ToolNames, report: Report) -> Json:
    """Instructions and items. Without items, which this API refuses, the instructions are the first, as in a chat."""
    items = list(_Input(request, options, names, report).items())
    text = "\n\n".join(text.text for text in instructions(request, "native"))
    if items:
        return {"instructions": text, "input": items} if text else {"input": items}
    role = PROFILES[options.profile].instructions_role if text else "user"
    return {"input": [{"type": "message", "role": role, "content": text}]}


def _limits(request: rq.Request, report: Report) -> Json:
    if request.max_tokens == 0:
        report.refuse("max_tokens", why="an answer of no tokens can't be asked of this upstream")
    sent = {"max_output_tokens": request.max_tokens, "temperature": request.temperature, "top_p": request.top_p}
    return {name: value for name, value in sent.items() if value is not None}


def _identity(request: rq.Request, report: Report) -> Json:
    """Who asks, and how it is to be served."""
    body: Json = {}
    if request.user_id is not None:
        body["safety_identifier"] = spell_user(request.user_id, 64, report)
    if request.cache_key is not None:
        body["prompt_cache_key"] = request.cache_key
    if request.service_tier is not None:
        body["service_tier"] = tier = _TIERS.get(request.service_tier, request.service_tier)
        if tier != request.service_tier:
            report.adapt("service_tier", tier)
    if request.metadata is not None:
        body["metadata"] = request.metadata
    return body


def _text(request: rq.Request) -> Json:
    """Structured output is flat here, and the verbosity its neighbour."""
    text: Json = {}
    output = request.output
    if isinstance(output, rq.JsonObjectFormat):
        text["format"] = {"type": "json_object"}
    elif output is not None:
        schema = {"description": output.description, "schema": output.schema, "strict": output.is_strict}
        form = {"type": "json_schema", "name": output.name or "output"}
        text["format"] = form | {name: value for name, value in schema.items() if value is not None}
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    return {"text": text} if text else {}


# -- reasoning -------------------------------------------------------------------------------------------------------

_BUDGETS: Final = ((2048, "low"), (12288, "medium"))
"""Thinking budgets below which an effort is meant; `high` above them (mapping.md §6.1)."""


def _thinking(request: rq.Request, options: Options, profile: Profile, report: Report) -> Json:
    """Nothing is stored, so that sealed reasoning is the only memory of an upstream between two turns."""
    body: Json = {"include": [_SEALED]} if options.encrypted_reasoning else {}
    wanted = request.reasoning
    if wanted is None:
        return body
    reasoning: Json = {}
    effort = _effort(wanted, report)
    if effort is not None:
        reasoning["effort"] = profile.efforts.get(effort, effort)
        if reasoning["effort"] != effort:
            report.adapt("reasoning", reasoning["effort"])
    if wanted.visible != "omit" and wanted.mode != "off":
        reasoning["summary"] = "auto"
    return {**body, "reasoning": reasoning} if reasoning else body


def _effort(wanted: rq.ReasoningRequest, report: Report) -> str | None:
    if wanted.mode == "off":
        return "none"
    if wanted.effort is not None or wanted.budget is None:
        return wanted.effort
    effort = next((effort for limit, effort in _BUDGETS if wanted.budget < limit), "high")
    report.adapt("reasoning", effort)
    return effort


def _reasoning(part: rq.Part, options: Options) -> Json | None:
    """A reasoning item for the kind of server that it came from, as it came; none for any other (mapping.md §6.3)."""
    value = _value(part)
    if value is None or not isinstance(part, rq.Reasoning):
        return None
    if value.format == FORMAT and value.origin in ("", options.profile):
        item_id, encrypted = split_item(value)
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        named = {"id": item_id} if item_id else {}
        return {"type": "reasoning", **named, "summary": summary, "encrypted_content": encrypted}
    if value.format == NONE and value.origin == options.profile and part.text:
        return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": part.text}]}
    return None


# -- input -----------------------------------------------------------------------------------------------------------


class _Input:
    """The conversation as input items, in their order (mapping.md §4.2)."""

    def __init__(self, request: rq.Request, options: Options, names: ToolNames, report: Report) -> None:
        self._options = options
        self._names = names
        self._report = report
        self._turns = tidy(request, report, "native")
        calls = (part for turn in self._turns for part in turn.parts if isinstance(part, rq.ToolCall))
        self._kinds = {call.id: call.kind for call in calls}

    def items(self) -> Iterator[Json]:
        role = PROFILES[self._options.profile].instructions_role
        for turn in self._turns:
            match turn.role:
                case rq.Role.ASSISTANT:
                    yield from self._assistant(turn)
                case rq.Role.SYSTEM:
                    yield from self._message(role, list(turn.parts))
                case rq.Role.USER:
                    yield from self._user(turn)

    def _user(self, turn: rq.Turn) -> Iterator[Json]:
        """Results first; the rest is one message."""
        rest = []
        for part in turn.parts:
            if isinstance(part, rq.ToolResult):
                yield self._result(part)
            else:
                rest.append(part)
        yield from self._message("user", rest)

    def _message(self, role: str, parts: list[rq.Part]) -> Iterator[Json]:
        content = [spelled for part in parts for spelled in spell_content(part)]
        if len(content) == 1 and content[0]["type"] == "input_text":
            yield {"type": "message", "role": role, "content": content[0]["text"]}
        elif content:
            yield {"type": "message", "role": role, "content": content}

    def _result(self, result: rq.ToolResult) -> Json:
        kind = "custom_tool_call_output" if self._kinds.get(result.call_id) == "custom" else "function_call_output"
        return {"type": kind, "call_id": _call_id(result.call_id), "output": spell_result(result, self._report)}

    def _assistant(self, turn: rq.Turn) -> Iterator[Json]:
        """Neighbouring texts are one message; whatever else the model did keeps its place among them."""
        said: list[Json] = []
        for part in turn.parts:
            if isinstance(part, rq.Text | rq.Refusal):
                said.extend(_said(part))
                continue
            yield from _spoken(said)
            said = []
            yield from self._deed(part)
        yield from _spoken(said)

    def _deed(self, part: rq.Part) -> Iterator[Json]:
        match part:
            case rq.ToolCall():
                yield self._call(part)
            case rq.Reasoning() | rq.RedactedReasoning():
                item = _reasoning(part, self._options)
                if item is not None:
                    yield item
                else:
                    self._report.repair("messages.thinking", "foreign", part.where)
            case rq.Opaque():  # what a vendor's own tools said and did means nothing elsewhere
                self._report.drop_name(f"messages.{part.name}", where=part.where)
            case _:
                refuse_part(part, "this upstream")

    def _call(self, call: rq.ToolCall) -> Json:
        head = {"call_id": _call_id(call.id), "name": self._names.spell(call.name, call.namespace)}
        if call.kind == "custom":
            return {"type": "custom_tool_call", **head, "input": call.arguments}
        return {"type": "function_call", **head, "arguments": call.arguments if call.arguments.strip() else "{}"}


def _said(part: rq.Text | rq.Refusal) -> Iterator[Json]:
    if isinstance(part, rq.Refusal):
        yield {"type": "refusal", "refusal": part.text}
    elif part.text:
        yield {"type": "output_text", "text": part.text}


def _spoken(said: list[Json]) -> Iterator[Json]:
    if said:
        is_plain = len(said) == 1 and said[0]["type"] == "output_text"
        yield {"type": "message", "role": "assistant", "content": said[0]["text"] if is_plain else said}


def _call_id(id_: str) -> str:
    """Only ids that are too long are rewritten (mapping.md §8)."""
    return spell_id(id_, _CALL_ID, "call_")


# -- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: rq.Request, names: ToolNames, report: Report) -> Json:
    """mapping.md §5.1, §5.3. Without tools, no choice either."""
    tools, choice = callable_tools(request, report), request.tool_choice
    if not lists_only(choice, tools):
        tools, choice = allowed_tools(tools, choice, report)
    if not tools:
        drop_choice(request, report)
        return {}
    body: Json = {"tools": [_declare(tool, names) for tool in tools]}
    if choice is not None:
        body["tool_choice"] = _choose(choice, tools, names)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    return body


def _declare(tool: CallableTool, names: ToolNames) -> Json:
    """`strict` is always said: unsaid it means true here, and would make every property a required one."""
    head: Json = {"name": names.spell(tool.name, tool.namespace)}
    if tool.description:
        head["description"] = tool.description
    if isinstance(tool, rq.CustomTool):
        return {"type": "custom", **head} | ({"format": tool.format} if tool.format else {})
    return {
        "type": "function",
        **head,
        "parameters": object_schema(tool.schema),
        "strict": bool(tool.is_strict),
    }


def _choose(choice: rq.ToolChoice, tools: tuple[CallableTool, ...], names: ToolNames) -> Any:
    if choice.mode not in (rq.ChoiceMode.NAMED, rq.ChoiceMode.ALLOWED):
        return choice.mode.value
    chosen = [_chosen(name, tools, names) for name in choice.names]
    if choice.mode is rq.ChoiceMode.NAMED:
        return chosen[0]
    return {"type": "allowed_tools", "mode": "required" if choice.is_required else "auto", "tools": chosen}


def _chosen(name: str, tools: tuple[CallableTool, ...], names: ToolNames) -> Json:
    kind = "custom" if isinstance(chosen_tool(name, tools), rq.CustomTool) else "function"
    return {"type": kind, "name": names.spell_choice(name, tools)}
