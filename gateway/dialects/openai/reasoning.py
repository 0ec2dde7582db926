"""Reasoning at OpenAI chat servers: how it is asked for, and how a history gives it back (mapping.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, get_args

from gateway.dialects.base import Json
from gateway.dialects.openai.options import Effort, Options
from gateway.dialects.openai.profiles import Profile, profile_of
from gateway.dialects.report import Report
from gateway.dialects.sealing import NONE, Sealer
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

FORMATS: Final[Mapping[str, str]] = {"anthropic": "anthropic-claude-v1"}
"""Our names for sealed formats → those in `reasoning_details`; all others have the same name here and there."""
FORMATS_READ: Final[Mapping[str, str]] = {theirs: ours for ours, theirs in FORMATS.items()}
UNNAMED: Final = "openrouter-details"
"""The format of a seal in `reasoning_details` that names none."""
_ELSEWHERE: Final = ("openai-encrypted",)
"""Formats that no chat server reads: an item of reasoning goes back to the API that has items."""
_EFFORTS: Final[tuple[Effort, ...]] = get_args(Effort)
_DEFAULT_EFFORT: Final = "medium"
_BUDGETS: Final = ((2048, "low"), (12288, "medium"))
_FILLER: Final = " "
"""What stands for reasoning that is not there, for servers that want it in every message (mapping.md §6.3)."""


# -- what is asked ---------------------------------------------------------------------------------------------------


def spell_reasoning(request: rq.Request, profile: Profile, report: Report) -> Json:
    """The fields that ask for reasoning (mapping.md §6.1). What was not said isn't said upstream either."""
    asked = request.reasoning
    if request.prefill and asked is not None and asked.mode == "on":
        report.refuse("reasoning", why="an answer whose beginning is given can't be thought about first")
    if request.prefill and profile.reasoning in _SWITCHES:
        return _switched(False, profile)
    return {} if asked is None else _STYLES[profile.reasoning](asked, profile, report)


def _by_effort(asked: rq.ReasoningRequest, profile: Profile, report: Report) -> Json:
    effort = _wanted_effort(asked, report)
    known = _known_effort(effort, profile, report) if effort else None
    return {"reasoning_effort": known} if known else {}


def _by_switch(asked: rq.ReasoningRequest, profile: Profile, report: Report) -> Json:
    body = _switched(asked.mode == "on", profile) if asked.mode in ("on", "off") else {}
    return body | _finer(asked, profile, report, is_switched=bool(body))


def _by_type(asked: rq.ReasoningRequest, profile: Profile, report: Report) -> Json:
    if asked.mode == "off":
        return {"thinking": {"type": "disabled"}}
    body: Json = {"thinking": {"type": "enabled"}} if asked.mode == "on" else {}
    return body | _finer(asked, profile, report, is_switched=bool(body))


def _by_object(asked: rq.ReasoningRequest, profile: Profile, report: Report) -> Json:
    """One object, with an effort or a budget but not both."""
    settings: Json = {"exclude": True} if asked.visible == "omit" else {}
    if asked.mode == "off":
        settings["enabled"] = False
    elif asked.effort:
        settings["effort"] = _known_effort(asked.effort, profile, report)
        if asked.budget:
            report.adapt("reasoning", "by_effort")
    elif asked.budget:
        settings["max_tokens"] = asked.budget
    elif asked.mode == "on":
        settings["enabled"] = True
    return {"reasoning": settings} if settings else {}


def _not_at_all(asked: rq.ReasoningRequest, profile: Profile, report: Report) -> Json:
    if asked.mode == "on" or asked.effort:
        report.drop("reasoning")
    return {}


_STYLES: Final[Mapping[str, Callable[[rq.ReasoningRequest, Profile, Report], Json]]] = {
    "effort": _by_effort,
    "enable_thinking": _by_switch,
    "template_args": _by_switch,
    "thinking_type": _by_type,
    "reasoning_obj": _by_object,
    "none": _not_at_all,
}


_SWITCHES: Final[Mapping[str, str]] = {
    "enable_thinking": "chat_template_kwargs",
    "template_args": "chat_template_args",
}


def _switched(is_on: bool, profile: Profile) -> Json:
    return {_SWITCHES[profile.reasoning]: {"enable_thinking": is_on}}


def _finer(asked: rq.ReasoningRequest, profile: Profile, report: Report, *, is_switched: bool) -> Json:
    """How much to think, beside whether to think."""
    if asked.mode == "off" or not (asked.effort or asked.budget):
        return {}
    if profile.efforts:
        return _by_effort(asked, profile, report)
    if is_switched:
        report.adapt("reasoning", "switched_on")
    else:
        report.drop("reasoning")
    return {}


def _wanted_effort(asked: rq.ReasoningRequest, report: Report) -> str | None:
    if asked.mode == "off":
        return "none"
    if asked.effort:
        return asked.effort
    if asked.budget is not None and asked.mode == "on":
        effort = next((effort for limit, effort in _BUDGETS if asked.budget < limit), "high")
        report.adapt("reasoning", f"effort_{effort}")
        return effort
    return _DEFAULT_EFFORT if asked.mode == "on" else None


def _known_effort(effort: str, profile: Profile, report: Report) -> str | None:
    """The effort itself, else the next one below that the server knows, else the next above; `none` has none."""
    if effort in profile.efforts or effort not in _EFFORTS:
        return effort
    if effort == "none":
        report.drop("reasoning")
        return None
    place = _EFFORTS.index(effort)
    nearest = next(known for known in (*_EFFORTS[place::-1], *_EFFORTS[place:]) if known in profile.efforts)
    report.adapt("reasoning", f"effort_{nearest}")
    return nearest


# -- what a client asks, and gives back ------------------------------------------------------------------------------

_ASKING: Final = ("reasoning_effort", "reasoning", "thinking", "chat_template_kwargs", "include_reasoning")
_MODES: Final = {"enabled": "on", "disabled": "off", "adaptive": "auto", "auto": "auto"}
_DISPLAYS: Final = {"summarized": "summary", "omitted": "omit"}
_SWITCH: Final = {True: "on", False: "off"}


def read_reasoning_request(body: Fields) -> tuple[rq.ReasoningRequest | None, str, Json]:
    """What the client asks of reasoning, the field it says so in, and what of that nobody reads (mapping.md §6.1)."""
    named = next((name for name in _ASKING if body.has(name)), _ASKING[0])
    unread: Json = {}
    asked = rq.ReasoningRequest(effort=body.string("reasoning_effort"))
    if body.boolean("include_reasoning") is False:
        asked = replace(asked, visible="omit")
    if template := body.mapping("chat_template_kwargs"):
        asked = _read_template(template, asked, unread)
    if thinking := body.object("thinking"):
        asked = _read_thinking(thinking, asked, unread)
    if settings := body.object("reasoning"):
        asked = _read_settings(settings, asked, unread)
    if asked.effort == "none":
        asked = replace(asked, mode="off")
    elif asked.mode is None and (asked.effort or asked.budget):
        asked = replace(asked, mode="on")
    return (asked if asked != rq.ReasoningRequest() else None), named, unread


def _read_template(template: Json, asked: rq.ReasoningRequest, unread: Json) -> rq.ReasoningRequest:
    """The one template setting that many models have; the others are their own."""
    if rest := {name: value for name, value in template.items() if name != "enable_thinking"}:
        unread["chat_template_kwargs"] = rest
    is_on = template.get("enable_thinking")
    return replace(asked, mode=_SWITCH[is_on]) if isinstance(is_on, bool) else asked


def _read_thinking(thinking: Fields, asked: rq.ReasoningRequest, unread: Json) -> rq.ReasoningRequest:
    """As Anthropic has it (mapping.md §3.1)."""
    mode, budget = _MODES[thinking.need_choice("type", tuple(_MODES))], thinking.integer("budget_tokens", low=0)
    display = thinking.choice("display", tuple(_DISPLAYS))
    unread |= {f"thinking.{name}": value for name, value in thinking.rest().items()}
    return replace(asked, mode=mode, budget=budget, visible=_DISPLAYS[display] if display else asked.visible)


def _read_settings(settings: Fields, asked: rq.ReasoningRequest, unread: Json) -> rq.ReasoningRequest:
    is_on, is_hidden = settings.boolean("enabled"), settings.boolean("exclude")
    read = replace(
        asked,
        mode=asked.mode if is_on is None else _SWITCH[is_on],
        effort=settings.string("effort") or asked.effort,
        budget=settings.integer("max_tokens", low=0) or asked.budget,
        visible="omit" if is_hidden else asked.visible,
    )
    unread |= {f"reasoning.{name}": value for name, value in settings.rest().items()}
    return read


def read_reasoning(message: Fields, sealer: Sealer) -> Iterator[rq.Reasoning | rq.RedactedReasoning]:
    """An assistant's reasoning as a client gives it back: once, whichever of the fields it kept (pitfall 83)."""
    field = "reasoning_content" if message.has("reasoning_content") else "reasoning"
    plain, where = message.string(field) or "", message.at(field)
    message.take("reasoning")
    details = message.objects("reasoning_details")
    thoughts = [thought for detail in details if (thought := _read_detail(detail, sealer))]
    if any(isinstance(thought, rq.Reasoning) and thought.text for thought in thoughts):
        yield from thoughts
        return
    # Seals without text, as we stream them: their text is in the other field. That of several can't be told apart.
    sealed = [thought for thought in thoughts if isinstance(thought, rq.Reasoning)]
    if len(sealed) != 1 and plain:
        yield rq.Reasoning(plain, where=where)
    for thought in thoughts:
        if isinstance(thought, rq.RedactedReasoning) or not plain:
            yield thought
        elif len(sealed) == 1:
            yield replace(thought, text=plain)


def _read_detail(detail: Fields, sealer: Sealer) -> rq.Reasoning | rq.RedactedReasoning | None:
    kind, form = detail.string("type"), detail.string("format")
    if kind == "reasoning.encrypted":
        value = _read_seal(detail.need_string("data"), form, sealer)
        return rq.RedactedReasoning(value, where=detail.path)
    text = detail.string("text") or detail.string("summary") or ""
    signature = detail.string("signature")
    seal = _read_seal(signature, form, sealer) if signature else None
    if not (text or seal):
        return None
    return rq.Reasoning(text, seal, is_summary=kind == "reasoning.summary", where=detail.path)


def _read_seal(data: str, form: str | None, sealer: Sealer) -> rq.OpaqueValue:
    return sealer.open(data) or rq.OpaqueValue(FORMATS_READ.get(form or "", form or UNNAMED), data)


# -- what was thought before -----------------------------------------------------------------------------------------


class Echo:
    """Gives a server its own earlier reasoning back, in the field it reads, and nobody else's (mapping.md §6.3)."""

    def __init__(self, turns: list[rq.Turn], request: rq.Request, options: Options, report: Report) -> None:
        self._origin = options.profile
        self._profile = profile_of(options)
        self._report = report
        is_off = request.reasoning is not None and request.reasoning.mode == "off"
        self._fills = self._profile.echo_reasoning == "always" and not is_off and self._is_owed(turns)

    def spell(self, turn: rq.Turn) -> Json:
        """The reasoning fields of an assistant message."""
        thoughts = [part for part in turn.parts if isinstance(part, rq.Reasoning | rq.RedactedReasoning)]
        field, own = self._profile.reasoning_field, [thought for thought in thoughts if self._is_own(thought)]
        if field == "none" or not self._echoes(turn):
            return {}
        if field == "reasoning_details":
            return {field: [_detail(thought, i) for i, thought in enumerate(own)]} if own else {}
        text = "".join(thought.text for thought in own if isinstance(thought, rq.Reasoning))
        return {field: text or _FILLER} if text or self._fills else {}

    def _echoes(self, turn: rq.Turn) -> bool:
        has_calls = any(isinstance(part, rq.ToolCall) for part in turn.parts)
        return self._profile.echo_reasoning == "always" or (self._profile.echo_reasoning == "tool_turns" and has_calls)

    def _is_own(self, thought: rq.Reasoning | rq.RedactedReasoning) -> bool:
        """Whether this server may see it; what it may not is named."""
        if self._profile.reasoning_field == "none":
            self._report.drop_name("messages.reasoning", where=thought.where)
            return False
        if _fits(_seal_of(thought), self._origin, takes_seals=self._profile.reasoning_field == "reasoning_details"):
            return True
        self._report.repair("messages.thinking", "foreign", thought.where)
        return False

    def _is_owed(self, turns: list[rq.Turn]) -> bool:
        """Servers that want all reasoning back want it once there is any, or a call it should have come with."""
        parts = [part for turn in turns if turn.role is rq.Role.ASSISTANT for part in turn.parts]
        return any(isinstance(part, rq.Reasoning | rq.ToolCall) for part in parts)


def _seal_of(thought: rq.Reasoning | rq.RedactedReasoning) -> rq.OpaqueValue | None:
    return thought.value if isinstance(thought, rq.RedactedReasoning) else thought.signature


def _fits(seal: rq.OpaqueValue | None, origin: str, *, takes_seals: bool) -> bool:
    """Bare text fits anyone: nobody knows whose it is. A seal fits its maker, if that one reads seals at all."""
    if seal is None:
        return True
    return seal.origin in ("", origin) and (seal.format == NONE or (takes_seals and seal.format not in _ELSEWHERE))


def _detail(thought: rq.Reasoning | rq.RedactedReasoning, index: int) -> Json:
    if isinstance(thought, rq.RedactedReasoning):
        return {"type": "reasoning.encrypted", "data": thought.value.data, **_format(thought.value), "index": index}
    kind, field = ("reasoning.summary", "summary") if thought.is_summary else ("reasoning.text", "text")
    detail: Json = {"type": kind, field: thought.text}
    if thought.signature is not None and thought.signature.format != NONE:
        detail |= {"signature": thought.signature.data, **_format(thought.signature)}
    return {**detail, "index": index}


def _format(value: rq.OpaqueValue) -> Json:
    return {"format": FORMATS.get(value.format, value.format)}
