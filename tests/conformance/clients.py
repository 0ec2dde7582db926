"""The clients of the grid: what each is called, which dialect it speaks, and the words it has for things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.dialects import DIALECTS
from tests.conformance import chat_client, messages_client, predict_client, responses_client
from tests.conformance.conversation import Heard, Talk
from tests.conformance.node_clients import NodeClients

Perform = Callable[[str, Talk], list[Heard]]

# What the finish reasons are called: an answer, calls of tools.
CHAT_WORDS: Final = ("stop", "tool_calls")
RESPONSES_WORDS: Final = ("completed", "completed")
MESSAGES_WORDS: Final = ("end_turn", "tool_use")
VERCEL_WORDS: Final = ("stop", "tool-calls")

# The class that each status is raised as: 400, 429, 503 (to Anthropic's clients 529).
OPENAI_ERRORS: Final = ("BadRequestError", "RateLimitError", "InternalServerError")
ANTHROPIC_ERRORS: Final = ("BadRequestError", "RateLimitError", "OverloadedError")
VERCEL_ERRORS: Final = ("APICallError",) * 3
TRUSS_ERRORS: Final = ("TrussError",) * 3


@dataclass(frozen=True, slots=True)
class Client:
    """One column of code that people write against an API.

    `dialect` is what it speaks to the gateway, `words` its finish reasons (None where it hears none), `errors` the
    classes of 400, 429 and 503, `uncounted` the token counts that it does not tell its caller.
    """

    name: str
    title: str
    dialect: str
    words: tuple[str, str] | None
    errors: tuple[str, str, str]
    uncounted: tuple[str, ...] = ()


_ALL: Final = (
    Client("python.chat", "openai for Python, `chat.completions`", "openai", CHAT_WORDS, OPENAI_ERRORS),
    Client("python.responses", "openai for Python, `responses`", "responses", RESPONSES_WORDS, OPENAI_ERRORS),
    Client("python.anthropic", "anthropic for Python", "anthropic", MESSAGES_WORDS, ANTHROPIC_ERRORS),
    Client("openai.chat", "openai for Node, `chat.completions`", "openai", CHAT_WORDS, OPENAI_ERRORS),
    Client("openai.responses", "openai for Node, `responses`", "responses", RESPONSES_WORDS, OPENAI_ERRORS),
    Client("anthropic", "@anthropic-ai/sdk", "anthropic", MESSAGES_WORDS, ANTHROPIC_ERRORS),
    Client("ai/openai", "ai with @ai-sdk/openai (responses)", "responses", VERCEL_WORDS, VERCEL_ERRORS),
    Client("ai/openai.chat", "ai with @ai-sdk/openai, `.chat`", "openai", VERCEL_WORDS, VERCEL_ERRORS),
    Client("ai/anthropic", "ai with @ai-sdk/anthropic", "anthropic", VERCEL_WORDS, VERCEL_ERRORS),
    Client(
        "ai/openai-compatible", "ai with @ai-sdk/openai-compatible", "openai", VERCEL_WORDS, VERCEL_ERRORS, ("written",)
    ),
    Client("predict.messages", "requests, Truss predict with `messages`", "truss", CHAT_WORDS, TRUSS_ERRORS),
    Client("fetch.messages", "fetch, Truss predict with `messages`", "truss", CHAT_WORDS, TRUSS_ERRORS),
    Client("predict.prompt", "requests, Truss predict with a `prompt`", "prompt", None, TRUSS_ERRORS),
    Client("fetch.prompt", "fetch, Truss predict with a `prompt`", "prompt", None, TRUSS_ERRORS),
)

# Those whose dialect the gateway speaks.
CLIENTS: Final = tuple(client for client in _ALL if client.dialect in (*DIALECTS, "prompt"))

_PYTHON: Final[Mapping[str, Perform]] = {
    "python.chat": chat_client.perform,
    "python.responses": responses_client.perform,
    "python.anthropic": messages_client.perform,
    "predict.messages": predict_client.perform_messages,
    "predict.prompt": predict_client.perform_prompt,
}


def performer(client: Client, node: NodeClients) -> Perform:
    """How a client has a conversation."""
    return _PYTHON.get(client.name) or partial(node.perform, client.name)
