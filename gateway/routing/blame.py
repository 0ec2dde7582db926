"""What does the way a try ended say about its target? A table over kinds of errors.

What the request itself caused never counts: a client whose prompts are refused must not take a target away from all
others. Nor does what we did, nor a client that left, nor the end of a request's own time.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from gateway.errors import Kind, OutOfTime, Overloaded, Unfit, UpstreamError
from gateway.neutral.quick_value import quick_value


class Verdict(Enum):
    ANSWERED = auto()
    """The first content came, or a whole answer."""
    FAILED = auto()
    """It never came, by the target's fault."""
    BROKE = auto()
    """It came, and broke off by the target's fault."""
    ASKED_TO_WAIT = auto()
    """The upstream said how long it wants to be left alone."""
    NOTHING = auto()
    """Whatever happened, it is no news of the target."""


@quick_value
class Outcome:
    """What a try came to. `wait_s`: how long the upstream asked to be left alone."""

    verdict: Verdict
    wait_s: float = 0.0


BLAMES: Final[dict[Kind, bool]] = {
    Kind.INVALID_REQUEST: False,  # content filters among them
    Kind.UNSUPPORTED: False,
    Kind.CONTEXT_LENGTH: False,
    Kind.AUTH: True,  # our credential: until an operator mends it, no request can be served there
    Kind.BILLING: True,
    Kind.PERMISSION: True,
    Kind.NOT_FOUND: False,  # behind a pattern the name is the client's
    Kind.METHOD_NOT_ALLOWED: False,
    Kind.CONFLICT: False,
    Kind.TOO_LARGE: False,
    Kind.RATE_LIMIT: True,
    Kind.OVERLOADED: True,
    Kind.TIMEOUT: True,
    Kind.UPSTREAM: True,
    Kind.INTERNAL: True,
}
"""Whether an upstream's error of this kind counts against the target."""


def outcome(error: BaseException, *, is_answered: bool) -> Outcome:
    """What a try that ended in `error` says. `is_answered`: content of it had come before."""
    if not isinstance(error, UpstreamError) or isinstance(error, Unfit | OutOfTime) or not BLAMES[error.kind]:
        return Outcome(Verdict.NOTHING)
    if isinstance(error, Overloaded) and error.retry_after_s:
        return Outcome(Verdict.ASKED_TO_WAIT, error.retry_after_s)
    return Outcome(Verdict.BROKE if is_answered else Verdict.FAILED)
