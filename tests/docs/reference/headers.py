"""Every header that the gateway reads, writes or passes on.

What stands here is compared with the code and with what is seen on the wire (`tests/docs/test_headers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.dialects import DIALECTS
from tests.docs.reference.markdown import code, table
from tests.docs.reference.markdown import page as joined

READ: Final[Mapping[str, str]] = {
    "x-gateway-strict": "`1`, `true` or `yes`: nothing may be dropped, the request is refused instead; `0`, `false`, "
    "`no`: as the route has it. Anything else is refused.",
    "authorization": "The client's key, as `Bearer KEY` or `Api-Key KEY`. Never sent to an upstream; what is no key "
    "of the gateway's is sent to one that has `key: client`. Clients take turns by it where an "
    "upstream has `max_in_flight`.",
    "x-api-key": "The same, as Anthropic's clients send it. On `/v1/models` it also tells a client of Anthropic's API.",
    "x-forwarded-for": "Its presence, or that of `x-real-ip`, `forwarded` or `via`: the client of `/metrics` is not on "
    "this machine, though the proxy is that speaks for it, so that a key is needed.",
    "x-real-ip": "The same.",
    "forwarded": "The same.",
    "via": "The same.",
    "anthropic-version": "Forwarded, with the body it belongs to, to upstreams of Anthropic's dialect; also tells such "
    "a client on `/v1/models`.",
    "anthropic-beta": "Forwarded, with the body it belongs to, to upstreams of Anthropic's dialect.",
    "accept": "On Truss paths: `text/event-stream` asks for events, `application/json` alone for a whole answer.",
    "user-agent": "On Truss paths: an OpenAI client gets a stream although it accepts JSON, as from the real server.",
    "content-type": "On Truss paths: `application/octet-stream` is refused; otherwise every body is read as JSON.",
    "content-encoding": "Anything but `identity` is refused with 415: request bodies are not unpacked.",
    "content-length": "One above `max_body` is refused with 413 before any of the body is read.",
    "transfer-encoding": "`chunked`, once, in HTTP/1.1, and without `content-length`; anything else is refused.",
    "host": "Exactly one. `model-ID.` in front of one of `model_hosts` names the model of a Truss call.",
    "upgrade": "Taken no notice of; the request is answered in HTTP/1.1.",
    "connection": "`close` ends the connection behind the answer.",
    "traceparent": "W3C Trace Context. A valid one goes on to every upstream, and the log line has its "
    "`trace_id`; one that isn't valid, or is given twice, goes nowhere.",
    "tracestate": "Goes on with a valid `traceparent`, if it is valid itself.",
    "expect": "`100-continue` is answered once the body is wanted.",
}
"""Of a client's request. Further ones are read where a route's `balance` is `{sticky: {header: NAME}}`."""
WRITTEN: Final[Mapping[str, str]] = {
    "x-gateway-request-id": "The id of the request, which its log line has too.",
    "x-request-id": "The same, as clients of OpenAI's and Truss' APIs look for it.",
    "request-id": "The same, as clients of Anthropic's API look for it.",
    "x-gateway-route": "The route, as configured: a pattern's own name.",
    "x-gateway-upstream": "The upstream that answered, or the last one that was tried.",
    "x-gateway-attempts": "Calls that were made for this request.",
    "x-gateway-dropped": "Fields of the request that the upstream has no word for, by the client's own names. "
    "[What is lost where](../translation.md).",
    "x-gateway-adapted": "What was changed, and how, as `max_tokens=default`; [the words]"
    "(../translation.md#what-x-gateway-adapted-says).",
    "x-gateway-upstream-id": "The upstream's own id of a streamed answer.",
    "x-gateway-completeness": "`unverifiable`: the upstream's wire (raw text) can't prove that the answer is whole.",
    "x-gateway-usage": "`estimated` or `unknown`: no upstream counted the tokens (`estimate_usage`).",
    "content-type": "As the client's dialect has it.",
    "content-length": "Of whole answers and errors.",
    "transfer-encoding": "`chunked`, for streams to HTTP/1.1 clients. A stream without its last chunk was cut.",
    "cache-control": "`no-cache`, of streams.",
    "x-accel-buffering": "`no`, of streams: nginx passes them on as they come.",
    "retry-after": "Seconds, of errors that pass: 429, 503, 529.",
    "www-authenticate": "`Bearer`, of a 401.",
    "allow": "Of a 405: the methods that the path takes.",
    "connection": "`close`, where the connection ends behind the answer: draining, a refused head, HTTP/1.0.",
}
"""Of the answer to a client."""
SENT: Final[Mapping[str, str]] = {
    "authorization": "The upstream's `key`, as its `auth` says: `Bearer …` or `Api-Key …`.",
    "x-api-key": "The upstream's `key`, where `auth` is `x-api-key`.",
    "accept": "JSON or an event stream; what a Truss server needs to stream.",
    "accept-encoding": "`identity`: compressed streams are held back by what compresses them.",
    "content-type": "`application/json`.",
    "content-length": "Of the body, which is always sent whole.",
    "user-agent": "`triglot`.",
    "host": "Of the upstream's `url`.",
    "x-request-id": "The id of the request, as in its log line; with `-2` for its second call, and so on.",
    "traceparent": "The client's own, if it is valid. Of a version above 00 only what 00 has.",
    "tracestate": "The client's own, if both are valid; several fields as one.",
    "anthropic-version": "The client's own, if its body is forwarded, else the option `version`.",
    "anthropic-beta": "The client's own, if its body is forwarded.",
}
"""Of a call to an upstream. Nothing else of a client's request is ever sent."""
HEARD: Final[Mapping[str, str]] = {
    "content-type": "Whether the answer is a stream, whole, or no answer at all but a page.",
    "content-length": "Whether the end of the answer is proved.",
    "transfer-encoding": "The same: `chunked` proves it by the last chunk.",
    "content-encoding": "Anything but `identity` is refused as malformed.",
    "retry-after": "When to ask again: seconds, or a date beside `date`. [How it is heeded]"
    "(../how-it-works.md#what-is-tried-after-a-failure).",
    "retry-after-ms": "The same in milliseconds; comes first.",
    "date": "The upstream's clock, for a `retry-after` that is a date.",
    "x-should-retry": "`false`: this upstream is not asked twice.",
    "x-baseten-error-code": "Baseten's: whether a 404 is the caller's fault.",
    "x-baseten-error-source": "Baseten's: whether a 500 is the model's own.",
    "connection": "Whether the connection can be used again.",
}
"""Of an upstream's answer."""
_INTRODUCTION: Final = """\
# Headers

All that the gateway reads, writes and passes on; what isn't here is neither read nor passed on. Names are shown in
lower case, as they are sent; HTTP doesn't care. A test compares this page with the code and with what is seen on
the wire.
"""


def page() -> str:
    """The page, in Markdown."""
    return joined(
        _INTRODUCTION,
        _section(
            "Of a client's request",
            "Further ones are read where a route says `balance: {sticky: {header: NAME}}`.",
            READ,
        ),
        _section("Of the answer", "Errors have them too, as far as they are known by then.", WRITTEN),
        "## Passed on from an upstream\n\n"
        "Of an upstream of the client's own dialect, headers that begin so. Of another one, its limits are spelled as "
        "the client's API spells them, and what that has no word for is left out. The `requests_per_minute` of a "
        "client's key are told in the same headers, instead of an upstream's count of requests.\n",
        table(("dialect", "passed on", "limits are spelled"), passed_on()),
        _section("Of a call to an upstream", "Nothing else of a client's request is ever sent.", SENT),
        _section("Read of an upstream's answer", "", HEARD),
    )


def _section(title: str, text: str, rows: Mapping[str, str]) -> str:
    parts = (f"## {title}\n", *([f"{text}\n"] if text else []))
    return joined(*parts, table(("header", "says"), ((code(name), says) for name, says in rows.items())))


def passed_on() -> Iterator[tuple[str, str, str]]:
    """For each dialect: how the headers begin that are passed on, and how it spells limits."""
    for name, dialect in DIALECTS.items():
        begin = ", ".join(code(f"{each}…" if each.endswith("-") else each) for each in dialect.passed_on)
        yield name, begin, ", ".join(map(code, dialect.limits.names.values()))
