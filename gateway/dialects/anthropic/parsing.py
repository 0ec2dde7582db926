"""An Anthropic request → Request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from gateway.dialects.base import Inbound, Json
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_ROLES: Final = ("user", "assistant", "system")
_NAMES: Final[Mapping[str, str]] = {
    "stop": "stop_sequences",
    "parallel_tools": "tool_choice.disable_parallel_tool_use",
    "user_id": "metadata.user_id",
    "output": "output_config.format",
    "reasoning": "thinking",
    "prefill": "messages",
}


def parse(inbound: Inbound) -> rq.Request:
    """A messages request. Raises BadRequest with the wire path of the field at fault."""
    body = Fields(inbound.body)
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    models = inbound.models(named)
    turns, unknown = _turns(body)
    choice, parallel = _tool_choice(body)
    metadata = body.object("metadata")
    output = body.object("output_config")
    names = dict(_NAMES) if body.has("thinking") else {**_NAMES, "reasoning": "output_config.effort"}
    return rq.Request(
        model=models[0],
        aliases=models[1:],
        is_versioned=inbound.is_versioned,
        turns=turns,
        system=_system(body),
        tools=body.each("tools", _tool),
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=_max_tokens(body),
        temperature=body.number("temperature", 0, 1),
        top_p=body.number("top_p", 0, 1),
        top_k=body.integer("top_k", low=0),
        stop=body.strings("stop_sequences"),
        output=_output(output),
        reasoning=_reasoning(body, output),
        stream=body.boolean("stream") or False,
        user_id=metadata.string("user_id") if metadata else None,
        service_tier=body.string("service_tier"),
        prefill=turns[-1].role is rq.Role.ASSISTANT,
        extras={"anthropic": rest} if (rest := unknown | body.rest()) else {},
        names=names,
    )


def _max_tokens(body: Fields) -> int:
    value = body.integer("max_tokens", low=0)
    if value is None:
        raise BadRequest("max_tokens: expected an integer, got nothing", param="max_tokens")
    return value


def _system(body: Fields) -> tuple[rq.Text, ...]:
    blocks = _blocks(body, "system")
    for block in blocks:
        if not isinstance(block, rq.Text):
            raise BadRequest(f"{block.where}: expected a text block", param=block.where)
    return tuple(block for block in blocks if isinstance(block, rq.Text) and block.text)


def _turns(body: Fields) -> tuple[tuple[rq.Turn, ...], Json]:
    messages = body.objects("messages")
    if not messages:
        raise BadRequest("messages: expected a non-empty array", param="messages")
    turns = []
    unknown: Json = {}
    for message in messages:
        role = rq.Role(message.need_choice("role", _ROLES))
        turns.append(rq.Turn(role, _blocks(message, "content"), where=message.path))
        unknown |= {f"messages.{name}": value for name, value in message.rest().items()}
    return tuple(turns), unknown


def _blocks(fields: Fields, name: str) -> tuple[rq.Part, ...]:
    """A string, or an array of blocks."""
    content, where = fields.take(name), fields.at(name)
    if content is None:
        return ()
    if isinstance(content, str):
        return (rq.Text(content, where=where),)
    if not isinstance(content, list):
        raise BadRequest(f"{where}: expected a string or an array of blocks", param=where)
    return tuple(_block(fields_of(block, f"{where}.{i}")) for i, block in enumerate(content))


def _block(block: Fields) -> rq.Part:
    kind = block.need_string("type")
    reader = _BLOCK_READERS.get(kind)
    if reader is None:
        return rq.Opaque("anthropic", kind[:64], block.rest(), where=block.path)
    return reader(block)


def _read_text(block: Fields) -> rq.Part:
    citations = tuple(block.array("citations") or ())
    return rq.Text(block.need_string("text"), citations, cache=block.mapping("cache_control"), where=block.path)


def _read_image(block: Fields) -> rq.Part:
    return rq.Image(_source(block.need_object("source")), cache=block.mapping("cache_control"), where=block.path)


def _source(source: Fields) -> rq.Source:
    kind = source.need_choice("type", ("base64", "url", "file"))
    if kind == "url":
        return rq.Url(source.need_string("url"))
    if kind == "file":
        return rq.FileRef(source.need_string("file_id"))
    return rq.Data(source.need_string("media_type"), source.need_string("data"))


def _read_thinking(block: Fields) -> rq.Part:
    signature = block.string("signature")
    value = rq.OpaqueValue("anthropic", signature) if signature else None
    return rq.Reasoning(block.string("thinking") or "", value, where=block.path)


def _read_redacted(block: Fields) -> rq.Part:
    return rq.RedactedReasoning(rq.OpaqueValue("anthropic", block.need_string("data")), where=block.path)


def _read_tool_use(block: Fields) -> rq.Part:
    arguments = orjson.dumps(block.mapping("input") or {}).decode()
    return rq.ToolCall(block.need_string("id"), block.need_string("name"), arguments, where=block.path)


def _read_tool_result(block: Fields) -> rq.Part:
    call_id, is_error = block.need_string("tool_use_id"), block.boolean("is_error") or False
    return rq.ToolResult(call_id, _blocks(block, "content"), is_error, where=block.path)


_BLOCK_READERS: Final = {
    "text": _read_text,
    "image": _read_image,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
}


def _tool(tool: Fields) -> rq.Tool:
    kind = tool.string("type") or "custom"
    if kind != "custom":
        return rq.HostedTool("anthropic", kind[:64], tool.rest(), where=tool.path)
    return rq.FunctionTool(
        tool.need_string("name"),
        tool.string("description"),
        tool.mapping("input_schema"),
        tool.boolean("strict"),
        where=tool.path,
    )


MODES: Final = {
    "auto": rq.ChoiceMode.AUTO,
    "any": rq.ChoiceMode.REQUIRED,
    "tool": rq.ChoiceMode.NAMED,
    "none": rq.ChoiceMode.NONE,
}


def _tool_choice(body: Fields) -> tuple[rq.ToolChoice | None, bool | None]:
    """The choice, and whether calls may come in parallel."""
    choice = body.object("tool_choice")
    if choice is None:
        return None, None
    mode = MODES[choice.need_choice("type", tuple(MODES))]
    is_single = choice.boolean("disable_parallel_tool_use")
    names = (choice.need_string("name"),) if mode is rq.ChoiceMode.NAMED else ()
    return rq.ToolChoice(mode, names), None if is_single is None else not is_single


def _output(output: Fields | None) -> rq.JsonSchemaFormat | None:
    form = output.object("format") if output else None
    if form is None:
        return None
    form.need_choice("type", ("json_schema",))
    return rq.JsonSchemaFormat(form.mapping("schema") or {})


def _reasoning(body: Fields, output: Fields | None) -> rq.ReasoningRequest | None:
    thinking, effort = body.object("thinking"), output.string("effort") if output else None
    if thinking is None:
        return rq.ReasoningRequest(effort=effort) if effort else None
    kind = thinking.need_choice("type", tuple(_THINKING))
    return rq.ReasoningRequest(_THINKING[kind], effort, thinking.integer("budget_tokens", low=0))


_THINKING: Final = {"enabled": "on", "adaptive": "auto", "disabled": "off", "between_tools": "off"}
