"""For any JSON: the calls beside the main one are read, or refused with a field; for any bytes: their end is known."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Inbound
from gateway.dialects.openai.completions import Decoder
from gateway.dialects.openai.options import Options
from gateway.errors import BadRequest, GatewayError
from gateway.neutral.events import End, Failed
from gateway.neutral.pieces import Piece
from gateway.neutral.request import Request
from tests.properties.bodies import FIELDS, SEEDS, Json, mutated, values

RELAYED = {relayed.ending: relayed for dialect in DIALECTS.values() for relayed in dialect.relayed}
COUNTING = [name for name, dialect in DIALECTS.items() if dialect.counts is not None]
ANY = st.dictionaries(st.one_of(st.sampled_from([*FIELDS, "encoding_format", "suffix"]), st.text(max_size=5)), values)


@pytest.mark.parametrize("ending", RELAYED)
@settings(max_examples=300, deadline=None)
@given(body=ANY)
def test_a_relayed_body_is_forwarded_whole_or_refused_with_its_field(ending: str, body: Json) -> None:
    call = RELAYED[ending]
    try:
        request = call.parse(Inbound(body))
    except BadRequest as error:
        refused = error.param
    else:
        forwarded(call, body, request)
        return
    assert refused in ("model", "stream", "stream_options", "stream_options.include_usage")


def forwarded(call: Dialect, body: Json, request: Request) -> None:
    outbound = call.forward(body, request, "theirs", call.options())
    assert outbound.body == {**body, "model": "theirs"}
    assert request.own_dialect_only is not None
    if call.simulate is not None:
        orjson.dumps(call.simulate(request))


@pytest.mark.parametrize("name", COUNTING)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_prompt_is_counted_or_refused_with_its_field(name: str, data: st.DataObject) -> None:
    """Pitfall 120: and never as nothing."""
    counts = DIALECTS[name].counts
    assert counts is not None
    try:
        request = counts.parse(Inbound(data.draw(st.one_of(mutated(st.sampled_from(SEEDS[name])), ANY))))
    except BadRequest as error:
        refused = error.param
        request = Request("", ())
    else:
        refused = "nothing"
    assert refused
    assert request.estimate_tokens() >= 1
    assert not request.stream


@pytest.mark.parametrize("ending", RELAYED)
@settings(max_examples=300, deadline=None)
@given(body=values)
def test_any_whole_answer_is_looked_at_without_an_exception_of_ours(ending: str, body: Json) -> None:
    looked_at(RELAYED[ending], body)
    looked_at(RELAYED[ending], {"data": [], "usage": body, "choices": [body]})
    looked_at(RELAYED[ending], {"data": body, "usage": {"prompt_tokens_details": body}, "choices": body})


def looked_at(call: Dialect, body: Json) -> None:
    try:
        call.observe(body, call.options())
    except GatewayError:
        return


frames = st.one_of(
    values.map(lambda value: b"data: %s\n\n" % orjson.dumps(value)),
    values.map(lambda value: b"data: %s\n\n" % orjson.dumps({"choices": [{"text": value, "finish_reason": value}]})),
    values.map(lambda value: b"data: %s\n\n" % orjson.dumps({"choices": value, "usage": value})),
    st.binary(max_size=20),
    st.sampled_from([b"data: [DONE]\n\n", b": alive\n\n", b'data: {"choices":[{"index":0,"text":"a"}]}\n\n']),
)


@settings(max_examples=400, deadline=None)
@given(sent=st.lists(frames, max_size=6), step=st.integers(1, 50))
def test_any_stream_of_completions_ends_in_end_or_failed_and_nothing_is_relayed_behind(
    sent: list[bytes], step: int
) -> None:
    decoder, data = Decoder(Options()), b"".join(sent)
    pieces, relayed = list[Piece](), b""
    for begin in range(0, len(data), step):
        told, found = decoder.observe(data[begin : begin + step])
        relayed, pieces = relayed + told, pieces + found
    if not pieces or not isinstance(pieces[-1], End | Failed):
        told, found = decoder.eof(is_framed=False)
        relayed, pieces = relayed + told, pieces + found
    assert isinstance(pieces[-1], End | Failed)
    assert sum(isinstance(piece, End | Failed) for piece in pieces) == 1
    assert data.startswith(relayed.removesuffix(b"\n\n")) or not relayed
