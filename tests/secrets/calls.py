"""What clients send: bodies with a secret in each place, whole and broken, and every way to show a credential."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tests.secrets.planted import (
    ARGUMENTS,
    CLIENT_KEY,
    COOKIE,
    IMAGE,
    ODD_KEY,
    OWN_KEY,
    PROMPT,
    QUERY,
    RESULT,
    SYSTEM,
    TOOL,
    UNKNOWN_KEY,
    USER,
    USERINFO,
)

Json = dict[str, Any]

_PNG: Final = b64encode(b"\x89PNG\r\n\x1a\n" + IMAGE.text.encode()).decode()
_DATA_URL: Final = f"data:image/png;base64,{_PNG}"
_SCHEMA: Final = {"type": "object", "properties": {"q": {"type": "string", "description": TOOL.text}}}
_ARGUMENTS: Final = orjson.dumps({"q": ARGUMENTS.text}).decode()
_FUNCTION: Final = {"name": "look", "description": TOOL.text, "parameters": _SCHEMA}
_CALL: Final = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": _ARGUMENTS}}

CHAT: Final[Json] = {
    "messages": [
        {"role": "system", "content": SYSTEM.text},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": PROMPT.text},
                {"type": "image_url", "image_url": {"url": _DATA_URL}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": RESULT.text},
    ],
    "tools": [{"type": "function", "function": _FUNCTION}],
    "user": USER.text,
}
MESSAGES: Final[Json] = {
    "max_tokens": 64,
    "system": SYSTEM.text,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": PROMPT.text},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"q": ARGUMENTS.text}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": RESULT.text}]},
    ],
    "tools": [{"name": "look", "description": TOOL.text, "input_schema": _SCHEMA}],
    "metadata": {"user_id": USER.text},
}
RESPONSES: Final[Json] = {
    "instructions": SYSTEM.text,
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": PROMPT.text},
                {"type": "input_image", "image_url": _DATA_URL, "detail": "auto"},
            ],
        },
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": _ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_1", "output": RESULT.text},
    ],
    "tools": [{"type": "function", **_FUNCTION}],
    "safety_identifier": USER.text,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of client. `path` has `{model}` where the model belongs, else the body names it."""

    name: str
    path: str
    body: Json

    def target(self, model: str) -> str:
        return self.path.replace("{model}", model)

    def content(self, model: str, *, stream: bool = False) -> bytes:
        """A body in which everything is as it should be."""
        named = {} if "{model}" in self.path else {"model": model}
        return orjson.dumps({**named, **self.body, "stream": stream})


KINDS: Final = (
    Kind("openai", "/v1/chat/completions", CHAT),
    Kind("anthropic", "/v1/messages", MESSAGES),
    Kind("responses", "/v1/responses", RESPONSES),
    Kind("truss", "/model-{model}/production/predict", {"prompt": PROMPT.text}),
    Kind("truss-chat", "/model-{model}/production/predict", CHAT),
)

Break = Callable[[bytes], bytes]
_PROMPT_IN_JSON: Final = orjson.dumps(PROMPT.text)[1:-1]
BREAKS: Final[Mapping[str, Break]] = {
    "cut": lambda body: body[: body.index(_PROMPT_IN_JSON) + len(_PROMPT_IN_JSON) - 3],
    "more behind it": lambda body: body + PROMPT.text.encode(),
    "a line end inside a string": lambda body: body.replace(_PROMPT_IN_JSON, PROMPT.text.replace('"', "'").encode()),
    "no UTF-8": lambda body: body.replace(_PROMPT_IN_JSON, _PROMPT_IN_JSON + b"\xff"),
    "a lone surrogate": lambda body: body.replace(_PROMPT_IN_JSON, _PROMPT_IN_JSON + b"\\ud800"),
    "not a number": lambda body: body.replace(b'"stream":', b'"top_p":NaN,"stream":'),
    "a field of the wrong type": lambda body: body.replace(
        b'"%s"' % _PROMPT_IN_JSON, b'{"%s":["%s"]}' % (_PROMPT_IN_JSON, _PROMPT_IN_JSON)
    ),
    "a flag that is a text": lambda body: body.replace(b'"stream":', b'"stream":"%s","x":' % _PROMPT_IN_JSON),
    "deep": lambda body: body.replace(b'"%s"' % _PROMPT_IN_JSON, b"[" * 200 + b'"%s"' % _PROMPT_IN_JSON + b"]" * 200),
    "a list": lambda body: b"[%s]" % body,
    "a text": lambda body: b'"%s"' % _PROMPT_IN_JSON,
    "no JSON at all": lambda body: PROMPT.text.encode(),
    "a form": lambda body: b"key=" + QUERY.text.encode() + b"&prompt=" + PROMPT.text.encode(),
    "nothing": lambda body: b"",
}
"""What may be wrong with a body; all of them still hold a prompt."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A way to show a credential. `query` and `authority` go into the request's target."""

    fields: tuple[bytes, ...] = ()
    query: str = ""
    authority: str = ""


_KEY, _UNKNOWN, _ODD = CLIENT_KEY.text.encode(), UNKNOWN_KEY.text.encode(), ODD_KEY.text.encode()
SHOWN: Final[Mapping[str, Shown]] = {
    "bearer": Shown((b"Authorization: Bearer " + _KEY,)),
    "api-key": Shown((b"Authorization: Api-Key " + _KEY,)),
    "x-api-key": Shown((b"x-api-key: " + _KEY,)),
    "own": Shown((b"Authorization: Bearer " + _KEY, b"x-api-key: " + OWN_KEY.text.encode())),
    "unknown bearer": Shown((b"Authorization: Bearer " + _UNKNOWN,)),
    "unknown x-api-key": Shown((b"x-api-key: " + _UNKNOWN,)),
    "both": Shown((b"Authorization: Bearer " + _KEY, b"x-api-key: " + _UNKNOWN)),
    "twice": Shown((b"Authorization: Bearer " + _KEY, b"Authorization: Bearer " + _UNKNOWN)),
    "basic": Shown((b"Authorization: Basic " + b64encode(b"user:" + _UNKNOWN),)),
    "no scheme": Shown((b"Authorization: " + _UNKNOWN,)),
    "a scheme nobody knows": Shown((b"Authorization: Secret " + _UNKNOWN,)),
    "quotes": Shown((b'Authorization: Bearer "' + _ODD + b'"',)),
    "beyond ASCII": Shown((b"Authorization: Bearer \xff\xfe" + _ODD,)),
    "a tab": Shown((b"x-api-key: " + _ODD.replace(b" ", b"\t"),)),
    "folded": Shown((b"Authorization: Bearer\r\n " + _UNKNOWN,)),
    "a bare line feed": Shown((b"x-api-key: " + _UNKNOWN + b"\nx-more: " + _UNKNOWN,)),
    "a zero": Shown((b"x-api-key: " + _UNKNOWN + b"\0",)),
    "a name with a blank": Shown((b"x-api-key : " + _UNKNOWN,)),
    "no colon": Shown((b"Authorization Bearer " + _UNKNOWN,)),
    "long": Shown((b"Authorization: Bearer " + _UNKNOWN * 4096,)),
    "other fields": Shown(
        (b"api-key: " + _UNKNOWN, b"x-goog-api-key: " + _UNKNOWN, b"proxy-authorization: " + _UNKNOWN)
    ),
    "a cookie": Shown((b"Cookie: session=" + COOKIE.text.encode(),)),
    "a request id": Shown((b"x-request-id: " + _UNKNOWN, b"traceparent: 00-" + _UNKNOWN, b"tracestate: k=" + _UNKNOWN)),
    "a query": Shown((b"Authorization: Bearer " + _KEY,), query=f"?key={QUERY.text}&api_key={QUERY.text}"),
    "an address": Shown((b"Authorization: Bearer " + _KEY,), authority=f"http://user:{USERINFO.text}@gateway"),
}


def request(target: str, body: bytes, shown: Shown = SHOWN["bearer"], method: str = "POST", *fields: bytes) -> bytes:
    """One request, that closes its connection."""
    line = f"{method} {shown.authority}{target}{shown.query} HTTP/1.1".encode()
    length = b"content-length: %d" % len(body)
    head = (line, b"host: gateway", b"connection: close", length, *shown.fields, *fields)
    return b"\r\n".join([*head, b"", b""]) + body


def refused() -> Iterator[tuple[str, bytes]]:
    """Requests that the gateway has something against before it calls anybody."""
    for kind in KINDS:
        body = kind.content("openai:fine")
        for name, broken in BREAKS.items():
            yield f"{kind.name}, {name}", request(kind.target("openai:fine"), broken(body))
        path = kind.target("openai:fine")
        yield f"{kind.name}, no such model", request(kind.target("nobody"), kind.content("nobody"))
        yield f"{kind.name}, packed", request(path, body, SHOWN["bearer"], "POST", b"content-encoding: gzip")
        yield f"{kind.name}, strict", request(path, body, SHOWN["bearer"], "POST", b"x-gateway-strict: " + _ODD)
        yield f"{kind.name}, PUT", request(path, body, SHOWN["a query"], "PUT")
        yield f"{kind.name}, two hosts", request(path, body, SHOWN["bearer"], "POST", b"host: " + _UNKNOWN)
        yield f"{kind.name}, too large", request(path, body[:-1] + b',"x":"' + b"x" * 70_000 + b'"}')
