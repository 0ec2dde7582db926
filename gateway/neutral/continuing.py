"""The request by which another upstream goes on with an answer that broke (mapping.md §4.5 for how it is told).

It is the client's own conversation and one message of the assistant, which holds exactly the text that the client got.
Nothing is asked for in words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.neutral.request import ChoiceMode, Request, Role, Text, Turn

_FREE: Final = (ChoiceMode.AUTO, ChoiceMode.NONE)


def may_go_on(request: Request) -> bool:
    """Whether an answer to it could: one streamed answer, in plain text as far as can be told before.

    A form that the answer has to have, or a call it has to be, would be asked for anew, for the rest alone. Where the
    client gave a beginning itself, its text and ours would be one message, which it never sent.
    """
    is_free = request.tool_choice is None or request.tool_choice.mode in _FREE
    is_plain = request.output is None and not request.logprobs and (request.n or 1) == 1
    is_asked = not request.prefill and bool(request.turns) and request.turns[-1].role is not Role.ASSISTANT
    return request.stream and is_free and is_plain and is_asked and request.own_dialect_only is None


def going_on(request: Request, text: str, output_tokens: int | None) -> Request | None:
    """The request for the rest. None: its limit is used up. `output_tokens`: what the upstream counted, as far as told.

    A client that set a limit gets no more than that from both together, as near as can be known: an upstream that broke
    has often counted nothing yet, and then a token is four characters.
    """
    limit = request.max_tokens
    if limit is not None:
        limit -= max(1, output_tokens or 0, len(text) // 4)
        if limit < 1:
            return None
    turn = Turn(Role.ASSISTANT, (Text(text),))
    return replace(request, turns=(*request.turns, turn), prefill=True, max_tokens=limit)
