"""Request → an OpenAI chat request."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.dialects.base import Json, Outbound
from gateway.dialects.identity import spell_user
from gateway.dialects.openai.messages import spell_messages
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.prefixing import CONTINUED
from gateway.dialects.openai.profiles import SAMPLERS, Profile, profile_of
from gateway.dialects.openai.reasoning import spell_reasoning
from gateway.dialects.openai.tools import spell_tools
from gateway.dialects.report import Report
from gateway.dialects.tools import ToolNames
from gateway.neutral import request as rq
from gateway.neutral.restoring import Restoration

_SENT_AS_IS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias")
_USER_LIMIT: Final = 64
_SERVICE_TIERS: Final = {"standard_only": "default"}
"""Another vendor's word → OpenAI's (mapping.md §3.2)."""
_AS_JSON: Final = "Answer with one JSON object and nothing else."
_BY_SCHEMA: Final = "Answer with one JSON object and nothing else. It has to follow this JSON Schema:\n{}"
PATH: Final = "/chat/completions"


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A chat completion body as it came, with the upstream's model name."""
    return Outbound({**body, "model": model}, PATH)


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a chat completion request (mapping.md §3.2)."""
    report, profile = Report(request), profile_of(options)
    chat, restoration = spell_chat(request, options, report)
    body: Json = {"model": model, **chat}
    body |= _limits(request, profile, report)
    if request.stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    body |= _account(request, profile, report)
    report.drop("logprobs", "top_logprobs", "metadata")
    report.drop_extras()
    report.drop_caching()
    report.drop_citing()
    return Outbound(body, PATH, {}, report.dropped, report.adapted, restoration)


def spell_chat(request: rq.Request, options: Options, report: Report) -> tuple[Json, Restoration]:
    """The conversation, its tools, and how it is to be answered: what any server of chats has in common."""
    profile, names = profile_of(options), ToolNames(request)
    report.refuse("modalities", why="only text answers can be translated")
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    output, instruction = _spell_output(request, profile, report)
    body: Json = {"messages": spell_messages(request, options, report, names, instruction)}
    body |= spell_tools(request, profile, report, names)
    body |= output
    body |= _prefill(request, profile, report)
    body |= spell_reasoning(request, profile, report)
    return body, Restoration(names.restored)


def _limits(request: rq.Request, profile: Profile, report: Report) -> Json:
    body: Json = {name: value for name in _SENT_AS_IS if (value := getattr(request, name)) is not None}
    refuse_no_answer(request, report)
    if request.max_tokens is not None:
        body[profile.max_tokens] = request.max_tokens
    for name in SAMPLERS:
        if name not in profile.samplers:
            report.drop(name)
        elif getattr(request, name) is not None:
            body[name] = getattr(request, name)
    if stops := spell_stops(request, profile.max_stops, report):
        body["stop"] = stops
    return body


def refuse_no_answer(request: rq.Request, report: Report) -> None:
    """Anthropic's way to fill a cache has no counterpart."""
    if request.max_tokens == 0:
        report.refuse("max_tokens", why="an answer of no tokens can't be asked of this upstream")


def spell_stops(request: rq.Request, limit: int | None, report: Report) -> list[str]:
    """Empty ones are refused by most servers, and match nothing; more than it takes fail (pitfall 104)."""
    stops = [stop for stop in request.stop if stop]
    if len(stops) < len(request.stop):
        report.adapt("stop", "blank_removed")
    if limit is not None and len(stops) > limit:
        report.adapt("stop", f"first_{limit}")
    return stops[:limit]


def _account(request: rq.Request, profile: Profile, report: Report) -> Json:
    """Who asks, how urgently, and what only some servers read."""
    body: Json = {}
    if request.user_id is not None and profile.user != "none":
        body[profile.user] = spell_user(request.user_id, _USER_LIMIT, report)
    elif request.user_id is not None:
        report.drop("user_id")
    tier = _SERVICE_TIERS.get(request.service_tier or "", request.service_tier)
    if tier in profile.service_tiers:
        body["service_tier"] = tier
        if tier != request.service_tier:
            report.adapt("service_tier", str(tier))
    else:
        report.drop("service_tier")
    if profile.cache_key and request.cache_key is not None:
        body["prompt_cache_key"] = spell_user(request.cache_key, _USER_LIMIT, report, field="cache_key")
    else:
        report.drop("cache_key")
    if profile.verbosity and request.verbosity is not None:
        body["verbosity"] = request.verbosity
    else:
        report.drop("verbosity")
    return body


def _prefill(request: rq.Request, profile: Profile, report: Report) -> Json:
    """mapping.md §4.5: the beginning of an answer is never silently turned into history (pitfall 79)."""
    if not request.prefill:
        return {}
    if profile.prefill == "none":
        report.refuse("prefill", why="an answer's beginning can't be given to this upstream")
    if profile.prefill == "vllm":
        return dict(CONTINUED)
    return {}


def _spell_output(request: rq.Request, profile: Profile, report: Report) -> tuple[Json, str]:
    """The field for the answer's form, and what the instructions have to say of it where the field can't."""
    output = request.output
    if output is None:
        return {}, ""
    if isinstance(output, rq.JsonObjectFormat):
        return _json_object(profile, report)
    if profile.structured == "json_schema":
        return {"response_format": _schema_format(output, profile)}, ""
    if profile.structured == "none":
        report.refuse("output", why="this upstream can't be held to a schema")
    report.repair("output", "json_object_and_instruction")
    field, _ = _json_object(profile, report)
    return field, _BY_SCHEMA.format(orjson.dumps(output.schema).decode())


def _json_object(profile: Profile, report: Report) -> tuple[Json, str]:
    if profile.structured != "none":
        return {"response_format": {"type": "json_object"}}, ""
    report.adapt("output", "instruction")
    return {}, _AS_JSON


def _schema_format(output: rq.JsonSchemaFormat, profile: Profile) -> Json:
    schema: Json = {"name": output.name or "output"}
    if output.description:
        schema["description"] = output.description
    schema["schema"] = output.schema
    if profile.strict_schema and output.is_strict is not None:
        schema["strict"] = output.is_strict
    return {"type": "json_schema", "json_schema": schema}
