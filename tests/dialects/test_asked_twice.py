"""What does more than ask is never sent to two servers at once."""

from __future__ import annotations

import pytest

from tests.dialects.requests import (
    Json,
    chat,
    chat_tool,
    message,
    message_tool,
    parse,
    predict,
    response,
    response_tool,
)

TWICE: list[tuple[str, Json]] = [
    ("openai", chat()),
    ("openai", chat(store=False, tools=[chat_tool()], seed=7, unheard_of=1)),
    ("anthropic", message(tools=[message_tool()], unheard_of=1)),
    ("responses", response(tools=[response_tool()])),
    ("truss", predict()),
]
ONCE: list[tuple[str, Json]] = [
    ("openai", chat(store=True)),
    ("openai", chat(response_format={"type": "grammar"})),
    ("anthropic", message(tools=[{"type": "web_search_20250305", "name": "web_search"}])),
    ("anthropic", message(mcp_servers=[{"type": "url", "url": "https://tools.example"}])),
    ("anthropic", message(container={"skills": []})),
    ("anthropic", message(container="container_1")),
    ("responses", response(tools=[{"type": "web_search"}])),
    ("responses", response(tools=[{"type": "mcp", "server_label": "x", "server_url": "https://tools.example"}])),
]


@pytest.mark.parametrize(("client", "body"), TWICE, ids=str)
def test_a_question_may_be_asked_twice(client: str, body: Json) -> None:
    """Tools that the client runs itself, too: nothing happens before it does."""
    assert parse(client, body, path={"model": "m"}).may_be_asked_twice


@pytest.mark.parametrize(("client", "body"), ONCE, ids=str)
def test_what_outlives_its_answer_is_asked_once(client: str, body: Json) -> None:
    """Answers to be stored, programs and tools that run at the vendor, state that only one server holds."""
    assert not parse(client, body, path={"model": "m"}).may_be_asked_twice
