"""Tool names, ids, schemas and arguments, as every dialect has to have them (`protocol/mapping.md` §5, §8)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import orjson

from gateway.dialects.report import Report
from gateway.neutral.request import (
    ChoiceMode,
    CustomTool,
    FunctionTool,
    HostedTool,
    Request,
    Role,
    ToolCall,
    ToolChoice,
)
from gateway.neutral.restoring import CUSTOM_FIELD, ClientTool
from gateway.wire.json_body import MAX_DEPTH, is_deeper

CallableTool = FunctionTool | CustomTool
"""A tool that the client runs."""
_EMPTY: Final = {"type": "object", "properties": {}}
CUSTOM_SCHEMA: Final = {
    "type": "object",
    "properties": {CUSTOM_FIELD: {"type": "string"}},
    "required": [CUSTOM_FIELD],
    "additionalProperties": False,
}
"""What a tool that takes free text takes instead, where there are only functions."""


# -- names -----------------------------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT: Final = 55


class ToolNames:
    """The client's tools, and those of its history, under names that an upstream takes (mapping.md §5.2).

    Depends on nothing but the names themselves, so that history and definitions agree from request to request.
    """

    def __init__(self, request: Request, limit: int = 64) -> None:
        """`limit`: characters of a name at most."""
        self._limit = limit
        self._spelled: dict[tuple[str | None, str], str] = {}
        tools = _client_tools(request)
        for tool in sorted(tools, key=lambda tool: (tool.namespace is not None, tool.name, tool.namespace or "")):
            self._add(tool.namespace, tool.name)
        self.restored: Mapping[str, ClientTool] = {
            spelled: tool
            for tool in tools
            if (spelled := self.spell(tool.name, tool.namespace)) != tool.name or tool.kind != "function"
        }
        """Names upstream → the client's tools, only those that an answer has to restore."""

    def spell(self, name: str, namespace: str | None = None) -> str:
        """The name upstream of a tool of the client's."""
        return self._spelled.get((namespace, name)) or self._add(namespace, name)

    def spell_choice(self, name: str, tools: Iterable[CallableTool]) -> str:
        """The name upstream of the tool that a choice means."""
        tool = chosen_tool(name, tools)
        return self.spell(tool.name, tool.namespace) if tool else self.spell(name)

    def _add(self, namespace: str | None, name: str) -> str:
        whole = f"{namespace}__{name}" if namespace else name
        spelled = whole if len(whole) <= self._limit and _NAME.fullmatch(whole) else _shortened(whole)
        if spelled in self._spelled.values():
            spelled = _shortened(f"{namespace or ''}\0{name}")
        self._spelled[namespace, name] = spelled
        return spelled


def _shortened(name: str) -> str:
    """What is left of a name, and a hash that keeps it apart from others with the same beginning (pitfall 98)."""
    return f"{_NOT_NAME.sub('_', name)[:_KEPT]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _client_tools(request: Request) -> list[ClientTool]:
    """Declared tools first: what a name means is what the client says now."""
    found: dict[tuple[str | None, str], ClientTool] = {}
    for tool in request.tools:
        if not isinstance(tool, HostedTool):
            kind = "custom" if isinstance(tool, CustomTool) else "function"
            found.setdefault((tool.namespace, tool.name), ClientTool(tool.name, tool.namespace, kind))
    for call in history_calls(request):
        found.setdefault((call.namespace, call.name), ClientTool(call.name, call.namespace, call.kind))
    return list(found.values())


def history_calls(request: Request) -> Iterable[ToolCall]:
    """The calls in the conversation so far."""
    for turn in request.turns:
        if turn.role is Role.ASSISTANT:
            yield from (part for part in turn.parts if isinstance(part, ToolCall))


# -- ids -------------------------------------------------------------------------------------------------------------


def spell_id(id_: str, form: re.Pattern[str], prefix: str) -> str:
    """A call's id if it fits, else a hash of it: the same for call and result, without any state (mapping.md §8)."""
    if form.fullmatch(id_):
        return id_
    return prefix + base64.b32encode(hashlib.sha256(id_.encode()).digest()).decode().lower()[:24]


# -- definitions -----------------------------------------------------------------------------------------------------


def object_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The schema with a root that is an object: absent → no arguments, untyped → `type: object` in front."""
    if not schema:
        return _EMPTY
    return schema if "type" in schema else {"type": "object", **schema}


def is_closed(schema: Any) -> bool:
    """Whether every object lists all its properties as required and allows no others.

    Only then some vendors hold a model to a schema (`openai-chat.md` §3); asked for more they fail.
    """
    if isinstance(schema, list):
        return all(is_closed(inner) for inner in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties", {} if schema.get("type") == "object" else None)
    if isinstance(properties, dict):
        required = schema.get("required", [])
        is_listed = isinstance(required, list) and properties.keys() <= {name for name in required if type(name) is str}
        return is_listed and schema.get("additionalProperties") is False and is_closed(list(properties.values()))
    return all(is_closed(inner) for inner in schema.values())


def custom_description(tool: CustomTool) -> str:
    """A free-text tool's description with its grammar, which a function has no field for (pitfall 107)."""
    grammar = (tool.format or {}).get("definition")
    rule = f"The input must follow this {tool.format['syntax']} grammar:\n{grammar}" if tool.format and grammar else ""
    return "\n\n".join(text for text in (tool.description, rule) if text)


def callable_tools(request: Request, report: Report) -> tuple[CallableTool, ...]:
    """The tools that the client runs. Hosted ones are dropped by name; a choice that needs one is refused.

    mapping.md §3.2, pitfall 108: agents send hosted tools to any server, and work without them.
    """
    tools = [tool for tool in request.tools if not isinstance(tool, HostedTool)]
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            _drop_hosted(tool, request.tool_choice, report)
    return tuple(tools)


def _drop_hosted(tool: HostedTool, choice: ToolChoice | None, report: Report) -> None:
    if choice is not None and choice.mode is ChoiceMode.NAMED and choice.names[0] in (tool.name, tool.json.get("name")):
        report.refuse("tool_choice", why=f"demands the hosted tool {tool.name[:64]!r}, which runs at another vendor")
    report.drop_name(f"tools.{tool.name}", where=tool.where)


def allowed_tools(
    tools: tuple[CallableTool, ...], choice: ToolChoice | None, report: Report
) -> tuple[tuple[CallableTool, ...], ToolChoice | None]:
    """A list of allowed tools for upstreams that know none: the others are not declared (mapping.md §5.3)."""
    if choice is None or choice.mode is not ChoiceMode.ALLOWED:
        return tools, choice
    report.adapt("tool_choice", "tools_filtered")
    mode = ChoiceMode.REQUIRED if choice.is_required else ChoiceMode.AUTO
    allowed = [chosen_tool(name, tools) for name in choice.names]
    return tuple(tool for tool in tools if tool in allowed), ToolChoice(mode)


def demands_call(request: Request) -> bool:
    """Whether the answer has to be a call of a tool, so that it can't be a text."""
    choice = request.tool_choice
    return bool(request.tools) and choice is not None and choice.mode in (ChoiceMode.REQUIRED, ChoiceMode.NAMED)


def lists_only(choice: ToolChoice | None, tools: Iterable[CallableTool]) -> bool:
    """Whether a list of allowed tools, if it is one, names nothing but these: vendors refuse what isn't declared."""
    return (
        choice is None
        or choice.mode is not ChoiceMode.ALLOWED
        or None not in map(partial(chosen_tool, tools=tools), choice.names)
    )


def chosen_tool(name: str, tools: Iterable[CallableTool]) -> CallableTool | None:
    """The tool that a choice means: by its own name, or by that of its namespace and its own."""
    return next((tool for tool in tools if name in (tool.name, f"{tool.namespace}__{tool.name}")), None)


def drop_choice(request: Request, report: Report) -> None:
    """A choice among no tools: refused where it demands one (mapping.md §5.3), else dropped."""
    choice = request.tool_choice
    if choice is not None and (choice.is_required or choice.mode in (ChoiceMode.NAMED, ChoiceMode.REQUIRED)):
        report.refuse("tool_choice", why="demands a tool, but there are no tools")
    if choice is not None and choice.mode is not ChoiceMode.NONE:  # which is what happens anyway
        report.drop("tool_choice")


# -- arguments -------------------------------------------------------------------------------------------------------


def arguments_object(text: str, *, closes_cut: bool = False) -> tuple[dict[str, Any], bool]:
    """Argument text as an object, and whether it had to be repaired (mapping.md §5.5).

    `closes_cut`: arguments that were cut in a history are closed where they end. Never those of an answer: a call that
    is not whole may not look as if it were.
    """
    if text.strip() in ("", "null", '"null"'):
        return {}, False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return (_closed(text) if closes_cut else {"_raw": text}), True
    found = _object_in(value) if isinstance(value, str) else value if isinstance(value, dict) else {"value": value}
    if is_deeper(found, MAX_DEPTH):  # orjson reads deeper than it writes
        return {"_raw": text}, True
    return found, found is not value or (_holds_huge(found) and _HUGE.search(text) is not None)


def _object_in(text: str) -> dict[str, Any]:
    """An object that was encoded twice, or the text as a value."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"value": text}
    return value if isinstance(value, dict) else {"value": value}


def _holds_huge(value: Any) -> bool:
    """Whether a number is beyond 64 bits: an integer there was read as a rounded one. Level by level, no recursion."""
    level = [value]
    while level:
        if any(type(each) is float and abs(each) >= 2**63 for each in level):
            return True
        level = [
            child
            for parent in level
            if type(parent) is dict or type(parent) is list
            for child in (parent.values() if type(parent) is dict else parent)
        ]
    return False


_HUGE: Final = re.compile(r"[0-9]{20}")
"""An integer that doesn't fit 64 bits, where there is a number beyond them."""


def _closed(text: str) -> dict[str, Any]:
    """Arguments that were cut (`length`), closed where they end; as raw text where that makes no object."""
    for ending in _endings(text):
        try:
            value = orjson.loads(text.rstrip().rstrip(",") + ending)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and not is_deeper(value, MAX_DEPTH):
            return value
    return {"_raw": text}


def _endings(text: str) -> tuple[str, ...]:
    """What may be missing at the end: the open string, a member's value, the brackets."""
    stack, in_string, is_escaped = [], False, False
    for letter in text:
        if in_string:
            in_string = is_escaped or letter != '"'
            is_escaped = letter == "\\" and not is_escaped
        elif letter in _CLOSERS:
            stack.append(_CLOSERS[letter])
        elif letter in "]}" and stack:
            stack.pop()
        else:
            in_string = letter == '"'
    close = "".join(reversed(stack))
    quote = '"' if in_string else ""
    return quote + close, quote + ":null" + close, "null" + close


_CLOSERS: Final = {"{": "}", "[": "]"}


def wrap_custom(text: str) -> str:
    """Free text as the argument object of the function that stands for its tool."""
    return orjson.dumps({CUSTOM_FIELD: text}).decode()
