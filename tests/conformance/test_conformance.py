"""The grid holds, its page is current, and a gateway that loses something turns cells red."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gateway.dialects.openai.encoding import Encoder
from gateway.neutral.events import ArgsDelta, Event, Finish, Reason, TextDelta
from tests.conformance.__main__ import told
from tests.conformance.clients import CLIENTS
from tests.conformance.grid import Verdict, run
from tests.conformance.node_clients import Unavailable, install
from tests.conformance.page import PATH, page, without_python
from tests.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module", autouse=True)
def _node() -> None:
    try:
        install()
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_every_cell_of_the_grid_passes_and_the_page_says_so() -> None:
    results = run()
    assert [told(result) for result in results if result.verdict is Verdict.FAIL] == []
    assert without_python(PATH.read_text()) == without_python(page(results)), (
        "docs/conformance.md is not current: make conformance"
    )


def without_third_word(events: Iterable[Event]) -> Iterable[Event]:
    return [event for event in events if not (isinstance(event, TextDelta) and event.text == "fold ")]


def without_arguments(events: Iterable[Event]) -> Iterable[Event]:
    return [event for event in events if not isinstance(event, ArgsDelta)]


def finished_otherwise(events: Iterable[Event]) -> Iterable[Event]:
    return [Finish(Reason.LENGTH) if isinstance(event, Finish) else event for event in events]


@pytest.mark.parametrize("client", ["python.chat", "openai.chat", "ai/openai-compatible"])
@pytest.mark.parametrize(
    ("loss", "scenario"),
    [
        (without_third_word, "stream"),
        (without_arguments, "parallel tools"),
        (finished_otherwise, "stream"),
    ],
)
def test_a_gateway_that_loses_something_fails_its_cell(
    monkeypatch: pytest.MonkeyPatch, client: str, loss: object, scenario: str
) -> None:
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, events: encode(self, loss(events)))  # type: ignore[operator]
    (result,) = run(
        [each for each in CLIENTS if each.name == client],
        ["anthropic"],
        [each for each in SCENARIOS if each.name == scenario],
    )
    assert result.verdict is Verdict.FAIL
