"""The call by which a target goes on with an answer that broke at another one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.attempt import Call
from gateway.dialects import DIALECTS
from gateway.neutral.continuing import going_on
from gateway.relay.carrier import Thread
from gateway.routing.target import Target


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an answer: the call that asks for it, and the thread it is tied to."""

    call: Call
    thread: Thread


def rest_of(call: Call, thread: Thread, target: Target) -> Rest | None:
    """The client's call and the text it got, for the target. None: the target can't go on with exactly this text.

    An answer of which the client got no text is asked for as it was: any target can do that.
    """
    text = thread.splice.text
    asked = _asked_for(call, text, thread.splice.output_tokens, target) if text else call
    return None if asked is None else Rest(asked, thread)


def _asked_for(call: Call, text: str, output_tokens: int | None, target: Target) -> Call | None:
    upstream = target.upstream
    request = going_on(call.request, text, output_tokens) if upstream.takes_prefix(text) else None
    if request is None:
        return None
    if upstream.dialect != call.dialect.name:  # rendered from the request
        return replace(call, request=request, size=call.size + len(text))
    prefixing = DIALECTS[upstream.dialect].prefixing
    body = prefixing.put(call.body, request, text, upstream.options) if prefixing else None
    return None if body is None else replace(call, request=request, body=body, size=call.size + len(text))
