"""Calls that are only relayed: what the gateway notices of completions and embeddings while they pass."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Inbound, Stamp
from gateway.dialects.openai import completions, embeddings
from gateway.dialects.openai.options import Options
from gateway.errors import BadRequest, GatewayError, Malformed, Truncated
from gateway.neutral.events import BlockKind, End, Failed, Finish, Reason, Start, TextDelta, Usage
from gateway.neutral.pieces import ContentPiece, Piece
from gateway.neutral.sequencer import Sequencer
from gateway.simulator import script as sc


def frame(*choices: tuple[int, str, str | None], **fields: Any) -> bytes:
    told = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": finish} for index, text, finish in choices
    ]
    return b"data: " + orjson.dumps({"id": "cmpl-1", "object": "text_completion", "choices": told, **fields}) + b"\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"
WHOLE = frame((0, "Grey ", None)) + frame((0, "waves", None)) + frame((0, "", "length")) + frame(usage=USAGE) + DONE


def observed(data: bytes, step: int = 0) -> tuple[bytes, list[Piece]]:
    """What is relayed, and what is noticed, cut into pieces of `step` bytes."""
    decoder = completions.Decoder(Options())
    relayed, pieces = b"", list[Piece]()
    for begin in range(0, len(data), step or len(data) or 1):
        told, found = decoder.observe(data[begin : begin + (step or len(data))])
        relayed, pieces = relayed + told, pieces + found
    if not pieces or not isinstance(pieces[-1], End | Failed):
        told, found = decoder.eof(is_framed=True)
        relayed, pieces = relayed + told, pieces + found
    return relayed, pieces


@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_stream_is_relayed_as_it_is_and_its_usage_and_finish_noticed(step: int) -> None:
    relayed, pieces = observed(WHOLE, step)
    assert relayed == WHOLE
    assert pieces == [
        Start("cmpl-1"),
        ContentPiece(BlockKind.TEXT, "Grey "),
        ContentPiece(BlockKind.TEXT, "waves"),
        Usage(input=3, output=2, is_final=True),
        Finish(Reason.LENGTH),
        End(),
    ]


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_stream_cut_anywhere_before_it_is_complete_has_failed(end: int) -> None:
    """A finish reason without `[DONE]` is complete, as in chat; anything less is not."""
    _, pieces = observed(WHOLE[:end])
    is_complete = end >= len(WHOLE) - len(DONE) - len(frame(usage=USAGE)) - 2  # the last blank line may be missing
    assert isinstance(pieces[-1], End) is is_complete
    if not is_complete:
        assert isinstance(pieces[-1], Failed)
        assert isinstance(pieces[-1].error, Truncated)


def test_an_answer_of_several_choices_is_finished_when_all_of_them_are() -> None:
    both = frame((0, "a", None), (1, "b", None))
    first, second = frame((0, "", "stop")), frame((1, "", "length"))
    assert observed(both + second + first)[1][-2:] == [Finish(Reason.STOP), End()]
    assert isinstance(observed(both + first)[1][-1], Failed)
    assert observed(both + first + DONE)[1][-2:] == [Finish(Reason.STOP, is_inferred=True), End()]


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"choices":[7]}\n\n',
        b'data: {"choices":[{"text":7}]}\n\n',
        b'data: {"choices":[{"index":"0","text":""}]}\n\n',
        b'data: {"usage":[1]}\n\n',
        DONE,
    ],
)
def test_a_frame_that_is_none_breaks_the_stream_and_is_not_relayed(broken: bytes) -> None:
    relayed, pieces = observed(broken + WHOLE)
    assert relayed == b""
    assert isinstance(pieces[-1], Failed)
    assert isinstance(pieces[-1].error, Malformed)


@pytest.mark.parametrize("told", [b'data: {"error":{"message":"no"}}\n\n', b'event: error\ndata: {"message":"no"}\n\n'])
def test_an_upstreams_error_frame_breaks_the_stream(told: bytes) -> None:
    begun = frame((0, "Grey ", None))
    relayed, pieces = observed(begun + told + DONE)
    assert relayed == begun
    assert isinstance(pieces[-1], Failed)
    assert pieces[-1].error.message == "no"


def test_a_whole_completion_is_noticed_as_its_stream_is() -> None:
    choice = {"index": 0, "text": "Grey waves", "logprobs": None, "finish_reason": "stop"}
    pieces = completions.load({"id": "cmpl-1", "choices": [choice], "usage": USAGE}, Options())
    assert Finish(Reason.STOP) in pieces
    assert Usage(input=3, output=2, is_final=True) in pieces


def test_embeddings_are_noticed_by_their_usage() -> None:
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    assert Usage(input=3, is_final=True) in embeddings.load({"data": [], "usage": usage}, Options())
    assert embeddings.load({"data": []}, Options()) == [Start()]


def vectors(count: int, **more: Any) -> bytes:
    """An answer of about 9 KB a vector, in the order that servers send."""
    data = [{"object": "embedding", "index": index, "embedding": [0.123456] * 1000} for index in range(count)]
    return orjson.dumps({"object": "list", "data": data, "model": "m", **more})


DETAILED = {"prompt_tokens": 3, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("usage", [{"prompt_tokens": 3, "total_tokens": 3}, DETAILED])
def test_a_large_answer_is_noticed_as_a_small_one_is(count: int, usage: dict[str, Any]) -> None:
    body = vectors(count, usage=usage)
    assert embeddings.load(embeddings.skim(body), Options()) == embeddings.load(orjson.loads(body), Options())


def test_the_vectors_of_a_large_answer_are_not_read() -> None:
    body = vectors(20, usage=DETAILED).replace(b"0.123456", b"0.12x456")
    assert embeddings.skim(body) == {"data": [], "usage": DETAILED}


@pytest.mark.parametrize(
    "unusual", [vectors(20), vectors(20, usage=None), b'{"usage":{"prompt_tokens":3},' + vectors(20)[1:]]
)
def test_a_large_answer_that_looks_unusual_is_read_whole(unusual: bytes) -> None:
    assert embeddings.skim(unusual) == orjson.loads(unusual)


def test_a_large_answer_that_was_cut_is_not_taken_for_whole() -> None:
    body = vectors(20, usage=DETAILED)
    for end in (*range(70_000, len(body) - 1, 997), *range(len(body) - 200, len(body) - 1)):
        with pytest.raises(orjson.JSONDecodeError):
            embeddings.skim(body[:end])


@pytest.mark.parametrize("body", [[], "x", {}, {"data": {}, "choices": 7}, {"choices": [7]}, {"error": "no"}])
def test_a_body_that_is_no_answer_is_the_upstreams_fault(body: Any) -> None:
    with pytest.raises(GatewayError):
        completions.load(body, Options())
    with pytest.raises(GatewayError):
        embeddings.load(body if body != {"choices": [7]} else {"data": [], "usage": 7}, Options())


CALLS: dict[str, Dialect] = {relayed.paths[0].template: relayed for relayed in DIALECTS["openai"].relayed}
every_call = pytest.mark.parametrize("path", CALLS)


@every_call
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_in_another_form_than_asked_for_is_neither_passed_nor_spelled_anew(path: str, stream: bool) -> None:
    """Pitfall 41: what these calls hold has no words in our vocabulary, so that it would lose something."""
    request = CALLS[path].parse(Inbound({"model": "m", "prompt": "x", "input": "x", "stream": stream}))
    assert CALLS[path].passes(request, Options(), not request.stream)
    with pytest.raises(Malformed, match="asked for"):
        CALLS[path].passes(request, Options(), request.stream)


@every_call
def test_a_body_is_forwarded_whole_but_for_the_name_of_the_model(path: str) -> None:
    body = {"model": "mine", "prompt": [[1, 2]], "input": ["x"], "suffix": "y", "new_field": {"a": [1]}, "echo": True}
    request = CALLS[path].parse(Inbound(body))
    outbound = CALLS[path].forward(body, request, "theirs", Options())
    assert outbound.body == {**body, "model": "theirs"}
    assert f"/v1{outbound.path}" == path


@every_call
def test_a_path_may_name_the_model_and_its_environment(path: str) -> None:
    inbound = Inbound({"model": "placeholder"}, {"model": "demo", "env": "staging"})
    request = CALLS[path].parse(inbound)
    assert ((request.model, *request.aliases), request.is_versioned) == (("demo@staging", "demo"), True)


@every_call
@pytest.mark.parametrize("body", [{}, {"model": 7}, {"model": "m", "stream": "yes", "input": "x"}])
def test_only_what_the_gateway_must_know_is_checked(path: str, body: dict[str, Any]) -> None:
    if path == embeddings.PATH and "stream" in body:
        assert not CALLS[path].parse(Inbound(body)).stream  # nobody streams these
        return
    with pytest.raises(BadRequest) as caught:
        CALLS[path].parse(Inbound(body))
    assert caught.value.param in ("model", "stream")


def test_the_simulators_completions_are_read_back_as_they_were_meant() -> None:
    request = completions.parse(Inbound({"model": "m", "prompt": "a b", "stream": True, "max_tokens": 2}))
    encoder = completions.Encoder(request, Stamp("t", 1))
    steps = sc.play(sc.Script(), request)
    data = b"".join(encoder.encode(step.events) for step in steps if isinstance(step, sc.Say))
    events = Sequencer("t").feed(completions.Decoder(Options()).feed(data))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "You said: "
    assert Finish(Reason.LENGTH) in events
    assert isinstance(events[-1], End)
