"""The errors of the gateway, by whose fault they are.

    GatewayError                kind · message · param · retry_after_s
    ├── ClientError             the request is at fault
    │   └── BadRequest · Unsupported · BadKey · NotAllowed · NoRoute · WrongMethod · TooLarge · TooMany ·
    │       TooSlowToSend
    ├── UpstreamError           the upstream is at fault; before the commit point, try the next target
    │   └── Unreachable · Overloaded · Denied · Refused · Malformed · Unfit · Truncated · TooSlow · OutOfTime
    ├── NoRoom                  nobody is: the gateway's own limit of calls at a time is reached
    └── InternalError           we are at fault
        └── ShuttingDown

A kind is what a client is told, in the words of its own dialect (`protocol/errors.json`); the class says whose
fault it was and whether another target may do better. Messages never hold keys or prompt text.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What went wrong, in no dialect; each dialect has a table from here to its status, type and code."""

    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED = "unsupported"
    CONTEXT_LENGTH = "context_length"
    AUTH = "auth"
    BILLING = "billing"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


# What an upstream's status says when its body says nothing more (`errors.json`, decode_status_default).
KIND_OF_STATUS: dict[int, Kind] = {
    400: Kind.INVALID_REQUEST,
    401: Kind.AUTH,
    402: Kind.BILLING,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    405: Kind.INVALID_REQUEST,
    408: Kind.TIMEOUT,
    409: Kind.CONFLICT,
    413: Kind.TOO_LARGE,
    415: Kind.INVALID_REQUEST,
    422: Kind.INVALID_REQUEST,
    429: Kind.RATE_LIMIT,
    499: Kind.UPSTREAM,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
    529: Kind.OVERLOADED,
}


class GatewayError(Exception):
    """Anything a client may be told. Two errors that tell the same are equal."""

    kind: Kind = Kind.INTERNAL
    default_kind: ClassVar[Kind] = Kind.INTERNAL
    default_status: ClassVar[int | None] = None
    is_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        kind: Kind | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`param` is the client's wire path; `status` overrides the dialect's own for the kind (414, 415, 431 …).

        `headers`: what the answer to the client says beside its body, of the upstream's limits.
        """
        super().__init__(message)
        self.message = message
        self.kind = kind or self.default_kind
        self.param = param
        self.status = status or self.default_status
        self.retry_after_s = retry_after_s
        self.headers: Mapping[str, str] = headers or {}

    @property
    def word(self) -> str:
        """What went wrong, for operators: the kind, or the class where that says more."""
        is_vague = self.kind is Kind.UPSTREAM and type(self) is not UpstreamError
        return type(self).__name__.lower() if is_vague else str(self.kind)

    def _told(self) -> tuple[object, ...]:
        return (type(self), self.kind, self.message, self.param, self.status, self.retry_after_s)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GatewayError) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind}: {self.message})"


class ClientError(GatewayError):
    """The request is at fault: another target would not help."""

    default_kind = Kind.INVALID_REQUEST


class BadRequest(ClientError):
    """The body, a field of it or its framing is not what the dialect says."""


class Unsupported(ClientError):
    """Well-formed, but the gateway or the chosen upstream can't carry it, and dropping it would change its meaning."""

    default_kind = Kind.UNSUPPORTED


class BadKey(ClientError):
    """No key, or none we know."""

    default_kind = Kind.AUTH


class NotAllowed(ClientError):
    """The key is known, and not for this."""

    default_kind = Kind.PERMISSION


class NoRoute(ClientError):
    """A model or a path that nobody configured."""

    default_kind = Kind.NOT_FOUND


class WrongMethod(ClientError):
    """The path exists, not for this method."""

    default_kind = Kind.METHOD_NOT_ALLOWED


class TooLarge(ClientError):
    """The body is over the limit."""

    default_kind = Kind.TOO_LARGE


class TooMany(ClientError):
    """The client is over one of its limits."""

    default_kind = Kind.RATE_LIMIT


class TooSlowToSend(ClientError):
    """The client did not finish sending in time."""

    default_kind = Kind.TIMEOUT
    default_status = 408


class UpstreamError(GatewayError):
    """The upstream is at fault. Before the commit point the next target may be tried if `is_retryable`."""

    default_kind = Kind.UPSTREAM
    is_retryable = True


class Unreachable(UpstreamError):
    """No connection, or one that ended before the response head."""


class Overloaded(UpstreamError):
    """The upstream says: not now."""

    default_kind = Kind.OVERLOADED


class Denied(UpstreamError):
    """The upstream would not serve us at all: our credential, our credit, a model it doesn't have there."""


class Refused(UpstreamError):
    """The upstream understood and said no: its reason is the client's to mend, so another target isn't asked."""

    default_kind = Kind.INVALID_REQUEST
    is_retryable = False


class Malformed(UpstreamError):
    """The upstream's bytes do not follow its dialect."""


class Unfit(Malformed):
    """The upstream's answer is sound, but this client can't be given it: its dialect or its HTTP has no way to."""


class Truncated(UpstreamError):
    """The upstream's answer ended before its dialect counts it as complete."""


class TooSlow(UpstreamError):
    """The upstream went over a deadline."""

    default_kind = Kind.TIMEOUT


class OutOfTime(TooSlow):
    """The time of the whole request is over, whoever used it up."""


class NoRoom(GatewayError):
    """As many calls of an upstream are under way as it is given at a time, and no more may wait. Nothing was sent, and
    another target may have room."""

    default_kind = Kind.OVERLOADED
    is_retryable = True


class InternalError(GatewayError):
    """We are at fault."""


class ShuttingDown(InternalError):
    """This process ends; another one will answer."""

    default_kind = Kind.OVERLOADED
    default_status = 503


def untraced(error: BaseException) -> None:
    """Lets go of the frames that an error, and what caused it, came through.

    They keep the whole request, and refer to the error themselves: all of it would wait for the garbage collector.
    """
    chain = [error]
    for each in chain:
        each.__traceback__ = None
        behind = (each.__cause__, each.__context__)
        chain += [one for one in behind if one is not None and all(one is not known for known in chain)]


_CLASS_OF_KIND: dict[Kind, type[UpstreamError]] = {
    Kind.RATE_LIMIT: Overloaded,
    Kind.OVERLOADED: Overloaded,
    Kind.TIMEOUT: TooSlow,
    Kind.AUTH: Denied,
    Kind.BILLING: Denied,
    Kind.PERMISSION: Denied,
    Kind.NOT_FOUND: Denied,
    Kind.INVALID_REQUEST: Refused,
    Kind.CONTEXT_LENGTH: Refused,
    Kind.UNSUPPORTED: Refused,
    Kind.TOO_LARGE: Refused,
    Kind.CONFLICT: Refused,
}


def upstream_error(kind: Kind, message: str, retry_after_s: float | None = None) -> UpstreamError:
    """The error of the class that a kind, told by an upstream, belongs to."""
    return _CLASS_OF_KIND.get(kind, UpstreamError)(message, kind=kind, retry_after_s=retry_after_s)
