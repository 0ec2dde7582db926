"""The grid holds, its page is current, and a gateway that loses something turns cells red."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway import rendering
from gateway.dialects import DIALECTS, anthropic
from gateway.dialects.base import Outbound
from gateway.dialects.openai.encoding import Encoder
from gateway.neutral.events import ArgsDelta, Event, Finish, Reason, ReasoningSignature, TextDelta, Usage
from gateway.neutral.request import Image, Reasoning, Request, ToolCall, ToolResult
from tests.conformance.__main__ import told
from tests.conformance.clients import CLIENTS
from tests.conformance.grid import Stage, Verdict, run, stage
from tests.conformance.node_clients import Unavailable, install
from tests.conformance.page import PATH, page, without_python
from tests.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def on() -> Iterator[Stage]:
    try:
        install()
    except Unavailable as missing:
        pytest.skip(str(missing))
    with stage() as running:
        yield running


def test_every_cell_of_the_grid_passes_and_the_page_says_so(on: Stage) -> None:
    results = run(on)
    assert [told(result) for result in results if result.verdict is Verdict.FAIL] == []
    assert without_python(PATH.read_text()) == without_python(page(results)), "not current: make conformance"


def without_a_word(event: Event) -> Event | None:
    return None if isinstance(event, TextDelta) and event.text == "fold " else event


def without_arguments(event: Event) -> Event | None:
    return None if isinstance(event, ArgsDelta) else event


def without_seals(event: Event) -> Event | None:
    return None if isinstance(event, ReasoningSignature) else event


def finished_otherwise(event: Event) -> Event | None:
    return Finish(Reason.LENGTH) if isinstance(event, Finish) else event


def counted_otherwise(event: Event) -> Event | None:
    return replace(event, output=event.output + 1) if isinstance(event, Usage) and event.output else event


@pytest.mark.parametrize("client", ["python.chat", "openai.chat"])
@pytest.mark.parametrize(
    ("loss", "row"),
    [
        (without_a_word, "stream"),
        (without_arguments, "parallel tools"),
        (without_arguments, "tool loop"),
        (without_seals, "reasoning"),
        (without_seals, "thinking tool loop"),
        (finished_otherwise, "stream"),
        (counted_otherwise, "usage"),
    ],
)
def test_a_gateway_that_spoils_an_answer_fails_its_cell(
    monkeypatch: pytest.MonkeyPatch, on: Stage, client: str, loss: Callable[[Event], Event | None], row: str
) -> None:
    """What the gateway says to chat clients is spoiled; what its Anthropic upstream says is not."""
    assert verdict(on, client, row) is Verdict.PASS
    encode = Encoder.encode

    def encode_less(self: Encoder, events: Iterable[Event]) -> bytes:
        return encode(self, [kept for event in events if (kept := loss(event)) is not None])

    monkeypatch.setattr(Encoder, "encode", encode_less)
    assert verdict(on, client, row) is Verdict.FAIL


@pytest.mark.parametrize("client", ["python.chat", "openai.chat"])
@pytest.mark.parametrize(
    ("lost", "row"),
    [(Image, "image"), (Reasoning, "reasoning"), (ToolResult, "parallel tools"), (ToolCall, "tool loop")],
)
def test_a_gateway_that_spoils_a_request_fails_its_cell(
    monkeypatch: pytest.MonkeyPatch, on: Stage, client: str, lost: type, row: str
) -> None:
    assert verdict(on, client, row) is Verdict.PASS
    render = anthropic.DIALECT.render

    def render_less(request: Request, model: str, options: Any) -> Outbound:
        turns = [
            replace(turn, parts=tuple(part for part in turn.parts if not isinstance(part, lost)))
            for turn in request.turns
        ]
        return render(replace(request, turns=tuple(turns)), model, options)

    spoiled = {**DIALECTS, "anthropic": replace(anthropic.DIALECT, render=render_less)}
    monkeypatch.setattr(rendering, "DIALECTS", spoiled)
    assert verdict(on, client, row) is Verdict.FAIL


def verdict(on: Stage, client: str, row: str) -> Verdict:
    """What becomes of a client's cell on the Anthropic upstream."""
    (player,) = [each for each in CLIENTS if each.name == client]
    (scenario,) = [each for each in SCENARIOS if each.name == row]
    return on.result(player, "anthropic", scenario).verdict
