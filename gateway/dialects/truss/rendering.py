"""Request → a Truss request."""

from __future__ import annotations

from typing import Final

from gateway.dialects.base import Json, Outbound
from gateway.dialects.openai.rendering import spell_messages, spell_stops, spell_tools
from gateway.dialects.prompts import build_prompt, is_templated
from gateway.dialects.report import Report
from gateway.dialects.truss.options import Options
from gateway.neutral import request as rq

_SAMPLERS: Final = ("temperature", "top_p", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty")
_EXTRA_SAMPLERS: Final = ("min_p", "repetition_penalty")
_REFUSED: Final = ("output", "logprobs", "logit_bias", "modalities", "prefill")


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A predict body unchanged, unknown keys and placeholder model included."""
    return Outbound(body, headers=_headers(request, options))


def _headers(request: rq.Request, options: Options) -> dict[str, str]:
    """Whole answers are asked for as JSON on purpose: collected, a failing generator becomes a 500 (truss.md §0.5)."""
    is_streamed = request.stream and options.raw_eof == "trust"
    return {"accept": "*/*" if is_streamed else "application/json"}


def render(request: rq.Request, model: str, options: Options) -> Outbound:
    """A neutral request as a predict body (truss.md §2.4)."""
    report = Report(request)
    report.refuse(*_REFUSED, why="not supported by this model; ignoring it would change the meaning")
    if (request.n or 1) > 1:
        report.refuse("n", why="several answers can't be translated; ask for one")
    body = _prompt_body(request, options, report) if options.input == "prompt" else _messages_body(request, report)
    if request.stream:
        body["stream"] = True
        if options.include_usage:
            body["stream_options"] = {"include_usage": True}
    body |= _params(request, options, report)
    body |= options.extra_body
    report.drop("top_logprobs", "verbosity", "cache_key", "metadata", "service_tier", "user_id")
    report.drop_extras()
    report.drop_caching()
    report.drop_strictness()
    return Outbound(body, "", _headers(request, options), report.dropped, report.adapted)


def _messages_body(request: rq.Request, report: Report) -> Json:
    return {"messages": list(spell_messages(request, report)), **spell_tools(request, report)}


def _prompt_body(request: rq.Request, options: Options, report: Report) -> Json:
    if request.tools and not (request.tool_choice and request.tool_choice.mode is rq.ChoiceMode.NONE):
        report.refuse("tools", why="tools are not supported by this model")
    report.drop("tools", "parallel_tools")
    return {"prompt": build_prompt(request, options.template, report)}


def _params(request: rq.Request, options: Options, report: Report) -> Json:
    """Sampling fields under the model's own names, only those the client set."""
    if request.max_tokens == 0:
        report.refuse("max_tokens", why="an answer of no tokens can't be asked of this upstream")
    sent: Json = {"max_tokens": request.max_tokens}
    sent |= {name: getattr(request, name) for name in _SAMPLERS}
    for name in _EXTRA_SAMPLERS:
        if name in options.accepts:
            sent[name] = getattr(request, name)
        else:
            report.drop(name)
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
    report.drop("reasoning")
    return body


def _stops(request: rq.Request, options: Options, report: Report) -> list[str]:
    """With the plain template a model may write the user's next line itself (truss.md §2.4, 6)."""
    is_plain = options.input == "prompt" and options.template == "plain" and options.params.get("stop") != ""
    return [*spell_stops(request, report), *(["\nUser:"] if is_plain and is_templated(request) else [])]
