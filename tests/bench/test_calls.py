"""The calls of a benchmark, as clients of each dialect write them."""

from __future__ import annotations

import httptools
import orjson
import pytest

from gateway.bench.calls import Address, call, read_address
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Inbound


class Called:
    """A request, as a server reads it."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.is_whole = False
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_call_asks_for_so_many_tokens_where_its_dialect_is_served(dialect: Dialect, is_streamed: bool) -> None:
    made = call(dialect, Address("127.0.0.1", 80, "/base"), "m", 7, is_streamed=is_streamed)
    called = Called(made.request)
    assert called.is_whole
    assert dialect.sample is not None
    assert called.url.decode() == "/base" + dialect.sample.path.replace("{model}", "m")
    request = dialect.parse(Inbound(orjson.loads(called.body)))
    assert (request.max_tokens, request.stream) == (7, is_streamed)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://gateway/under/here/", Address("gateway", 80, "/under/here")),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert read_address(url) == expected


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "https://127.0.0.1", "http://", "http://a/?b=c", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        read_address(url)
