"""Every kind of error: what it means, and what each client sees of it, before and after the commit point."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from gateway import errors
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Stamp
from gateway.errors import GatewayError, Kind, Truncated
from gateway.neutral.events import BlockKind, BlockStart, Failed, Start, TextDelta
from gateway.neutral.request import Request
from tests.docs.reference.markdown import block, code, table
from tests.docs.reference.markdown import page as joined

MEANINGS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.INVALID_REQUEST: ("The request is not what the dialect says.", "mend the field that the message names"),
    Kind.UNSUPPORTED: (
        "The request is fine, but no target can carry all of it, or it needs state that the gateway does not keep.",
        "leave the named field out, or take a route to an upstream that has it",
    ),
    Kind.CONTEXT_LENGTH: ("The prompt is too long for every target.", "shorten it; agents compact on this error"),
    Kind.AUTH: ("No key, or none that is known here.", "send a key of this gateway"),
    Kind.BILLING: ("The upstream wants to be paid first.", "the operator looks after the credit"),
    Kind.PERMISSION: ("The key, or the gateway's own, may not do this.", "ask for another key, or another route"),
    Kind.NOT_FOUND: ("No such model or path; the message names the nearest one.", "look at `/v1/models`"),
    Kind.METHOD_NOT_ALLOWED: ("The path exists, not for this method.", "send the method that `allow` names"),
    Kind.CONFLICT: ("The upstream says that the request collides with another one.", "ask again"),
    Kind.TOO_LARGE: ("The body is over `max_body`, or over what the upstream takes.", "send less"),
    Kind.RATE_LIMIT: ("Over a limit: the client's own, or the upstream's.", "wait as long as `retry-after` says"),
    Kind.OVERLOADED: (
        "The upstream, or the gateway, has no room now, or this process ends.",
        "wait as long as `retry-after` says",
    ),
    Kind.TIMEOUT: ("A deadline went by: the upstream's or, with 408, the client's.", "ask again, or raise `timeouts`"),
    Kind.UPSTREAM: ("The upstream broke: unreachable, cut off, or not in its dialect.", "ask again"),
    Kind.INTERNAL: ("A defect of the gateway; its log has the details under the request id.", "report it"),
}
"""What each kind means, and what helps."""
_INTRODUCTION: Final = """\
# Errors

Printed from the code; `make docs` writes this page. An error is told in the words of the client's own dialect,
whoever's fault it is. It never holds a key or text of a prompt. The log line of the request has the kind under `error`.

[What is tried before a client hears of an error](../how-it-works.md#what-is-tried-after-a-failure), and
[what each client sees of each fault](../faults.md).
"""
_KINDS: Final = """\
## Kinds

The status is what each client gets before the answer has begun. A refusal may have a more exact one: 408 (the client
stopped sending), 415 (a packed body), 431 (the head is too large).
"""
_SPELLED: Final = """\
## As each client sees them

The body of a kind in each dialect, and the end of a stream that breaks. `MESSAGE` says what was seen and what was
expected.
"""
_CLASSES: Final = """\
## Whose fault

In the code an error is a class, which decides what is tried next. Where a kind would say too little (`upstream`), the
tries in a log line have the class as their `end`: `unreachable`, `malformed`, `truncated` …
"""
_CUT: Final = """\
A stream of raw text that breaks is cut: the connection ends without its last chunk, which every HTTP client tells as an
error. Where it answers in OpenAI's form, it ends as `openai` does.
"""
_STAMP: Final = Stamp("0123456789abcdef01234567", 1700000000)
_MESSAGE: Final = "MESSAGE"


def page() -> str:
    """The page, in Markdown."""
    kinds = table(("kind", *DIALECTS, "means", "what helps"), _kinds())
    return joined(_INTRODUCTION, _KINDS, kinds, _SPELLED, *_dialects(), _CLASSES, table(_CLASS_HEAD, _classes()))


def _kinds() -> Iterator[tuple[str, ...]]:
    for kind in Kind:
        statuses = (str(_told(dialect, kind)[0]) for dialect in DIALECTS.values())
        yield (code(kind), *statuses, *MEANINGS[kind])


def _told(dialect: Dialect, kind: Kind) -> tuple[int, str]:
    status, body = dialect.dump_error(GatewayError(_MESSAGE, kind=kind), "")
    return status, orjson.dumps(body).decode()


def _dialects() -> Iterator[str]:
    for name, dialect in DIALECTS.items():
        yield joined(f"### {name}\n", table(("kind", "status and body"), _bodies(dialect)), _broken(dialect))


def _bodies(dialect: Dialect) -> Iterator[tuple[str, str]]:
    for kind in Kind:
        status, body = _told(dialect, kind)
        yield code(kind), f"{status} {code(body)}"


def broken_end(dialect: Dialect) -> bytes:
    """What ends a stream of text of which the upstream's connection broke; empty where the wire has no word for it."""
    request = Request("model", (), stream=True, form="raw")
    encoder = dialect.encoder(request, _STAMP)
    encoder.encode([Start(), BlockStart(0, BlockKind.TEXT), TextDelta(0, "word")])
    return encoder.encode([Failed(Truncated(_MESSAGE))])


def _broken(dialect: Dialect) -> str:
    end = broken_end(dialect)
    if not end:
        return _CUT
    return joined("A stream that breaks ends so, and with nothing behind it:\n", block(end.decode()))


_CLASS_HEAD: Final = ("class", "kind where nothing else is said", "another target may help", "means")


def _classes() -> Iterator[tuple[str, ...]]:
    for each in classes():
        helps = "yes" if each.is_retryable else "no"
        yield code(each.__name__), code(each.default_kind), helps, inspect.getdoc(each) or ""


def classes() -> list[type[GatewayError]]:
    """Every class of error, parents first."""
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GatewayError)]
