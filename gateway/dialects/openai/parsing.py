"""An OpenAI chat request → Request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import orjson

from gateway.dialects.base import Inbound, Json
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_INSTRUCTIONS: Final = ("system", "developer")
_NAMES: Final[Mapping[str, str]] = {
    "output": "response_format",
    "parallel_tools": "parallel_tool_calls",
    "user_id": "user",
    "cache_key": "prompt_cache_key",
    "reasoning": "reasoning_effort",
    "prefill": "continue_final_message",
}


def parse(inbound: Inbound) -> rq.Request:
    """A chat completion request. Raises BadRequest with the wire path of the field at fault."""
    body = Fields(inbound.body)
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    request = read(body, inbound.models(named), dialect="openai")
    return replace(request, is_versioned=inbound.is_versioned) if inbound.is_versioned else request


def read(body: Fields, models: tuple[str, ...], dialect: str) -> rq.Request:
    """The chat fields of a body whose model is known already (Truss puts it in the path)."""
    system, turns, unknown = _conversation(body)
    max_tokens_name = "max_completion_tokens" if body.has("max_completion_tokens") else "max_tokens"
    legacy_max_tokens = body.integer("max_tokens", low=1)
    names = {**_NAMES, "max_tokens": max_tokens_name}
    if body.has("safety_identifier"):
        names["user_id"] = "safety_identifier"
    if not body.has("tool_choice") and body.has("function_call"):
        names["tool_choice"] = "function_call"
    options = body.object("stream_options")
    return rq.Request(
        model=models[0],
        aliases=models[1:],
        turns=turns,
        system=system,
        tools=body.each("tools", _tool) + body.each("functions", _function),
        tool_choice=_tool_choice(body),
        parallel_tools=body.boolean("parallel_tool_calls"),
        max_tokens=body.integer("max_completion_tokens", low=1) or legacy_max_tokens,
        temperature=body.number("temperature", 0, 2),
        top_p=body.number("top_p", 0, 1),
        top_k=body.integer("top_k"),
        min_p=body.number("min_p", 0, 1),
        presence_penalty=body.number("presence_penalty", -2, 2),
        frequency_penalty=body.number("frequency_penalty", -2, 2),
        repetition_penalty=body.number("repetition_penalty", 0),
        stop=body.strings("stop"),
        seed=body.integer("seed"),
        n=body.integer("n", low=1),
        logprobs=body.boolean("logprobs"),
        top_logprobs=body.integer("top_logprobs", low=0),
        logit_bias=body.mapping("logit_bias"),
        output=_output(body),
        verbosity=body.string("verbosity"),
        reasoning=_reasoning(body),
        modalities=tuple(m for m in body.strings("modalities") if m != "text"),
        stream=body.boolean("stream") or False,
        include_usage=bool(options and options.boolean("include_usage")),
        user_id=body.string("safety_identifier") or body.string("user"),
        cache_key=body.string("prompt_cache_key"),
        service_tier=body.string("service_tier"),
        metadata=body.mapping("metadata"),
        prefill=_is_prefill(body),
        extras={dialect: rest} if (rest := unknown | body.rest()) else {},
        names=names,
    )


def _conversation(body: Fields) -> tuple[tuple[rq.Text, ...], tuple[rq.Turn, ...], Json]:
    """The leading instructions, the turns after them (mapping.md §4.1), and the fields of messages nobody knows."""
    messages = body.objects("messages")
    if not messages:
        raise BadRequest("messages: expected a non-empty array", param="messages")
    system: list[rq.Text] = []
    turns: list[rq.Turn] = []
    unknown: Json = {}
    for message in messages:
        role = message.need_choice("role", _ROLES)
        if role in _INSTRUCTIONS and not turns:
            system.extend(_instructions(message))
        else:
            turns.append(_turn(role, message, len(turns)))
        unknown |= {f"messages.{name}": value for name, value in message.rest().items()}
    return tuple(system), tuple(turns), unknown


def _instructions(message: Fields) -> Iterator[rq.Text]:
    for part in _content(message):
        if not isinstance(part, rq.Text):
            raise BadRequest(f"{part.where}: expected text in a system message", param=part.where)
        if part.text:
            yield part


def _turn(role: str, message: Fields, ordinal: int) -> rq.Turn:
    if role == "tool":
        call_id = message.need_string("tool_call_id")
        result = rq.ToolResult(call_id, tuple(_content(message)), where=message.path)
        return rq.Turn(rq.Role.USER, (result,), where=message.path)
    if role == "function":
        result = rq.ToolResult(_legacy_id(ordinal - 1), tuple(_content(message)), where=message.path)
        return rq.Turn(rq.Role.USER, (result,), where=message.path)
    if role == "assistant":
        return rq.Turn(rq.Role.ASSISTANT, tuple(_assistant_parts(message, ordinal)), where=message.path)
    neutral = rq.Role.USER if role == "user" else rq.Role.SYSTEM
    return rq.Turn(neutral, tuple(_content(message)), where=message.path)


def _legacy_id(ordinal: int) -> str:
    """mapping.md §4.2: the old function calls have no ids; they pair by order."""
    return f"call_legacy_{ordinal}"


def _assistant_parts(message: Fields, ordinal: int) -> Iterator[rq.Part]:
    reasoning = message.string("reasoning_content") or message.string("reasoning")
    if reasoning:
        yield rq.Reasoning(reasoning, where=message.at("reasoning_content"))
    yield from _content(message)
    if refusal := message.string("refusal"):
        yield rq.Refusal(refusal, where=message.at("refusal"))
    if audio := message.mapping("audio"):
        yield rq.Opaque("openai", "audio", audio, where=message.at("audio"))
    for call in message.objects("tool_calls"):
        yield _tool_call(call)
    if call_fields := message.object("function_call"):
        name, arguments = call_fields.need_string("name"), call_fields.string("arguments") or ""
        yield rq.ToolCall(_legacy_id(ordinal), name, arguments, where=call_fields.path)


def _tool_call(call: Fields) -> rq.ToolCall:
    id_ = call.need_string("id")
    if (call.string("type") or "function") == "custom":
        custom = call.need_object("custom")
        text = custom.string("input") or ""
        return rq.ToolCall(id_, custom.need_string("name"), text, kind="custom", where=call.path)
    function = call.need_object("function")
    name, arguments = function.need_string("name"), function.take("arguments")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    if not isinstance(arguments, str | None):
        raise BadRequest(f"{function.at('arguments')}: expected a string of JSON", param=function.at("arguments"))
    return rq.ToolCall(id_, name, arguments or "", where=call.path)


def _content(message: Fields) -> Iterator[rq.Part]:
    """The content of a message: a string is one text part."""
    where = message.at("content")
    content = message.take("content")
    if content is None:
        return
    if isinstance(content, str):
        yield rq.Text(content, where=where)
        return
    if not isinstance(content, list):
        raise BadRequest(f"{where}: expected a string or an array of parts", param=where)
    for i, part in enumerate(content):
        if isinstance(part, str):
            yield rq.Text(part, where=f"{where}.{i}")
        else:
            yield _part(fields_of(part, f"{where}.{i}"))


def _part(part: Fields) -> rq.Part:
    kind = part.need_string("type")
    if kind in ("text", "input_text"):
        return rq.Text(part.need_string("text"), cache=part.mapping("cache_control"), where=part.path)
    if kind == "refusal":
        return rq.Refusal(part.need_string("refusal"), where=part.path)
    if kind == "image_url":
        image = part.need_object("image_url")
        return rq.Image(_image_source(image), image.string("detail"), where=part.path)
    if kind == "input_audio":
        audio = part.need_object("input_audio")
        mime = f"audio/{audio.need_string('format')}"
        return rq.Audio(mime, audio.need_string("data"), where=part.path)
    return rq.Opaque("openai", kind[:64], part.rest(), where=part.path)


def _image_source(image: Fields) -> rq.Source:
    url = image.need_string("url")
    if not url.startswith("data:"):
        return rq.Url(url)
    head, comma, data = url.partition(",")
    if not comma or not head.endswith(";base64"):
        image.refuse("url", "expected a data URL with ;base64, and data behind a comma")
    return rq.Data(head[len("data:") : -len(";base64")], data)


def _tool(tool: Fields) -> rq.Tool:
    kind = tool.string("type") or "function"
    if kind == "function":
        return _function(tool.need_object("function"))
    if kind == "custom":
        custom = tool.need_object("custom")
        name, description = custom.need_string("name"), custom.string("description")
        return rq.CustomTool(name, description, custom.mapping("format"), where=tool.path)
    return rq.HostedTool("openai", kind, tool.rest(), where=tool.path)


def _function(function: Fields) -> rq.FunctionTool:
    return rq.FunctionTool(
        function.need_string("name"),
        function.string("description"),
        function.mapping("parameters"),
        function.boolean("strict"),
        where=function.path,
    )


def _tool_choice(body: Fields) -> rq.ToolChoice | None:
    name = "tool_choice" if body.has("tool_choice") else "function_call"
    choice = body.take(name)
    if choice is None:
        return None
    where = body.at(name)
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise BadRequest(f"{where}: expected one of auto, none, required or an object", param=where)
        return rq.ToolChoice(rq.ChoiceMode(choice))
    fields = fields_of(choice, where)
    if fields.string("type") == "allowed_tools":
        allowed = fields.need_object("allowed_tools")
        names = tuple(tool.need_object("function").need_string("name") for tool in allowed.objects("tools"))
        return rq.ToolChoice(rq.ChoiceMode.ALLOWED, names, allowed.string("mode") == "required")
    inner = fields.object("function") or fields.object("custom") or fields
    return rq.ToolChoice(rq.ChoiceMode.NAMED, (inner.need_string("name"),))


def _output(body: Fields) -> rq.JsonObjectFormat | rq.JsonSchemaFormat | None:
    form = body.object("response_format")
    kind = form.need_string("type") if form else "text"
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return rq.JsonObjectFormat()
    if kind == "json_schema":
        schema = form.need_object("json_schema")
        name, description = schema.string("name"), schema.string("description")
        return rq.JsonSchemaFormat(schema.mapping("schema") or {}, name, description, schema.boolean("strict"))
    form.refuse("type", f"expected one of text, json_object, json_schema, got {kind[:32]!r}")


def _reasoning(body: Fields) -> rq.ReasoningRequest | None:
    effort = body.string("reasoning_effort")
    if effort is None:
        return None
    return rq.ReasoningRequest(mode="off" if effort == "none" else "on", effort=effort)


def _is_prefill(body: Fields) -> bool:
    """mapping.md §4.5: an assistant prefix, by any of the names servers have for it."""
    return bool(body.has("continue_final_message") and body.boolean("continue_final_message"))
