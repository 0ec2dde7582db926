"""The calls of a benchmark: as a client of each dialect writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from gateway.bench.processes import options
from gateway.dialects.base import Dialect
from gateway.neutral.request import Request, Role, Text, Turn

_TURNS = (Turn(Role.USER, (Text("Write about the ocean, wave by wave, until I can hear it."),)),)


class Address(NamedTuple):
    """Where calls go; their paths begin behind `base`."""

    host: str
    port: int
    base: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as bytes, and where it goes."""

    address: Address
    request: bytes


def read_address(url: str) -> Address:
    """`http://HOST:PORT/BASE`. Raises ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url}: expected http://HOST:PORT, and a path at most")
    return Address(parts.hostname, parts.port or 80, parts.path.rstrip("/"))


def call(dialect: Dialect, address: Address, model: str, tokens: int, *, is_streamed: bool) -> Call:
    """A call for an answer of so many tokens."""
    assert dialect.sample is not None, f"{dialect.name} has no sample, which says where its clients call"
    request = Request(model, _TURNS, max_tokens=tokens, stream=is_streamed)
    body = orjson.dumps(dialect.render(request, model, dialect.options(**options(dialect))).body)
    head = (
        f"POST {address.base}{dialect.sample.path.replace('{model}', model)} HTTP/1.1",
        f"host: {address.host}:{address.port}",
        "content-type: application/json",
        "authorization: Bearer unused",
        f"content-length: {len(body)}",
    )
    return Call(address, "\r\n".join(head).encode() + b"\r\n\r\n" + body)
