"""What an operator decides about translated answers (mapping.md §6.2, §7.1, §7.2), streamed and whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.truss.parsing import FORM_RAW
from gateway.neutral import events as ev
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.request import Request, Wording
from gateway.neutral.response import fold
from tests.dialects.cases import STAMP, asked
from tests.pitfalls.wires import frames

Json = dict[str, Any]

CHAT = ("openai", "truss")
"""Clients that get chat completions: a Truss client that sends `messages` does."""


def asking(client: str, **wording: Any) -> Request:
    form = "messages" if client == "truss" else ""
    return replace(asked(client), form=form, wording=Wording(**wording))


def answer(*told: ev.Event, reason: Reason = Reason.STOP, start: ev.Usage | None = None) -> list[ev.Event]:
    """A thought, a text, then what is told of usage, and the end."""
    return [
        ev.Start(usage=start),
        *(ev.BlockStart(0, BlockKind.REASONING), ev.ReasoningDelta(0, "Well, well."), ev.BlockStop(0)),
        *(ev.BlockStart(1, BlockKind.TEXT), ev.TextDelta(1, "Salt wind"), ev.BlockStop(1)),
        *(*told, ev.Finish(reason), ev.End()),
    ]


def streamed(request: Request, client: str, told: list[ev.Event]) -> bytes:
    """What the client receives, which the guard lets pass to its end."""
    sent = DIALECTS[client].encoder(request, STAMP).encode(told)
    guard = DIALECTS[client].guard(request)
    if guard is not None:
        assert (guard.check(sent), guard.end()) == (None, None)
    return sent


def whole(request: Request, client: str, told: list[ev.Event]) -> Json:
    body: Json = orjson.loads(orjson.dumps(DIALECTS[client].dump(fold(told), request, STAMP)))
    return body


# -- usage that nobody counted ---------------------------------------------------------------------------------------

NOTHING = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def messages_usage(request: Request, told: list[ev.Event]) -> tuple[Json, Json, Json]:
    """Of the stream's start, of its end, and of the whole answer."""
    sent = frames(streamed(request, "anthropic", told))
    return sent[0]["message"]["usage"], sent[-2]["usage"], whole(request, "anthropic", told)["usage"]


def test_messages_that_nobody_counted_say_zero_where_nothing_may_be_estimated() -> None:
    assert messages_usage(asking("anthropic", estimates_usage=False), answer()) == (NOTHING, NOTHING, NOTHING)
    for usage in messages_usage(asking("anthropic"), answer()):
        assert usage["input_tokens"] > 0
    assert messages_usage(asking("anthropic"), answer())[1]["output_tokens"] > 0


def test_what_was_counted_is_told_and_only_the_rest_is_zero() -> None:
    counted = answer(ev.Usage(output=7))
    expected = {**NOTHING, "output_tokens": 7}
    assert messages_usage(asking("anthropic", estimates_usage=False), counted) == (NOTHING, expected, expected)
    begun = answer(ev.Usage(output=7), start=ev.Usage(input=9))
    start, end, _ = messages_usage(asking("anthropic", estimates_usage=False), begun)
    assert (start["input_tokens"], end["input_tokens"]) == (9, 9)


@pytest.mark.parametrize("client", CHAT)
def test_chat_clients_get_no_usage_where_nothing_may_be_estimated(client: str) -> None:
    """Though they asked for it: there is no chunk for it, and all the others say null."""
    request = asking(client, estimates_usage=False)
    sent = frames(streamed(request, client, answer()))
    assert {frame["usage"] for frame in sent} == {None}
    assert all(frame["choices"] for frame in sent)
    assert streamed(request, client, answer()).endswith(b"data: [DONE]\n\n")
    assert "usage" not in whole(request, client, answer())
    assert frames(streamed(asking(client), client, answer()))[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("client", CHAT)
def test_chat_clients_get_the_usage_that_was_counted(client: str) -> None:
    request, told = asking(client, estimates_usage=False), answer(ev.Usage(9, 7))
    last = frames(streamed(request, client, told))[-1]
    assert (last["choices"], last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == ([], 9, 7)
    assert whole(request, client, told)["usage"] == last["usage"]


@pytest.mark.parametrize("estimates", [True, False])
def test_responses_never_hold_an_estimate(estimates: bool) -> None:
    request = asking("responses", estimates_usage=estimates)
    assert frames(streamed(request, "responses", answer()))[-1]["response"]["usage"] is None
    assert whole(request, "responses", answer())["usage"] is None


# -- a full context window -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tells", "word"), [(True, "model_context_window_exceeded"), (False, "max_tokens")])
def test_a_full_context_window_has_a_word_that_old_clients_know(tells: bool, word: str) -> None:
    request, told = asking("anthropic", tells_full_context=tells), answer(reason=Reason.CONTEXT_WINDOW)
    assert frames(streamed(request, "anthropic", told))[-2]["delta"] == {"stop_reason": word, "stop_sequence": None}
    assert whole(request, "anthropic", told)["stop_reason"] == word


@pytest.mark.parametrize(
    ("reason", "word"), [(Reason.LENGTH, "max_tokens"), (Reason.STOP, "end_turn"), (Reason.TOOL_CALLS, "tool_use")]
)
def test_other_reasons_stay_what_they_are(reason: Reason, word: str) -> None:
    request = asking("anthropic", tells_full_context=False)
    assert whole(request, "anthropic", answer(reason=reason))["stop_reason"] == word


# -- the name of reasoning -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CHAT)
@pytest.mark.parametrize(("aliases", "name"), [(False, "reasoning_content"), (True, "reasoning")])
def test_reasoning_goes_under_exactly_one_name(client: str, aliases: bool, name: str) -> None:
    request = asking(client, aliases_reasoning=aliases)
    deltas = [frame["choices"][0]["delta"] for frame in frames(streamed(request, client, answer())) if frame["choices"]]
    found = [{key: delta[key] for key in delta if key.startswith("reasoning")} for delta in deltas]
    assert [each for each in found if each] == [{name: "Well, well."}]
    message = whole(request, client, answer())["choices"][0]["message"]
    assert {key: message[key] for key in message if key.startswith("reasoning")} == {name: "Well, well."}


@pytest.mark.parametrize("client", ["anthropic", "responses"])
def test_the_name_is_a_matter_of_chat_clients_alone(client: str) -> None:
    other, usual = asking(client, aliases_reasoning=True), asking(client)
    assert streamed(other, client, answer()) == streamed(usual, client, answer())
    assert whole(other, client, answer()) == whole(usual, client, answer())


def test_raw_text_has_nothing_to_word() -> None:
    request = replace(asked("truss"), form=FORM_RAW, wording=Wording(estimates_usage=False, aliases_reasoning=True))
    assert streamed(request, "truss", answer()) == b"Salt wind"
