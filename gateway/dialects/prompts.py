"""A conversation as one prompt, for models that read nothing else (`protocol/truss.md` §2.4).

One lone user message goes as it is. Otherwise a template spells the roles; one with special markers refuses text that
holds such a marker, since it could fake a role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gateway.dialects.report import Report, refuse_part
from gateway.dialects.turns import instructions
from gateway.errors import BadRequest
from gateway.neutral.request import Part, Refusal, Request, Role, Text, Turn

Template = Literal["plain", "chatml", "llama3", "mistral"]


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How a template spells each role, what the answer begins after, and the markers that text must not hold."""

    system: str
    user: str
    assistant: str
    begin: str = ""
    answer: str = ""
    markers: tuple[str, ...] = ()


_SPELLINGS: Final[dict[str, _Spelling]] = {
    "plain": _Spelling("System: {}\n", "User: {}\n", "Assistant: {}\n", answer="Assistant:"),
    "chatml": _Spelling(
        "<|im_start|>system\n{}<|im_end|>\n",
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n{}<|im_end|>\n",
        answer="<|im_start|>assistant\n",
        markers=("<|im_start|>", "<|im_end|>"),
    ),
    "llama3": _Spelling(
        "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
        begin="<|begin_of_text|>",
        answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
        markers=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"),
    ),
    "mistral": _Spelling(
        "[INST] {} [/INST]", "[INST] {} [/INST]", " {}</s>", begin="<s>", markers=("[INST]", "[/INST]", "<s>", "</s>")
    ),
}


def is_templated(request: Request) -> bool:
    """Whether the request needs roles at all: more than one lone user message."""
    return bool(instructions(request, "user")) or len(request.turns) != 1 or request.turns[0].role is not Role.USER


def build_prompt(request: Request, template: Template, report: Report) -> str:
    """The prompt. Raises Unsupported for parts that aren't text, BadRequest for faked markers."""
    if not is_templated(request):
        return _text_of(request.turns[0])
    spelling = _SPELLINGS[template]
    spelled = [spelling.begin]
    if system := instructions(request, "user"):
        spelled.append(_spell(spelling, spelling.system, "\n\n".join(text.text for text in system), "system"))
    for turn in request.turns:
        form = {Role.SYSTEM: spelling.system, Role.USER: spelling.user, Role.ASSISTANT: spelling.assistant}[turn.role]
        spelled.append(_spell(spelling, form, _text_of(turn), turn.where))
    report.adapt("messages", f"{template}_prompt")
    return "".join([*spelled, spelling.answer])


def _spell(spelling: _Spelling, form: str, text: str, where: str) -> str:
    for marker in spelling.markers:
        if marker in text:
            raise BadRequest(f"{where}: holds {marker}, which marks a role in this model's prompt", param=where)
    return form.replace("{}", text)


def _text_of(turn: Turn) -> str:
    return "".join(_text(part) for part in turn.parts)


def _text(part: Part) -> str:
    if isinstance(part, Text | Refusal):
        return part.text
    refuse_part(part, "a model that only reads a prompt")
