"""Bytes of an upstream → events and bytes for the client, with the real dialects."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.base import Stamp
from gateway.errors import GatewayError, Kind, Malformed, Overloaded, Truncated, Unfit, UpstreamError
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Failed,
    Finish,
    Reason,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.request import Request
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Carrier, PassThrough, Translation

SECRET = "sk-secret"
STAMP = Stamp("token", 7)
FORMS = {"openai": "", "anthropic": "", "responses": "", "truss": "raw"}
"""A request's form by the client's dialect; a Truss `prompt` is the one that has no frames."""


def scrub(error: GatewayError) -> GatewayError:
    """What the real one does, without a configuration."""
    return type(error)(error.message.replace(SECRET, "[key]"), kind=error.kind)


def translation(upstream: str, client: str) -> Translation:
    decoder = DIALECTS[upstream].decoder(DIALECTS[upstream].options())
    request = Request("m", (), stream=True, include_usage=True, form=FORMS[client])
    return Translation(decoder, Sequencer("seed"), DIALECTS[client].encoder(request, STAMP), scrub)


def pass_through(dialect: str, **options: Any) -> PassThrough:
    return PassThrough(DIALECTS[dialect].decoder(DIALECTS[dialect].options(**options)), Sequencer("seed"), scrub)


def carry(carrier: Carrier, chunks: list[bytes], *, is_framed: bool = True) -> Batch:
    """All batches up to the end, as one."""
    events: list[Event] = []
    data, is_told = b"", True
    for batch in [*map(carrier.feed, chunks), carrier.eof(is_framed=is_framed)]:
        events += batch.events
        data += batch.data
        is_told = is_told and batch.is_told
    return Batch(events, data, is_told)


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def frames(*bodies: Any, end: str = "\n") -> bytes:
    lines = [f"data: {body if isinstance(body, str) else orjson.dumps(body).decode()}{end}{end}" for body in bodies]
    return "".join(lines).encode()


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "c",
        "model": "u",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        "new": "é\u2028",
    }


def messages(*bodies: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (body["type"].encode(), orjson.dumps(body)) for body in bodies)


TEXT_BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
IN_ITEM = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
HELLO: dict[str, bytes] = {
    "responses": messages(
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", **IN_ITEM, "delta": "Hé", "new": "é\u2028"},
        {"type": "response.output_text.delta", **IN_ITEM, "delta": "llo"},
        {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}},
    ),
    "openai": b": PROCESSING\n\n"
    + frames(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hé"}),
        chunk({"content": "llo"}),
        chunk({}, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        "[DONE]",
    ),
    "anthropic": messages(
        {
            "type": "message_start",
            "message": {"id": "c", "model": "u", "usage": {"input_tokens": 3, "output_tokens": 1}},
        },
        {"type": "ping"},
        TEXT_BLOCK,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ),
    "truss": "Héllo".encode(),
}
BEGUN: dict[str, bytes] = {
    "responses": messages(
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", **IN_ITEM, "delta": "He"},
    ),
    "openai": frames(chunk({"content": "He"})),
    "anthropic": messages(
        {"type": "message_start", "message": {}},
        TEXT_BLOCK,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
    ),
}
ERROR_FRAMES: dict[str, bytes] = {
    "responses": messages({"type": "error", "code": "server_is_overloaded", "message": f"overloaded, {SECRET}"}),
    "openai": frames({"error": {"message": f"overloaded, {SECRET}", "code": "server_is_overloaded"}}),
    "anthropic": messages({"type": "error", "error": {"type": "overloaded_error", "message": f"overloaded, {SECRET}"}}),
}
CUTS = st.lists(st.integers(0, 1000), max_size=8)
FRAMED = pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])


# -- translation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", FORMS)
@pytest.mark.parametrize("upstream", HELLO)
def test_text_is_carried_between_any_two_dialects(upstream: str, client: str) -> None:
    """All sixteen pairs: what the client reads is what the upstream said."""
    batch = carry(translation(upstream, client), [HELLO[upstream]])
    assert [type(event) for event in (batch.events[0], *batch.events[-1:])] == [Start, End]
    assert "".join(event.text for event in batch.events if isinstance(event, TextDelta)) == "Héllo"
    if client == "truss":
        assert batch.data == "Héllo".encode()
    else:
        again = carry(translation(client, "truss"), [batch.data])
        assert again.data == "Héllo".encode()
        assert type(again.events[-1]) is End


@pytest.mark.parametrize("client", FORMS)
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_a_translation_does_not_depend_on_cuts(upstream: str, client: str) -> None:
    """Byte by byte as in one piece."""
    data = HELLO[upstream]
    bytewise = [data[at : at + 1] for at in range(len(data))]
    assert carry(translation(upstream, client), bytewise) == carry(translation(upstream, client), [data])


def test_a_batch_holds_the_bytes_of_its_own_events() -> None:
    """Nothing is held back until the end: a token goes out with the read that brought it."""
    carrier = translation("openai", "truss")
    assert carrier.feed(frames(chunk({"content": "He"}))).data == b"He"
    assert carrier.feed(frames(chunk({"content": "llo"}))).data == b"llo"


@FRAMED
@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_an_upstreams_error_is_told_in_the_clients_dialect_without_our_key(dialect: str, client: str) -> None:
    batch = carry(translation(dialect, client), [BEGUN[dialect] + ERROR_FRAMES[dialect]])
    failed = batch.events[-1]
    assert isinstance(failed, Failed)
    assert failed.error == Overloaded("overloaded, [key]")
    assert b"overloaded, [key]" in batch.data
    assert SECRET.encode() not in batch.data
    assert batch.is_told


@FRAMED
def test_a_stream_cut_short_ends_in_failure(dialect: str) -> None:
    """In every dialect the client can tell; raw text by the connection alone."""
    for client, is_told in (("openai", True), ("anthropic", True), ("responses", True), ("truss", False)):
        batch = carry(translation(dialect, client), [BEGUN[dialect]])
        assert isinstance(batch.events[-1], Failed)
        assert isinstance(batch.events[-1].error, Truncated)
        assert batch.is_told is is_told
        assert b"[DONE]" not in batch.data
        assert b"message_stop" not in batch.data


def test_a_failure_from_outside_is_told_and_scrubbed() -> None:
    """A deadline, or a connection that broke: not in the upstream's bytes, but told all the same."""
    batch = translation("openai", "anthropic").fail(Truncated(f"cut {SECRET}"))
    assert batch.events == [Failed(Truncated("cut [key]"))]
    assert batch.data.startswith(b"event: error\n")
    assert b"cut [key]" in batch.data


def test_a_tool_call_that_raw_text_cannot_carry_breaks_the_answer() -> None:
    """truss.md §2.3: refused, never dropped in silence; there is no word for it, so the connection is cut."""
    carrier = translation("openai", "truss")
    assert carrier.feed(frames(chunk({"content": "He"}))).data == b"He"
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
    batch = carrier.feed(frames(chunk({"tool_calls": [call]})))
    failed = batch.events[-1]
    assert isinstance(failed, Failed)
    assert failed.error == Unfit("the model called a tool, which raw text can't carry")
    assert (batch.data, batch.is_told) == (b"", False)


def test_a_whole_answer_is_carried_as_its_pieces() -> None:
    """For an upstream that answered whole where a stream was asked for."""
    body = {"id": "c", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    pieces = DIALECTS["openai"].load(body, DIALECTS["openai"].options())
    batch = translation("openai", "truss").carry(pieces)
    assert batch.data == b"Hello"
    assert batch.events[-2:] == [Finish(Reason.STOP, raw="stop"), End()]


def test_events_are_in_order_for_the_encoder() -> None:
    """The Sequencer stands between: fragments of two calls that overlap come out one after the other."""
    pieces = [
        {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "y", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": "}"}},
    ]
    batch = translation("openai", "anthropic").feed(frames(*[chunk({"tool_calls": [piece]}) for piece in pieces]))
    assert batch.events[1:] == [
        BlockStart(0, BlockKind.TOOL, "x", "f"),
        ArgsDelta(0, "{"),
        ArgsDelta(0, "}"),
        BlockStop(0),
        BlockStart(1, BlockKind.TOOL, "y", "g"),
        ArgsDelta(1, "{}"),
    ]


# -- pass-through --------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(HELLO)), CUTS)
def test_pass_through_is_byte_exact_at_any_cut(dialect: str, cuts: list[int]) -> None:
    """Comments, unknown fields, order of keys, U+2028: everything arrives as it was sent, and is understood."""
    batch = carry(pass_through(dialect), cut_at(HELLO[dialect], cuts))
    assert batch.data == HELLO[dialect]
    assert batch.is_told
    assert "".join(event.text for event in batch.events if isinstance(event, TextDelta)) == "Héllo"
    assert type(batch.events[-1]) is End


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_pass_through_keeps_the_upstreams_line_ends(end: str) -> None:
    data = frames(chunk({"content": "a"}), chunk({}, "stop"), "[DONE]", end=end)
    assert carry(pass_through("openai"), [data]).data == data


@given(st.sampled_from(["openai", "anthropic"]), CUTS)
def test_a_bad_frame_is_not_relayed_but_its_error_is(dialect: str, cuts: list[int]) -> None:
    """What comes before is exact; the frame itself may be unreadable to the client, so it is told in our words."""
    bad = b"data: {not json\n\n"
    batch = carry(pass_through(dialect), cut_at(BEGUN[dialect] + bad + BEGUN[dialect], cuts))
    begun, told = batch.data[: len(BEGUN[dialect])], batch.data[len(BEGUN[dialect]) :]
    assert begun == BEGUN[dialect]
    error = Malformed("frame of 9 bytes is not JSON")
    assert batch.events[-1] == Failed(error)
    assert told == pass_through(dialect).fail(error).data
    assert batch.is_told


@FRAMED
def test_an_error_frame_is_told_anew_without_our_key(dialect: str) -> None:
    """The upstream's own words may hold the key that we sent it."""
    batch = carry(pass_through(dialect), [BEGUN[dialect] + ERROR_FRAMES[dialect]])
    assert batch.events[-1] == Failed(Overloaded("overloaded, [key]"))
    assert batch.data.startswith(BEGUN[dialect])
    assert b"overloaded, [key]" in batch.data
    assert SECRET.encode() not in batch.data


@FRAMED
def test_a_failure_from_outside_is_told_behind_what_was_relayed(dialect: str) -> None:
    """A deadline, or a connection that broke."""
    carrier = pass_through(dialect)
    assert carrier.feed(BEGUN[dialect]).data == BEGUN[dialect]
    batch = carrier.fail(UpstreamError(f"cut {SECRET}", kind=Kind.TIMEOUT))
    assert isinstance(batch.events[-1], Failed)
    assert b"cut [key]" in batch.data
    assert batch.is_told


@FRAMED
def test_a_cut_pass_through_ends_in_failure(dialect: str) -> None:
    """Half a frame isn't relayed: the error frame behind it would be glued to it."""
    batch = carry(pass_through(dialect), [BEGUN[dialect] + b'data: {"cut":'])
    assert batch.data.startswith(BEGUN[dialect])
    assert b"cut" not in batch.data[len(BEGUN[dialect]) :].partition(b"\n")[0]
    failed = batch.events[-1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Truncated)


def test_raw_text_has_no_word_for_a_failure() -> None:
    """The relay cuts the connection instead; what came is relayed."""
    batch = carry(pass_through("truss"), [b"Hello"], is_framed=False)
    assert isinstance(batch.events[-1], Failed)
    assert (batch.data, batch.is_told) == (b"Hello", False)


def test_bytes_behind_the_terminator_are_not_relayed() -> None:
    """mapping.md §9.1: data after the terminator is ignored."""
    assert carry(pass_through("openai"), [HELLO["openai"] + frames(chunk({"content": "late"}))]).data == HELLO["openai"]


def test_a_last_frame_without_its_blank_line_is_completed() -> None:
    """Pitfall 111: the client's own reader may be stricter than ours."""
    data = frames(chunk({"content": "a"}), chunk({}, "stop")) + b"data: [DONE]"
    batch = carry(pass_through("openai"), [data])
    assert batch.data == data + b"\n\n"
    assert type(batch.events[-1]) is End


def test_usage_is_observed_in_passing() -> None:
    """The log and the metrics know what went by."""
    events = carry(pass_through("openai"), [HELLO["openai"]]).events
    assert [event for event in events if isinstance(event, Usage)] == [Usage(3, 2, is_final=True)]
