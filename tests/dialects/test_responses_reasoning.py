"""What a Responses client hears of reasoning, and of a failure that is told in the place of the upstream's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import UpstreamError
from gateway.neutral.events import BlockKind, BlockStart, BlockStop, End, Event, Finish, Reason, ReasoningDelta, Start
from gateway.neutral.request import ReasoningRequest
from gateway.neutral.response import fold
from tests.dialects.cases import STAMP, asked
from tests.dialects.wire_grammar import check_responses

RESPONSES = DIALECTS["responses"]


def thinking(*, is_summary: bool) -> list[Event]:
    deltas = [ReasoningDelta(0, text, is_summary) for text in ("Hm, ", "yes.")]
    return [Start(), BlockStart(0, BlockKind.REASONING), *deltas, BlockStop(0), Finish(Reason.STOP), End()]


def items(visible: Any, *, is_summary: bool) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The events of a stream, its item at the end, and the item of a whole answer."""
    request = replace(asked("responses"), reasoning=ReasoningRequest("on", visible=visible))
    events = thinking(is_summary=is_summary)
    stream = RESPONSES.encoder(request, STAMP).encode(events)
    check_responses(stream)
    ended = orjson.loads(stream.decode().rpartition("data: ")[2])
    whole = RESPONSES.dump(fold(events), request, STAMP)
    return stream.decode(), ended["response"]["output"][0], whole["output"][0]


@pytest.mark.parametrize("is_summary", [True, False])
def test_a_client_that_asks_for_a_summary_hears_all_reasoning_as_one(is_summary: bool) -> None:
    """openai-responses.md §1: `summary` chooses the events; some clients read no others."""
    stream, *told = items("summary", is_summary=is_summary)
    assert "reasoning_summary_text.delta" in stream
    assert "reasoning_text.delta" not in stream
    for item in told:
        assert item["summary"] == [{"type": "summary_text", "text": "Hm, yes."}]
        assert "content" not in item


def test_a_client_that_asks_for_none_hears_what_the_model_thought() -> None:
    """mapping.md §6.2."""
    stream, *told = items(None, is_summary=False)
    assert "reasoning_text.delta" in stream
    for item in told:
        assert (item["summary"], item["content"]) == ([], [{"type": "reasoning_text", "text": "Hm, yes."}])


@pytest.mark.parametrize("kind", ["response.failed", "error"])
def test_a_failure_takes_the_number_of_the_event_that_it_stands_for(kind: str) -> None:
    """Pitfall 117: `sequence_number` without gaps, also where the upstream's own failure is told in our words."""
    decoder = RESPONSES.decoder(RESPONSES.options())
    created: dict[str, Any] = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}
    failed = {
        "type": kind,
        "sequence_number": 1,
        "message": "boom",
        "response": {"id": "resp_1", "error": {"message": "boom"}},
    }
    for event in (created, failed):
        decoder.feed(b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), orjson.dumps(event)))
    told = orjson.loads(decoder.tell(UpstreamError("boom")).decode().rpartition("data: ")[2])
    assert (told["sequence_number"], told["response"]["id"]) == (1, "resp_1")
