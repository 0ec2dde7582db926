"""An OpenAI Responses request → Request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.base import Inbound, Json
from gateway.dialects.responses.items import read_input
from gateway.dialects.responses.tooling import read_choice, read_tools
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

FORM_SEALED: Final = "sealed"
"""`Request.form` of a client that asked for `reasoning.encrypted_content`, so that it can give reasoning back."""
_SEALED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_NAMES: Final[Mapping[str, str]] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "output": "text.format",
    "verbosity": "text.verbosity",
    "parallel_tools": "parallel_tool_calls",
    "cache_key": "prompt_cache_key",
    "user_id": "user",
    "logprobs": "include",
    "cache_control": "prompt_cache_breakpoint",
    "citations": "annotations",
    "thinking": "reasoning",
    "tool_calls": "input",
}
_STATEFUL: Final[Mapping[str, str]] = {
    "previous_response_id": "this gateway stores no responses; send the whole conversation in input",
    "conversation": "this gateway stores no conversations; send the whole conversation in input",
    "prompt": "this gateway stores no prompts; send instructions and input",
}
_ECHOED: Final = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
)
_ECHOED_TOOLS: Final = frozenset(
    (
        *("function", "custom", "namespace", "web_search", "web_search_2025_08_26", "web_search_preview"),
        *("file_search", "code_interpreter", "image_generation", "mcp", "local_shell", "shell", "apply_patch"),
        "tool_search",
    )
)
"""Tools of other types would break clients that check what they are told (openai-responses.md §3)."""


def parse(inbound: Inbound) -> rq.Request:
    """A responses request. Raises BadRequest with the wire path of the field at fault, Unsupported for stored state."""
    body = Fields(inbound.body)
    _refuse_state(body)
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    models = inbound.models(named)
    instructions = body.string("instructions")
    talk = read_input(body, inbound.sealer)
    tools, unknown = read_tools(body)
    unknown = talk.unknown | unknown
    text = body.object("text") or Fields({}, "text")
    reasoning = _reasoning(body, unknown)
    include = body.strings("include")
    names = {**_NAMES, "user_id": "safety_identifier"} if body.has("safety_identifier") else _NAMES
    user, named_user = body.string("user"), body.string("safety_identifier")
    first = (rq.Text(instructions, where="instructions"),) if instructions else ()
    output, verbosity = _output(text), text.string("verbosity")
    unknown |= {f"text.{name}": value for name, value in text.rest().items()}
    request = rq.Request(
        model=models[0],
        aliases=models[1:],
        is_versioned=inbound.is_versioned,
        turns=tuple(talk.turns),
        system=(*first, *talk.system),
        tools=(*tools, *talk.tools),
        tool_choice=read_choice(body),
        parallel_tools=body.boolean("parallel_tool_calls"),
        max_tokens=body.integer("max_output_tokens", low=1),
        temperature=body.number("temperature", 0, 2),
        top_p=body.number("top_p", 0, 1),
        logprobs=True if _LOGPROBS in include else None,
        top_logprobs=body.integer("top_logprobs", low=0),
        output=output,
        verbosity=verbosity,
        reasoning=reasoning,
        stream=body.boolean("stream") or False,
        include_usage=True,
        user_id=named_user or user,
        cache_key=body.string("prompt_cache_key"),
        service_tier=body.string("service_tier"),
        metadata=body.mapping("metadata"),
        form=FORM_SEALED if _SEALED in include else "",
        echo=_echo(inbound.body),
        names=names,
    )
    return _with_extras(request, unknown | _settings(body) | body.rest())


def _with_extras(request: rq.Request, unknown: Json) -> rq.Request:
    return replace(request, extras={"responses": unknown}) if unknown else request


def _refuse_state(body: Fields) -> None:
    """What needs a server that remembers (openai-responses.md §1)."""
    for name, why in _STATEFUL.items():
        if body.has(name):
            raise Unsupported(f"{name}: {why}", param=name)
    if body.boolean("background"):
        raise Unsupported("background: this gateway runs nothing in the background; leave it out", param="background")


def _settings(body: Fields) -> Json:
    """Fields that mean nothing to a gateway, or only with one of their values."""
    body.boolean("store")  # nothing is ever stored
    body.mapping("stream_options")  # nothing is ever obfuscated
    body.take("background_options")
    truncation = body.choice("truncation", ("auto", "disabled"))
    return {"truncation": truncation} if truncation == "auto" else {}


def _output(text: Fields) -> rq.JsonObjectFormat | rq.JsonSchemaFormat | None:
    form = text.object("format")
    kind = form.need_choice("type", ("text", "json_object", "json_schema")) if form else "text"
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return rq.JsonObjectFormat()
    name, description = form.string("name"), form.string("description")
    return rq.JsonSchemaFormat(form.mapping("schema") or {}, name, description, form.boolean("strict"))


def _reasoning(body: Fields, unknown: Json) -> rq.ReasoningRequest | None:
    reasoning = body.object("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.string("effort")
    older = reasoning.string("generate_summary")
    summary = reasoning.string("summary") or older
    unknown |= {f"reasoning.{name}": value for name, value in reasoning.rest().items()}
    if effort is None and summary is None:
        return None
    mode = None if effort is None else "off" if effort == "none" else "on"
    return rq.ReasoningRequest(mode=mode, effort=effort, visible="summary" if summary else None)


def _echo(body: Json) -> Json:
    """What the response object repeats of its request."""
    echo = {name: body[name] for name in _ECHOED if body.get(name) is not None}
    if "tools" in echo:
        echo["tools"] = [tool for tool in echo["tools"] if tool["type"] in _ECHOED_TOOLS]
    if "text" in echo:
        echo["text"] = {"format": {"type": "text"}, **{k: v for k, v in echo["text"].items() if v is not None}}
    return echo
