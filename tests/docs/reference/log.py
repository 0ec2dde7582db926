"""Every field of the line that each request leaves in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from gateway.telemetry.log import Record, Tried
from tests.docs.reference.markdown import code, table
from tests.docs.reference.markdown import page as joined

MEANINGS: Final[Mapping[str, str]] = {
    "request_id": "The id of the request, which its client has in `x-gateway-request-id`.",
    "client_dialect": "What the client speaks.",
    "key_id": "The id of the client's key, never the key.",
    "route": "The route, as configured.",
    "upstream": "The upstream that answered, or the last one that was tried.",
    "upstream_dialect": "What that upstream speaks.",
    "status": "What the client was answered; absent where it left before that.",
    "stream": "Whether it asked for a stream.",
    "attempts": "Calls that were made.",
    "tries": "Each of several tries, as below.",
    "queue_ms": "How long the last try waited for its turn at the upstream, where it had to.",
    "left_ms": "When the client left, where the answer was read on without it.",
    "hedge": "What came of a second target that was asked while the first was late: `won`, `lost`, or "
    "`failed` like the first.",
    "cut_by": "The upstream whose answer broke where another one could have gone on with it.",
    "continued": "The upstream that went on with it.",
    "paused_ms": "How long the answer stood still until its client took more of it.",
    "ttft_ms": "From the request to the first content that was sent.",
    "duration_ms": "From the request to the end.",
    "input_tokens": "Of the prompt, its cached part included, as far as anybody counted.",
    "output_tokens": "Of the answer.",
    "finish_reason": "Why the model stopped.",
    "is_certain": "Whether the upstream's wire proved that the answer is whole; raw text can't.",
    "finish_inferred": "The upstream ended properly and never said why.",
    "end": "`complete`; `refused`: an error instead of an answer; `broken`: an error after the beginning; "
    "`client_left`; `client_stalled`: it took nothing for too long; `drained`: the process ended first.",
    "error": "The [kind](errors.md) of the error.",
    "dropped": "How many fields were left out, as `x-gateway-dropped` names them.",
    "adapted": "How many fields were changed, as `x-gateway-adapted` names them.",
    "dropped_fragments": "Fragments of tool calls that came too late to belong anywhere.",
    "grammar_fault": "Which frame of ours its dialect's grammar forbids: a defect of the gateway. Please report it.",
    "trace_id": "Of the trace that the client's `traceparent` belongs to.",
}
"""What each field says."""
TRIES: Final[Mapping[str, str]] = {
    "upstream": "Who was called.",
    "model": "For which model.",
    "delay_ms": "How long the try was put off.",
    "end": "`complete`, the word of an error, or `left` where it was called off.",
    "ms": "How long it took.",
}
"""What each field of a try says."""
_INTRODUCTION: Final = """\
# The log line of a request

Each request leaves one line. It holds these fields and nothing else: no text of prompts or answers, no keys, no query
strings. What is unknown is left out. `make docs` writes this page.
"""


def page() -> str:
    """The page, in Markdown."""
    told = ((code(name), MEANINGS.get(name, "")) for name in names(Record))
    tries = ((code(name), TRIES.get(name, "")) for name in names(Tried))
    return joined(_INTRODUCTION, table(("field", "says"), told), "## A try\n", table(("field", "says"), tries))


def names(record: type[Record | Tried]) -> list[str]:
    """The fields of a line, or of a try in it."""
    return [field.name for field in fields(record) if not field.name.startswith("_")]
