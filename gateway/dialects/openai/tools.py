"""Tools and the choice among them, both ways (`openai-chat.md` §3, mapping.md §5.1 to §5.3)."""

from __future__ import annotations

from typing import Any, Final

from gateway.dialects.base import Json
from gateway.dialects.openai.parts import read_cache
from gateway.dialects.openai.profiles import Profile
from gateway.dialects.report import Report
from gateway.dialects.tools import (
    CUSTOM_SCHEMA,
    CallableTool,
    ToolNames,
    allowed_tools,
    callable_tools,
    chosen_tool,
    custom_description,
    drop_choice,
    lists_only,
    object_schema,
)
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_MODES: Final = ("auto", "none", "required")


# -- reading ---------------------------------------------------------------------------------------------------------


def read_tool(tool: Fields) -> rq.Tool:
    kind = tool.string("type") or "function"
    if kind == "function":
        cache = read_cache(tool)
        return read_function(tool.need_object("function"), cache)
    if kind == "custom":
        return _read_custom(tool)
    return rq.HostedTool("openai", kind[:64], tool.rest(), where=tool.path)


def read_function(function: Fields, cache: Json | None = None) -> rq.FunctionTool:
    """A function, also in the old `functions`."""
    return rq.FunctionTool(
        function.need_string("name"),
        function.string("description"),
        function.mapping("parameters"),
        function.boolean("strict"),
        cache=read_cache(function) or cache,
        extras=function.rest(),
        where=function.path,
    )


def _read_custom(tool: Fields) -> rq.CustomTool:
    custom = tool.need_object("custom")
    name, description, form = custom.need_string("name"), custom.string("description"), custom.object("format")
    return rq.CustomTool(name, description, _read_format(form) if form else None, where=tool.path)


def _read_format(form: Fields) -> Json:
    """Here a grammar is an object of its own; elsewhere its fields stand beside the type."""
    kind = form.need_choice("type", ("text", "grammar"))
    if kind == "text":
        return {"type": kind}
    grammar = form.object("grammar") or form
    return {
        "type": kind,
        "syntax": grammar.need_string("syntax"),
        "definition": grammar.need_string("definition"),
    }


def read_choice(body: Fields) -> rq.ToolChoice | None:
    """`tool_choice`, or the old `function_call`."""
    name = "tool_choice" if body.has("tool_choice") else "function_call"
    choice = body.take(name)
    if choice is None:
        return None
    where = body.at(name)
    if isinstance(choice, str):
        if choice not in _MODES:
            raise BadRequest(f"{where}: expected one of auto, none, required or an object", param=where)
        return rq.ToolChoice(rq.ChoiceMode(choice))
    fields = fields_of(choice, where)
    if fields.string("type") == "allowed_tools":
        return _read_allowed(fields.object("allowed_tools") or fields)
    return rq.ToolChoice(rq.ChoiceMode.NAMED, (_name_in(fields),))


def _read_allowed(allowed: Fields) -> rq.ToolChoice:
    is_required = allowed.choice("mode", ("auto", "required")) == "required"
    names = tuple(_name_in(tool) for tool in allowed.objects("tools"))
    if not names:
        allowed.refuse("tools", "expected a non-empty array")
    return rq.ToolChoice(rq.ChoiceMode.ALLOWED, names, is_required)


def _name_in(choice: Fields) -> str:
    return (choice.object("function") or choice.object("custom") or choice).need_string("name")


# -- spelling --------------------------------------------------------------------------------------------------------


def spell_tools(request: rq.Request, profile: Profile, report: Report, names: ToolNames) -> Json:
    """The tool fields. Without tools no choice either (pitfall 102)."""
    tools, choice = callable_tools(request, report), request.tool_choice
    if not profile.allowed_tools or not lists_only(choice, tools):
        tools, choice = allowed_tools(tools, choice, report)
    if not tools:
        drop_choice(request, report)
        return {}
    if not profile.strict_tools:
        report.drop_strictness()
    body: Json = {"tools": [_declare(tool, profile, names) for tool in tools]}
    if choice is not None:
        body["tool_choice"] = _spell_choice(choice, tools, profile, names)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    return body


def _declare(tool: CallableTool, profile: Profile, names: ToolNames) -> Json:
    name = names.spell(tool.name, tool.namespace)
    if isinstance(tool, rq.CustomTool):
        return _declare_custom(tool, name, profile)
    function: Json = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = object_schema(tool.schema)
    if profile.strict_tools and tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {"type": "function", "function": function}


def _declare_custom(tool: rq.CustomTool, name: str, profile: Profile) -> Json:
    """As it is where the server knows free text, else as a function of one string (pitfalls 106, 107)."""
    if not profile.custom_tools:
        described = {"description": text} if (text := custom_description(tool)) else {}
        return {"type": "function", "function": {"name": name, **described, "parameters": CUSTOM_SCHEMA}}
    custom: Json = {"name": name}
    if tool.description:
        custom["description"] = tool.description
    if tool.format is not None:
        grammar = {name: value for name, value in tool.format.items() if name != "type"}
        custom["format"] = {"type": tool.format["type"], **({"grammar": grammar} if grammar else {})}
    return {"type": "custom", "custom": custom}


def _spell_choice(choice: rq.ToolChoice, tools: tuple[CallableTool, ...], profile: Profile, names: ToolNames) -> Any:
    def named(name: str) -> Json:
        is_custom = isinstance(chosen_tool(name, tools), rq.CustomTool) and profile.custom_tools
        kind = "custom" if is_custom else "function"
        return {"type": kind, kind: {"name": names.spell_choice(name, tools)}}

    if choice.mode is rq.ChoiceMode.NAMED:
        return named(choice.names[0])
    if choice.mode is rq.ChoiceMode.ALLOWED:
        mode = "required" if choice.is_required else "auto"
        allowed = [named(name) for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    return choice.mode.value
