"""An Anthropic request → Request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.anthropic.client_tools import bound_tool, read_choice, read_tool
from gateway.dialects.anthropic.contents import NAME, Contents
from gateway.dialects.base import Inbound, Json
from gateway.dialects.tools import is_closed
from gateway.errors import BadRequest, ClientError, Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

HEADERS: Final = ("anthropic-version", "anthropic-beta")
"""What a client's headers say of its body: forwarded with it, and of no meaning to other dialects (mapping.md §3.2)."""
_PRINTABLE: Final = re.compile(r"[ -~]{1,8192}")
_ROLES: Final = ("user", "assistant", "system")
_NAMES: Final[Mapping[str, str]] = {
    "stop": "stop_sequences",
    "parallel_tools": "tool_choice.disable_parallel_tool_use",
    "user_id": "metadata.user_id",
    "output": "output_config.format",
    "reasoning": "thinking",
    "prefill": "messages",
}
_THINKING: Final = {"enabled": "on", "adaptive": "auto", "disabled": "off", "between_tools": "off"}
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_VISIBLE: Final[Mapping[str | None, str]] = {"summarized": "summary", "omitted": "omit", "updates": "summary"}
"""Claude Code's `updates` are summaries while the model thinks. The set is open: betas add to it."""
_KEPT: Final = ("container", "mcp_servers", "thread")
"""Fields that make something happen at Anthropic, or stay there, beyond an answer."""


def parse(inbound: Inbound) -> rq.Request:
    """A messages request. Raises BadRequest with the wire path of the field at fault."""
    body = Fields(inbound.body)
    named = body.string("model") or "" if inbound.path.get("model") else body.need_string("model")
    models = inbound.models(named)
    contents, unknown = Contents(inbound.sealer), dict[str, object]()
    names = dict(_NAMES)
    turns = _turns(body, contents, unknown)
    choice, parallel = read_choice(body)
    tools = body.each("tools", read_tool)
    config = body.object("output_config")
    request = rq.Request(
        model=models[0],
        aliases=models[1:],
        is_versioned=inbound.is_versioned,
        turns=turns,
        system=tuple(text for text in contents.texts(body, "system") if text.text),
        tools=tools,
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=_max_tokens(body),
        temperature=body.number("temperature", 0, 1),
        top_p=body.number("top_p", 0, 1),
        top_k=body.integer("top_k", low=0),
        stop=body.strings("stop_sequences"),
        output=_output(body, config, names),
        reasoning=_reasoning(body, config, unknown, names),
        stream=body.boolean("stream") or False,
        user_id=_user(body, unknown),
        cache=body.mapping("cache_control"),
        service_tier=_tier(body, names),
        prefill=turns[-1].role is rq.Role.ASSISTANT,
        headers={name: value for name in HEADERS if _PRINTABLE.fullmatch(value := inbound.headers.get(name, ""))},
        own_dialect_only=_state(body, unknown) or bound_tool(tools),
        names=names,
    )
    unknown |= _rest(config, "output_config") | body.rest()
    is_kept = not unknown.keys().isdisjoint(_KEPT)
    return replace(request, extras={NAME: unknown}, is_kept=is_kept) if unknown else request


def _rest(fields: Fields | None, name: str) -> Json:
    """What nobody took of an object in the body, by its paths."""
    return {f"{name}.{field}": value for field, value in fields.rest().items()} if fields else {}


def _max_tokens(body: Fields) -> int:
    value = body.integer("max_tokens", low=0)
    if value is None:
        raise BadRequest("max_tokens: expected an integer, got nothing", param="max_tokens")
    return value


def _turns(body: Fields, contents: Contents, unknown: Json) -> tuple[rq.Turn, ...]:
    messages = body.objects("messages")
    if not messages:
        raise BadRequest("messages: expected a non-empty array", param="messages")
    turns = []
    for message in messages:
        role = rq.Role(message.need_choice("role", _ROLES))
        read = contents.texts if role is rq.Role.SYSTEM else contents.read
        turns.append(rq.Turn(role, tuple(read(message, "content")), where=message.path))
        unknown |= {f"messages.{name}": value for name, value in message.rest().items()}
    return tuple(turns)


def _output(body: Fields, config: Fields | None, names: dict[str, str]) -> rq.JsonSchemaFormat | None:
    """The schema of the answer; `output_format` is where it stood before `output_config` came."""
    form, legacy = config.object("format") if config else None, body.object("output_format")
    if form is None and legacy is not None:
        form, names["output"] = legacy, "output_format"
    if form is None:
        return None
    form.need_choice("type", ("json_schema",))
    schema = form.mapping("schema") or {}
    return rq.JsonSchemaFormat(schema, is_strict=is_closed(schema) or None)  # a promise here, whatever the schema


def _reasoning(body: Fields, config: Fields | None, unknown: Json, names: dict[str, str]) -> rq.ReasoningRequest | None:
    """How the model is to think; the effort counts whether or not it thinks (mapping.md §6.1)."""
    thinking, effort = body.object("thinking"), config.choice("effort", _EFFORTS) if config else None
    if thinking is None:
        names["reasoning"] = "output_config.effort"
        return rq.ReasoningRequest(effort=effort) if effort else None
    mode = _THINKING[thinking.need_choice("type", tuple(_THINKING))]
    display = thinking.string("display")
    if display is not None and display not in _VISIBLE:
        unknown["thinking.display"] = display
    budget = thinking.integer("budget_tokens", low=0)
    unknown |= _rest(thinking, "thinking")
    return rq.ReasoningRequest(mode, effort, budget, _VISIBLE.get(display))


def _user(body: Fields, unknown: Json) -> str | None:
    """Whatever its length: agents put JSON there (pitfall 97)."""
    metadata = body.object("metadata")
    user_id = metadata.string("user_id") if metadata else None
    unknown |= _rest(metadata, "metadata")
    return user_id


def _tier(body: Fields, names: dict[str, str]) -> str | None:
    """`speed: fast` is what other vendors sell as a priority tier (mapping.md §3.2)."""
    tier = body.string("service_tier")
    if tier is None and body.choice("speed", ("standard", "fast")) == "fast":
        names["service_tier"] = "speed"
        return "priority"
    return tier


def _state(body: Fields, unknown: Json) -> ClientError | None:
    """Why only the server that holds the client's state can answer (mapping.md §3.2)."""
    container, thread = body.take("container"), body.take("thread")
    if isinstance(container, str) or (isinstance(container, dict) and container.get("id")):
        return _bound("container" if isinstance(container, str) else "container.id")
    if isinstance(thread, dict) and thread.get("continue"):
        return _bound("thread.continue")
    unknown |= {name: value for name, value in (("container", container), ("thread", thread)) if value is not None}
    return None


def _bound(where: str) -> ClientError:
    return Unsupported(f"{where}: the state it names is kept at Anthropic", param=where)
