"""Client requests in each dialect, parsed and rendered."""

from __future__ import annotations

from typing import Any

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound, Outbound
from gateway.neutral.request import Request

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "Hi"}
WEATHER: Json = {"type": "object", "properties": {"city": {"type": "string"}}}


def chat(**fields: Any) -> Json:
    return {"model": "demo", "messages": [USER]} | fields


def message(**fields: Any) -> Json:
    return {"model": "demo", "max_tokens": 64, "messages": [USER]} | fields


def predict(**fields: Any) -> Json:
    return {"prompt": "Hi"} | fields


def response(**fields: Any) -> Json:
    return {"model": "demo", "input": "Hi"} | fields


BODIES = {"openai": chat, "anthropic": message, "responses": response, "truss": predict}


def chat_tool(name: str = "get_weather", **fields: Any) -> Json:
    return {"type": "function", "function": {"name": name, "description": "Weather", "parameters": WEATHER} | fields}


def message_tool(name: str = "get_weather", **fields: Any) -> Json:
    return {"name": name, "description": "Weather", "input_schema": WEATHER} | fields


def response_tool(name: str = "get_weather", **fields: Any) -> Json:
    return {"type": "function", "name": name, "description": "Weather", "parameters": WEATHER} | fields


def chat_call(id_: str, name: str, arguments: str) -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def parse(client: str, body: Json, *, path: Json | None = None, headers: Json | None = None) -> Request:
    return DIALECTS[client].parse(Inbound(body, path or {}, headers or {}))


def render(request: Request, upstream: str, **options: Any) -> Outbound:
    dialect = DIALECTS[upstream]
    return dialect.render(request, "theirs", dialect.options(**options))


def carried(client: str, body: Json, upstream: str, **options: Any) -> Outbound:
    """What an upstream is asked for a client's body."""
    return render(parse(client, body), upstream, **options)
