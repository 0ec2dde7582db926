"""Request → a Truss request."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.dialects.base import Json, Outbound
from gateway.dialects.openai.profiles import SAMPLERS, profile_of
from gateway.dialects.openai.rendering import refuse_no_answer, spell_chat, spell_stops
from gateway.dialects.prompts import build_prompt, is_templated
from gateway.dialects.report import Report
from gateway.dialects.tools import callable_tools, demands_call
from gateway.dialects.truss.options import Options
from gateway.neutral import request as rq
from gateway.neutral.restoring import Restoration

_SENT_AS_IS: Final = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "logit_bias")
_REFUSED: Final = ("logprobs", "modalities")
_REFUSED_UNKNOWN: Final = ("output", "logit_bias", "prefill")
"""What changes the meaning of an answer, and only models whose engine is known can be asked for."""
_DROPPED: Final = ("top_logprobs", "verbosity", "cache_key", "metadata", "service_tier", "user_id")


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A predict body unchanged, unknown keys and placeholder model included."""
    return Outbound(body, headers=_headers(request, options))


def _headers(request: rq.Request, options: Options) -> dict[str, str]:
    """Whole answers are asked for as JSON on purpose: collected, a failing generator becomes a 500 (truss.md §0.5)."""
    is_streamed = request.stream and options.raw_eof == "trust"
    return {"accept": "*/*" if is_streamed else "application/json"}


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a predict body (truss.md §2.4)."""
    is_known = has_known_engine(options)
    is_idle = not is_known and request.output is not None and demands_call(request)
    if is_idle:  # the answer is a call: there is no text that a schema could be for
        request = replace(request, output=None)
    report = Report(request)
    if is_idle:
        report.adapt("output", "left_out_for_tool_choice")
    refused = _REFUSED if is_known else (*_REFUSED, *_REFUSED_UNKNOWN)
    report.refuse(*refused, why="not supported by this model; ignoring it would change the meaning")
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    body, restoration = _conversation(request, options, report)
    if request.stream:
        body["stream"] = True
        if options.include_usage:
            body["stream_options"] = {"include_usage": True}
    body |= _params(request, options, report)
    body |= options.extra_body
    report.drop(*_DROPPED)
    report.drop_extras()
    report.drop_caching()
    report.drop_citing()
    return Outbound(body, "", _headers(request, options), report.dropped, report.adapted, restoration)


def has_known_engine(options: Options) -> bool:
    """Whether the profile says what the server in the model reads."""
    return options.input == "messages" and options.profile != "generic"


def _conversation(request: rq.Request, options: Options, report: Report) -> tuple[Json, Restoration]:
    if options.input == "prompt":
        return _prompt_body(request, options, report), Restoration()
    if not has_known_engine(options) and options.reasoning is None:
        options = replace(options, reasoning="none")  # a model written by hand may choke on a name it doesn't know
    return spell_chat(request, options, report)


def _prompt_body(request: rq.Request, options: Options, report: Report) -> Json:
    is_called = not (request.tool_choice and request.tool_choice.mode is rq.ChoiceMode.NONE)
    if callable_tools(request, report) and is_called:
        report.refuse("tools", why="tools are not supported by this model")
    if not is_called:
        report.drop("tools")
    report.drop("parallel_tools", "reasoning")
    return {"prompt": build_prompt(request, options.template, report)}


def _params(request: rq.Request, options: Options, report: Report) -> Json:
    """Sampling fields under the model's own names, only those the client set."""
    refuse_no_answer(request, report)
    sent: Json = {profile_of(options).max_tokens: request.max_tokens}
    sent |= {name: getattr(request, name) for name in _SENT_AS_IS}
    for sampler in SAMPLERS:
        if sampler in (*options.accepts, *profile_of(options).samplers, *_SENT_AS_IS):
            sent[sampler] = getattr(request, sampler)
        else:
            report.drop(sampler)
    sent["stop"] = _stops(request, options, report)
    body: Json = {}
    for name, value in sent.items():
        wire = options.params.get(name, name)
        if value is None or value == []:
            continue
        if wire:
            body[wire] = value
        else:
            report.drop(name)
    return body


def _stops(request: rq.Request, options: Options, report: Report) -> list[str]:
    """With the plain template a model may write the user's next line itself (truss.md §2.4, 6)."""
    is_plain = options.input == "prompt" and options.template == "plain" and options.params.get("stop") != ""
    limit = profile_of(options).max_stops if has_known_engine(options) else None
    return [*spell_stops(request, limit, report), *(["\nUser:"] if is_plain and is_templated(request) else [])]
