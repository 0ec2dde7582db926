"""An Anthropic client's body on its way to an Anthropic upstream: as it came, but for what must not go there."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound, Outbound
from gateway.dialects.sealing import Sealer
from gateway.errors import Unsupported
from tests.dialects.requests import USER, Json, message, message_tool

SEALER = Sealer(b"secret")
CALL: Json = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
RESULT: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}


def forwarded(body: Json, *, is_strict: bool = False, **headers: str) -> Outbound:
    dialect = DIALECTS["anthropic"]
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = replace(dialect.parse(Inbound(body, headers=sent, sealer=SEALER)), is_strict=is_strict)
    return dialect.forward(body, request, "theirs", dialect.options())


def thought(signature: str) -> Json:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def said(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def test_the_clients_own_thinking_is_forwarded_as_it_is() -> None:
    """Pitfall 88: also with signatures we know nothing of, and none."""
    history = [USER, said(thought("S=="), {"type": "redacted_thinking", "data": "R=="}, thought("")), USER]
    body = message(messages=history)
    outbound = forwarded(body)
    assert outbound.body == body | {"model": "theirs"}
    assert outbound.body["messages"] is history
    assert outbound.adapted == ()


def test_thinking_of_other_servers_is_taken_out() -> None:
    """Pitfall 87: a client that another dialect's server answered a turn ago; the loop goes on without thinking."""
    token = SEALER.seal("vllm")
    history = [USER, said(thought(token), {"type": "text", "text": "A"}, {"type": "redacted_thinking", "data": token})]
    history += [USER, said(thought(token)), USER, said(thought(token), CALL), RESULT]
    body = message(messages=history, thinking={"type": "adaptive"}, tools=[message_tool("f")])
    before = deepcopy(body)
    outbound = forwarded(body)
    assert outbound.body["messages"] == [
        USER,
        said({"type": "text", "text": "A"}),
        USER,
        USER,
        said(CALL),
        RESULT,
    ]
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert outbound.adapted == ("messages.thinking=foreign", "thinking=disabled_by_history")
    assert body == before


def test_thinking_stays_on_where_nothing_of_the_loop_was_lost() -> None:
    history = [USER, said(thought(SEALER.seal("vllm")), {"type": "text", "text": "A"}), USER]
    history += [said(thought("S=="), CALL), RESULT]
    outbound = forwarded(message(messages=history, thinking={"type": "adaptive"}, tools=[message_tool("f")]))
    assert outbound.body["thinking"] == {"type": "adaptive"}
    assert outbound.body["messages"][3] == said(thought("S=="), CALL)


def test_a_strict_client_hears_that_its_thinking_would_be_taken_out() -> None:
    body = message(messages=[USER, said(thought(SEALER.seal("vllm"))), USER])
    with pytest.raises(Unsupported) as raised:
        forwarded(body, is_strict=True)
    assert raised.value.param == "messages.1.content.0"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({}, {"anthropic-version": "2023-06-01"}),
        ({"anthropic_version": "2026-10-21"}, {"anthropic-version": "2026-10-21"}),
        (
            {"anthropic_beta": "a-2026,b-2026"},
            {"anthropic-version": "2023-06-01", "anthropic-beta": "a-2026,b-2026"},
        ),
        ({"anthropic_beta": "a\r\nx: y"}, {"anthropic-version": "2023-06-01"}),
        ({"user_agent": "x"}, {"anthropic-version": "2023-06-01"}),
    ],
)
def test_the_clients_version_and_betas_say_what_its_body_means(headers: Any, sent: Json) -> None:
    """anthropic-messages.md §1: forwarded on routes of one dialect, of no meaning on others (mapping.md §3.2)."""
    assert forwarded(message(), **headers).headers == sent
