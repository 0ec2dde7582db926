"""Request → an Anthropic request."""

from __future__ import annotations

from typing import Final

from gateway.dialects.anthropic import caching
from gateway.dialects.anthropic.blocks import Speller
from gateway.dialects.anthropic.declarations import Declarations, declare
from gateway.dialects.anthropic.messages import Conversation, converse, spell_system
from gateway.dialects.anthropic.options import SAMPLING_VERSION, Features, Options
from gateway.dialects.anthropic.returning import without_foreign
from gateway.dialects.anthropic.schemas import described_schema
from gateway.dialects.anthropic.thinking import default_limit, is_thinking, think
from gateway.dialects.base import Json, Outbound
from gateway.dialects.identity import spell_user
from gateway.dialects.report import Report
from gateway.dialects.tools import ToolNames
from gateway.neutral import request as rq
from gateway.neutral.restoring import Restoration

_DROPPED: Final = (
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "logprobs",
    "top_logprobs",
    "verbosity",
    "cache_key",
    "metadata",
)
_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
PATH: Final = "/v1/messages"


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A messages body as it came, with the upstream's model name, without thinking that other servers have had.

    Its version and betas are the client's: they say what the body means.
    """
    report = Report(request)
    body = {**without_foreign(body, request, report), "model": model}
    return Outbound(body, PATH, {**_headers(options), **request.headers}, report.dropped, report.adapted)


def _headers(options: Options) -> dict[str, str]:
    return {"anthropic-version": options.version}


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a messages request (mapping.md §3.1)."""
    report, features = Report(request), options.features
    _refuse(request, features, report)
    names = ToolNames(request, features.name_limit)
    speller = Speller(names, options, report)
    body: Json = {"model": model, "max_tokens": _limit(request, options, features, report)}
    if system := spell_system(request, features, report):
        body["system"] = system
    conversation = converse(request, features, speller, report)
    declarations = declare(request, names, features, report)
    body["messages"] = conversation.messages
    body |= declarations.body
    body |= think(request, features, body["max_tokens"], _hindrance(features, conversation, declarations), report)
    if isinstance(request.output, rq.JsonSchemaFormat) and features.structured_output:
        form = {"type": "json_schema", "schema": described_schema(request.output)}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    body |= _sampling(request, options, features, report, is_thinking=is_thinking(body))
    body |= _service(request, report)
    body = caching.mark(body, request.cache)
    caching.limit(body, report)
    report.drop(*_DROPPED)
    report.drop_extras()
    restoration = Restoration(names.restored, declarations.output_tool)
    return Outbound(body, PATH, _headers(options), report.dropped, report.adapted, restoration)


def _refuse(request: rq.Request, features: Features, report: Report) -> None:
    """What would change the answer if it were dropped."""
    report.refuse("modalities", why="only text answers can be translated")
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    if not features.prefill:
        report.refuse("prefill", why="an answer's beginning can't be given to this upstream")


def _limit(request: rq.Request, options: Options, features: Features, report: Report) -> int:
    if request.max_tokens is not None:
        return request.max_tokens
    report.adapt("max_tokens", "default")
    return default_limit(request, options.max_tokens, features)


def _hindrance(features: Features, conversation: Conversation, declarations: Declarations) -> str:
    """Why the model may not think this time: this API refuses each of these beside thinking."""
    if declarations.is_forced:
        return "output" if declarations.output_tool else "tool_choice"
    if conversation.is_prefilled:
        return "prefill"
    needs_lead = features.thinking == "budget"  # adaptive thinking asks only for what the model itself had thought
    if conversation.has_lost_lead or (conversation.lacks_lead and needs_lead):
        return "history"
    return ""


def _sampling(request: rq.Request, options: Options, features: Features, report: Report, *, is_thinking: bool) -> Json:
    body: Json = {}
    stops = [stop for stop in request.stop if stop.strip()]
    if stops:
        body["stop_sequences"] = stops
    if len(stops) < len(request.stop):
        report.adapt("stop", "blank_removed")
    if options.version != SAMPLING_VERSION or not features.sampling or is_thinking:
        report.drop("temperature", "top_p", "top_k")
        return body
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)
        if request.temperature > 1:
            report.adapt("temperature", "clamped")
    if request.top_p is not None and request.temperature is not None and not features.both_sampling:
        report.drop("top_p")
    elif request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_k is not None and request.top_k >= 0:  # engines switch it off with -1
        body["top_k"] = request.top_k
    return body


def _service(request: rq.Request, report: Report) -> Json:
    """For whom, how soon, and in which form the answer is sent."""
    body: Json = {}
    if request.user_id is not None:
        body["metadata"] = {"user_id": spell_user(request.user_id, 256, report, hides_personal=True)}
    tier = _TIERS.get(request.service_tier or "")
    if tier is None:
        report.drop("service_tier")
    else:
        body["service_tier"] = tier
        if tier != request.service_tier:
            report.adapt("service_tier", tier)
    if request.stream:
        body["stream"] = True
    return body
