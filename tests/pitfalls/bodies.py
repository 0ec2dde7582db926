"""Client bodies of the smallest kind that shows a pitfall, and what upstreams are asked for them."""

from __future__ import annotations

from typing import Any, Final

from gateway.dialects.base import Outbound
from tests.dialects.requests import USER, carried, chat, chat_call, chat_tool, message, message_tool

Json = dict[str, Any]
PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
DATA_URL: Final = f"data:image/png;base64,{PNG}"
IMAGE_BLOCK: Final[Json] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
IMAGE_PART: Final[Json] = {"type": "image_url", "image_url": {"url": DATA_URL}}


def response(*items: Json, **fields: Any) -> Json:
    """A body of the Responses API."""
    return {"model": "demo", "input": list(items) or [user("Hi")]} | fields


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any = None, **fields: Any) -> Json:
    return {"role": "assistant", "content": content} | fields


def tool(call_id: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def use(id_: str, name: str = "f", **input_: Any) -> Json:
    return {"type": "tool_use", "id": id_, "name": name, "input": input_}


def result(id_: str, content: Any = None, **fields: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id_, "content": content} | fields


def text(value: str, **fields: Any) -> Json:
    return {"type": "text", "text": value} | fields


def talk(*messages: Json, **fields: Any) -> Json:
    """An OpenAI conversation with a tool `f`."""
    return chat(messages=[USER, *messages], tools=[chat_tool("f")], **fields)


def converse(*messages: Json, **fields: Any) -> Json:
    """An Anthropic conversation with a tool `f`."""
    return message(messages=[USER, *messages], tools=[message_tool("f")], **fields)


def calls(*ids: str, name: str = "f", arguments: str = "{}") -> list[Json]:
    return [chat_call(id_, name, arguments) for id_ in ids]


def to_messages(body: Json, **options: Any) -> list[Json]:
    """The messages that an Anthropic upstream gets for an OpenAI client."""
    sent: list[Json] = carried("openai", body, "anthropic", **options).body["messages"]
    return sent


def to_chat(body: Json, **options: Any) -> list[Json]:
    """The messages that an OpenAI upstream gets for an Anthropic client."""
    sent: list[Json] = carried("anthropic", body, "openai", **options).body["messages"]
    return sent


def r_to_chat(body: Json, **options: Any) -> list[Json]:
    """The messages that an OpenAI upstream gets for a client of the Responses API."""
    sent: list[Json] = carried("responses", body, "openai", **options).body["messages"]
    return sent


def sent_to(upstream: str, client: str, body: Json, **options: Any) -> Outbound:
    return carried(client, body, upstream, **options)
