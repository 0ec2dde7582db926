"""How an Anthropic upstream is told to think, and when it may not (mapping.md §6.1, §5.3, §6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.anthropic.options import Features
from gateway.dialects.base import Json
from gateway.dialects.report import Report
from gateway.neutral.request import ReasoningRequest, Request

MIN_BUDGET: Final = 1024
"""Less is refused (`anthropic-messages.md` §6)."""
_BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 32000,
}
_USUAL: Final = "medium"
_EFFORTS: Final[Mapping[str, str]] = {"none": "low", "minimal": "low"}
"""Efforts this API has no word for."""
_EFFORT_BELOW: Final = (("low", 2048), ("medium", 12288))
"""Up to which budget an effort goes."""
_MAX_DEFAULT: Final = 32000
"""Tokens of an answer that every model of Anthropic's that thinks can give."""
_ON: Final = ("on", "auto")
_DISPLAYS: Final[Mapping[str | None, str]] = {"omit": "omitted", "summary": "summarized"}
_OFF: Final = {"thinking": {"type": "disabled"}}


def wants_thinking(request: Request) -> bool:
    """Whether the client asks for reasoning."""
    return request.reasoning is not None and request.reasoning.mode in _ON


def default_limit(request: Request, limit: int, features: Features) -> int:
    """The default of `max_tokens`, which counts thoughts too: where the model thinks, its answer keeps its room."""
    if request.reasoning is not None and wants_thinking(request) and features.thinking != "none":
        limit = max(limit, min(limit + _budget(request.reasoning), _MAX_DEFAULT))
    return min(limit, features.max_output or limit)


def think(request: Request, features: Features, max_tokens: int, hindrance: str, report: Report) -> Json:
    """The body's `thinking` and `output_config.effort`, as far as they are there.

    `hindrance`: what of this request lets nobody think, one word, empty if nothing.
    """
    wish = request.reasoning
    if wish is None:
        return {}
    if request.hides_reasoning:  # what nobody is shown needs no text, and can come back as it was only without
        wish = replace(wish, visible="omit")
    if features.thinking == "none":
        return _nothing(wish, report)
    if hindrance and wants_thinking(request):
        report.adapt("thinking", f"disabled_by_{hindrance}")
        wish = replace(wish, mode="off")
    if features.thinking == "adaptive":
        return _adaptive(wish, report)
    return _budgeted(wish, max_tokens, report)


def is_thinking(body: Json) -> bool:
    """Whether the body asks for thinking, beside which it may not have everything."""
    return body.get("thinking", {}).get("type") in ("enabled", "adaptive")


def _adaptive(wish: ReasoningRequest, report: Report) -> Json:
    """The model finds out how much; the effort says how hard it tries, thinking or not."""
    body: Json = {}
    if wish.mode in _ON:
        body["thinking"] = {"type": "adaptive", **_display(wish)}
    elif wish.mode == "off":
        body |= _OFF
    effort = _effort(wish)
    if effort is not None:
        body["output_config"] = {"effort": effort}
        if effort != wish.effort:
            report.adapt("reasoning", f"effort_{effort}")
    return body


def _effort(wish: ReasoningRequest) -> str | None:
    """In the words of this API; a budget is an effort too."""
    if wish.effort is not None:
        return None if wish.effort == "none" and wish.mode == "off" else _EFFORTS.get(wish.effort, wish.effort)
    if wish.budget is None or wish.mode not in _ON:
        return None
    return next((effort for effort, below in _EFFORT_BELOW if wish.budget < below), "high")


def _budgeted(wish: ReasoningRequest, max_tokens: int, report: Report) -> Json:
    """A budget in tokens, which has to leave room for an answer: the client's own limit is never raised."""
    if wish.mode == "off":
        return dict(_OFF)
    if wish.mode not in _ON:
        return _nothing(wish, report)
    budget = _budget(wish)
    if budget != wish.budget:
        report.adapt("reasoning", "budget")
    if max_tokens > budget:
        return _enabled(wish, budget)
    if max_tokens < 2 * MIN_BUDGET:
        report.adapt("thinking", "disabled_by_max_tokens")
        return dict(_OFF)
    report.adapt("reasoning", "budget_reduced")
    return _enabled(wish, max(MIN_BUDGET, max_tokens - MIN_BUDGET))


def _budget(wish: ReasoningRequest) -> int:
    asked = _BUDGETS.get(wish.effort or _USUAL, _BUDGETS[_USUAL]) if wish.budget is None else wish.budget
    return max(MIN_BUDGET, asked)


def _enabled(wish: ReasoningRequest, budget: int) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": budget, **_display(wish)}}


def _display(wish: ReasoningRequest) -> Json:
    return {"display": _DISPLAYS[wish.visible]} if wish.visible in _DISPLAYS else {}


def _nothing(wish: ReasoningRequest, report: Report) -> Json:
    """What can't be said to this upstream; not to think is what it does anyway."""
    if wish.mode != "off" and (wish.mode, wish.effort, wish.budget) != (None, None, None):
        report.drop("reasoning")
    return {}
