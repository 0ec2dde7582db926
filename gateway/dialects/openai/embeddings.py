"""Embeddings: relayed between client and upstream as they are. The gateway only looks on, for usage and errors."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import orjson

from gateway.dialects.base import Dialect, Inbound, Json, Outbound, Path
from gateway.dialects.openai.completions import passes, relayed
from gateway.dialects.openai.failures import raise_error_in
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.usage import load_usage
from gateway.errors import Malformed
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral import request as rq

PATH: Final = "/v1/embeddings"
ENDING: Final = "/embeddings"
_BASE64: Final = "base64"
_DIMENSIONS: Final = 8
_LARGE: Final = 64 * 1024
"""Bytes of an answer that take half a millisecond to read."""
_EDGE: Final = 1024
"""Bytes at either end in which servers say all but the vectors."""
_USAGE: Final = re.compile(rb'\]\s*,[^\[\]{}]*"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\})[^\[\]{}]*\}\s*\Z')
"""Behind the list: maybe plain fields, usage with at most one object in it, maybe plain fields, the end."""


def beside(chat: Dialect) -> Dialect:
    """This call, as one more of a chat dialect's API."""
    return replace(
        chat,
        paths=(Path(PATH),),
        ending=ENDING,
        parse=parse,
        forward=forward,
        load=load,
        observe=load,
        skim=skim,
        passes=passes,
        simulate=simulate,
        operation="embeddings",
    )


def parse(inbound: Inbound) -> rq.Request:
    """Only what the gateway must know. Inputs may be one or many, texts or lists of token numbers."""
    given = inbound.body.get("input")
    inputs = given if isinstance(given, list) and not _is_tokens(given) else [given]
    parts = tuple(rq.Text(item if isinstance(item, str) else _spelled(item), where="input") for item in inputs)
    return relayed(
        inbound,
        PATH,
        turns=(rq.Turn(rq.Role.USER, parts),),
        form=_BASE64 if inbound.body.get("encoding_format") == _BASE64 else "",
    )


def _is_tokens(given: list[Any]) -> bool:
    return bool(given) and type(given[0]) is int


def _spelled(item: Any) -> str:
    return orjson.dumps(item).decode()


def forward(body: Json, request: rq.Request, model: str, options: Options) -> Outbound:
    """A body as it came, with the upstream's model name."""
    return Outbound({**body, "model": model}, ENDING)


def skim(body: bytes) -> Any:
    """A large answer without its vectors, which take some 70 ms per 10 MB to read and mean nothing to us.

    Its usage stands behind them, so that an answer which was cut has none. Whatever looks unusual is read whole.
    """
    if len(body) < _LARGE or b'"data"' not in body[:_EDGE]:
        return orjson.loads(body)
    usage = _USAGE.search(body, len(body) - _EDGE)
    return {"data": [], "usage": orjson.loads(usage[1])} if usage else orjson.loads(body)


def load(body: Any, options: Options) -> list[pc.Piece]:
    """The usage of an answer. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict):
        raise Malformed("expected a list of embeddings")
    raise_error_in(body)
    if not isinstance(body.get("data"), list):
        raise Malformed("not a list of embeddings: no data")
    usage = body.get("usage")
    try:
        return [ev.Start(), load_usage(usage)] if usage else [ev.Start()]
    except (TypeError, AttributeError) as error:
        raise Malformed(f"not a list of embeddings: {type(error).__name__} in its usage") from error


# -- as the simulator speaks it ------------------------------------------------------------------------------------


def simulate(request: rq.Request) -> Json:
    """Small vectors that are the same for the same text, of length 1, in the format asked for."""
    texts = [part.text for part in request.parts() if isinstance(part, rq.Text)]
    tokens = request.estimate_tokens()
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(_vector(item), request.form)}
            for index, item in enumerate(texts)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(item: str) -> list[float]:
    values = [byte - 127.5 for byte in sha256(item.encode("utf-8", "surrogatepass")).digest()[:_DIMENSIONS]]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def _encoded(vector: list[float], form: str) -> list[float] | str:
    """Base64 holds 32-bit floats, little-endian."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if form == _BASE64 else vector
