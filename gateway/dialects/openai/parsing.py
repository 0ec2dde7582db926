"""An OpenAI chat request → Request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.base import Inbound, Json
from gateway.dialects.openai.conversation import read_conversation
from gateway.dialects.openai.reasoning import read_reasoning_request
from gateway.dialects.openai.tools import read_choice, read_function, read_tool
from gateway.dialects.sealing import Sealer
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

_NAMES: Final[Mapping[str, str]] = {
    "output": "response_format",
    "parallel_tools": "parallel_tool_calls",
    "user_id": "user",
    "cache_key": "prompt_cache_key",
    "prefill": "messages",
    "max_tokens": "max_tokens",
}
_ENGINE_FORMATS: Final = ("regex", "grammar", "ebnf", "structural_tag")
"""Further forms of answers that some engines know (`openai-chat.md` §3)."""
_IDLE: Final[Mapping[str, object]] = {
    "store": False,
    "add_generation_prompt": True,
    "best_of": 1,
    "ignore_eos": False,
    "length_penalty": 1,
    "min_tokens": 0,
    "typical_p": 1,
    "use_beam_search": False,
}
"""Values that change nothing where they are dropped, and are not reported (mapping.md §3.1)."""


def parse(inbound: Inbound) -> rq.Request:
    """A chat completion request. Raises BadRequest with the wire path of the field at fault."""
    body = Fields(inbound.body)
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    request = read(body, inbound.models(named), "openai", inbound.sealer)
    return replace(request, is_versioned=inbound.is_versioned) if inbound.is_versioned else request


def read(body: Fields, models: tuple[str, ...], dialect: str, sealer: Sealer) -> rq.Request:
    """The chat fields of a body whose model is known already (Truss puts it in the path)."""
    conversation = read_conversation(body, sealer)
    output, untranslatable = _output(body)
    untranslatable = untranslatable or _spoken(body)
    names = _names_in(body) | ({"prefill": conversation.prefill} if conversation.prefill else {})
    reasoning, names["reasoning"], unread = read_reasoning_request(body)
    options = body.object("stream_options")
    legacy_max_tokens, legacy_user = body.integer("max_tokens", low=1), body.string("user")
    return rq.Request(
        model=models[0],
        aliases=models[1:],
        turns=conversation.turns,
        system=conversation.system,
        tools=body.each("tools", read_tool) + body.each("functions", read_function),
        tool_choice=read_choice(body),
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
        output=output,
        verbosity=body.string("verbosity"),
        reasoning=reasoning,
        modalities=tuple(m for m in body.strings("modalities") if m != "text"),
        stream=body.boolean("stream") or False,
        include_usage=bool(options and options.boolean("include_usage")),
        user_id=body.string("safety_identifier") or legacy_user,
        cache=body.mapping("cache_control"),
        cache_key=body.string("prompt_cache_key"),
        service_tier=body.string("service_tier"),
        metadata=body.mapping("metadata") or None,
        prefill=bool(conversation.prefill),
        extras={dialect: rest} if (rest := conversation.unknown | unread | _asked(body.rest())) else {},
        is_kept=rest.get("store") is True,
        own_dialect_only=untranslatable,
        names=names,
    )


def _names_in(body: Fields) -> dict[str, str]:
    """What this client calls the fields that have several names."""
    names = dict(_NAMES)
    for field, name in (("max_tokens", "max_completion_tokens"), ("user_id", "safety_identifier")):
        if body.has(name):
            names[field] = name
    if not body.has("tool_choice") and body.has("function_call"):
        names["tool_choice"] = "function_call"
    return names


def _asked(rest: Json) -> Json:
    """Fields that nobody knows, without those that ask for nothing."""
    return {name: value for name, value in rest.items() if name not in _IDLE or value != _IDLE[name]}


def _spoken(body: Fields) -> Unsupported | None:
    """Why an answer in a voice can only be had of a server of this dialect."""
    if body.mapping("audio") is None:
        return None
    return Unsupported("audio: only text answers can be translated", param="audio")


def _output(body: Fields) -> tuple[rq.JsonObjectFormat | rq.JsonSchemaFormat | None, Unsupported | None]:
    """The form of the answer, or why it can only be forwarded to a server of this dialect."""
    form = body.object("response_format")
    kind = form.need_string("type") if form else "text"
    if form is None or kind == "text":
        return None, None
    if kind == "json_object":
        return rq.JsonObjectFormat(), None
    if kind == "json_schema":
        schema = form.need_object("json_schema")
        name, description = schema.string("name"), schema.string("description")
        return rq.JsonSchemaFormat(schema.mapping("schema") or {}, name, description, schema.boolean("strict")), None
    if kind in _ENGINE_FORMATS:
        where = form.at("type")
        return None, Unsupported(f"{where}: {kind} is one server's own form, and can't be translated", param=where)
    form.refuse("type", f"expected one of text, json_object, json_schema, got {kind[:32]!r}")
