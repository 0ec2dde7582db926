"""What may happen in an answer, one value each (`protocol/mapping.md` §2). Their order is the business of `grammar`.

`choice` is the number of the answer among several asked for; translation carries one answer, so it is 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.errors import GatewayError
from gateway.neutral.quick_value import quick_value
from gateway.neutral.request import OpaqueValue


class BlockKind(StrEnum):
    TEXT = "text"
    REASONING = "reasoning"
    REDACTED = "redacted"
    TOOL = "tool"
    REFUSAL = "refusal"
    OPAQUE = "opaque"


class Reason(StrEnum):
    """Why the model stopped (`protocol/finish_reasons.json`)."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT_WINDOW = "context_window"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"


@quick_value
class Usage:
    """Token counts so far; later totals replace earlier ones, unknown is `None`, never 0.

    `input` is the whole prompt, cache included; `output` includes `reasoning`.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    is_final: bool = False

    def merged(self, later: Usage) -> Usage:
        """This snapshot with what a later one knows."""
        return Usage(
            self.input if later.input is None else later.input,
            self.output if later.output is None else later.output,
            self.cache_read if later.cache_read is None else later.cache_read,
            self.cache_write if later.cache_write is None else later.cache_write,
            self.reasoning if later.reasoning is None else later.reasoning,
            later.is_final,
        )


@quick_value
class Start:
    """The upstream began: its own id, model and creation time (epoch s), where it says.

    `origin` is the kind of server that answers: what it seals may be given back to servers of that kind.
    """

    id: str | None = None
    model: str | None = None
    created: int | None = None
    usage: Usage | None = None
    origin: str = ""


@quick_value
class BlockStart:
    """`id`, `name`, `namespace` and `call_kind` belong to tool blocks; `payload` is the whole of other ones.

    An opaque block is understood by `dialect` only.

    A call is of kind `function`, its arguments JSON, or `custom`, its arguments free text.
    """

    index: int
    kind: BlockKind
    id: str = ""
    name: str = ""
    call_kind: str = "function"
    payload: OpaqueValue | Mapping[str, Any] | None = None
    namespace: str | None = None
    dialect: str = ""
    choice: int = 0


@quick_value
class TextDelta:
    index: int
    text: str
    choice: int = 0


@quick_value
class RefusalDelta:
    index: int
    text: str
    choice: int = 0


@quick_value
class ReasoningDelta:
    index: int
    text: str
    is_summary: bool = False
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningSignature:
    index: int
    value: OpaqueValue
    choice: int = 0


@quick_value
class ArgsDelta:
    """A fragment of a call's argument text."""

    index: int
    fragment: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """What a text block quotes: `citation` in the words of `dialect`, and its web address and title, if it has one."""

    index: int
    citation: Mapping[str, Any]
    dialect: str
    url: str = ""
    title: str = ""
    choice: int = 0


@quick_value
class BlockStop:
    index: int
    choice: int = 0


@quick_value
class Finish:
    """The model is done. `is_certain` is false where the wire can't prove that this was all (raw text).

    `is_inferred`: the upstream ended properly but never said why.
    """

    reason: Reason
    stop_sequence: str | None = None
    raw: str | None = None
    detail: Mapping[str, Any] | None = None
    is_certain: bool = True
    is_inferred: bool = False
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Ping:
    """The upstream is alive; means nothing else."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke; nothing follows."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class End:
    """After `Finish`: the upstream's terminator was seen, or its body ended. No more usage will come."""


EdgeEvent = BlockStart | BlockStop | ReasoningSignature | Citation | Finish | End | Ping | Failed
"""What comes a few times in an answer, at the edges of its blocks and its own."""

Event = Start | TextDelta | RefusalDelta | ReasoningDelta | ArgsDelta | Usage | EdgeEvent

CONTENT: frozenset[type] = frozenset({BlockStart, TextDelta, RefusalDelta, ReasoningDelta, ArgsDelta})
"""The events that commit a relay: what a user would see of the answer. Lifecycle and usage do not count."""
