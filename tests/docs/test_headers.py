"""The page of headers says what is read, written and passed on, and nothing else: by the code, and on the wire."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from gateway.dialects import DIALECTS
from tests.docs.reference import ROOT, headers
from tests.faults.callers import ask
from tests.faults.harness import PAIRS, Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import hostile_upstream
from tests.faults.voices import TEXT, answers, says, sized
from tests.wire.test_trace_context import PARENT

NAME = re.compile(r"[a-z]+(-[a-z0-9]+)+-?")
PLAIN = {"accept", "allow", "authorization", "cookie", "expect", "location", "traceparent", "tracestate", "upgrade"}
"""Headers of one word, which mean nothing else in the code."""
OTHER_WORDS = {
    "anthropic-claude-v1": "a format of sealed reasoning",
    "anthropic-legacy": "a profile",
    "api-key": "a way to send a credential",
    "date-time": "a format of JSON Schema",
    "exit-codes": "what `triglot help` tells of",
    "input-tokens": "what Anthropic's limits count",
    "latin-1": "an encoding",
    "no-cache": "a value",
    "openai-encrypted": "a format of sealed reasoning",
    "openrouter-details": "a format of sealed reasoning",
    "output-tokens": "what Anthropic's limits count",
    "triglot-metrics-": "a directory",
    "utf-8": "an encoding",
    "utf-8-sig": "an encoding",
}
"""What looks like a header in the code and is none."""
OF_THE_SERVER = {"connection", "date", "expect", "host"}
"""What the layers below speak of: uvicorn, its parser, our own transport."""
PASSED_ON = {begin for dialect in DIALECTS.values() for begin in (*dialect.passed_on, *dialect.limits.names.values())}
FORWARDED = ("anthropic-beta: x", f"traceparent: {PARENT}", "tracestate: a=1")
ALL = {*headers.READ, *headers.WRITTEN, *headers.SENT, *headers.HEARD}


def literals() -> Iterator[str]:
    """Every text in the code of the gateway that might name a header."""
    for path in (ROOT / "gateway").rglob("*.py"):
        if "bench" not in path.parts:
            yield from (text for text in map(plain, ast.walk(ast.parse(path.read_text(encoding="utf-8")))) if text)


def plain(node: ast.AST) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.lower() if isinstance(text, str) else ""


def test_every_header_in_the_code_stands_on_the_page() -> None:
    named = {text for text in literals() if NAME.fullmatch(text) or text in PLAIN}
    assert named & set(OTHER_WORDS) == set(OTHER_WORDS), "words that are no headers, and aren't in the code any more"
    unknown = {name for name in named - set(OTHER_WORDS) - ALL if not name.startswith(tuple(PASSED_ON))}
    assert not unknown, (
        "tell of them in tests/docs/reference/headers.py, or say above that they are none; then `make docs`"
    )


def test_every_header_on_the_page_is_in_the_code() -> None:
    written = "\n".join(literals())
    assert {name for name in ALL - OF_THE_SERVER if name not in written} == set()


def test_every_beginning_that_is_passed_on_is_shown() -> None:
    page = headers.page()
    assert all(f"`{begin.rstrip('-')}" in page for begin in PASSED_ON)
    assert set(headers.HEARD) >= {"retry-after", "x-should-retry"}


@pytest.fixture(scope="module")
def seen() -> tuple[set[str], set[str]]:
    """The names of all headers that upstreams and clients got, over all pairs of dialects and forms of an answer."""
    sent, told = set[str](), set[str]()
    with hostile_upstream() as upstream, gateway_in_thread(configuration(upstream.port)) as gateway:
        for caller, voice in PAIRS:
            whole, refusal = says(sized(voice.whole(TEXT))), says(sized(b"{}", 429))
            for behaviour, stream in ((answers(voice), True), (whole, False), (refusal, False)):
                upstream.reset()
                upstream.perform(behaviour)
                reply = ask(gateway.port, caller.request(voice.upstream, *FORWARDED, stream=stream))
                told |= reply.names
                sent |= {name for request in upstream.requests for name, _ in request.headers}
        told |= told_of_mistakes(gateway)
    return sent, told


def told_of_mistakes(gateway: Gateway) -> set[str]:
    """Of a path that isn't there, of a wrong method, of no HTTP at all."""
    end = b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    asked = (b"GET /x" + end, b"GET /v1/messages" + end, b"?\r\n\r\n")
    return {name for request in asked for name in ask(gateway.port, request).names}


def test_nothing_is_seen_on_the_wire_that_is_not_on_the_page(seen: tuple[set[str], set[str]]) -> None:
    sent, told = seen
    assert sent <= set(headers.SENT)
    assert {name for name in told if not name.startswith(tuple(PASSED_ON))} <= set(headers.WRITTEN)


def test_what_is_on_the_page_of_any_call_is_seen_on_the_wire(seen: tuple[set[str], set[str]]) -> None:
    """Some need a request of their own, which other tests make: raw text that proves nothing, fields that are lost."""
    sent, told = seen
    assert sent == set(headers.SENT)
    rare = {"x-gateway-completeness", "x-gateway-usage", "x-gateway-dropped", "x-gateway-adapted", "retry-after"}
    rare |= {"www-authenticate"}  # where there are keys
    assert set(headers.WRITTEN) - told <= rare
