"""Every transcript, decoded and encoded; cut everywhere; passed through.

Expected files are written anew by `pytest tests/dialects/test_transcripts.py --regenerate`, and reviewed by eye.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import GatewayError
from gateway.neutral.events import End, Event, Failed, Finish, TextDelta
from gateway.neutral.grammar import Grammar, State
from gateway.neutral.pieces import Piece
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import PassThrough
from tests.dialects.cases import (
    CASES,
    CLIENTS,
    OUTPUTS,
    SEED,
    SPLITS,
    STAMP,
    STREAMS,
    Case,
    Split,
    asked,
    bytewise,
    encode,
    encode_at_once,
    sequence,
    transcribe,
    whole,
)
from tests.dialects.wire_grammar import check_anthropic, check_openai, check_responses


@pytest.fixture(autouse=True, scope="module")
def regenerated(request: pytest.FixtureRequest) -> None:
    """With `--regenerate`, what the code does now is written down as what is expected."""
    if request.config.getoption("--regenerate"):
        for case in CASES:
            told = case.decode(case.input)
            (case.path / "events.txt").write_bytes(transcribe(told))
            for client, name in OUTPUTS.items():
                (case.path / name).write_bytes(encode(client, told))


def test_there_are_transcripts_of_every_upstream() -> None:
    assert {case.path.parent.name for case in CASES} == set(DIALECTS)
    assert len(CASES) >= 60


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoding(case: Case, split: Split) -> None:
    """However the bytes are cut, they mean the same (pitfalls 110, 111)."""
    assert comparable(case, case.decode(case.input, split)) == comparable(case, case.events)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoding_in_one_piece_gives_exactly_the_events_of_the_folder(case: Case) -> None:
    assert transcribe(case.decode(case.input)) == (case.path / "events.txt").read_bytes()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoding(case: Case, client: str) -> None:
    assert encode(client, case.events) == case.output(client)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_events_obey_the_grammar(case: Case) -> None:
    grammar = Grammar()
    for event in case.events:
        grammar.check(event)
    assert grammar.state in (State.ENDED, State.FAILED)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_emitted_streams_obey_the_grammar_of_their_dialect(case: Case) -> None:
    """Pitfalls 16, 17, 27, 35, 42, 46, 114 to 116."""
    end = "done" if case.is_success else "error"
    assert check_openai(case.output("openai"), include_usage=True) == end
    assert check_anthropic(case.output("anthropic")) == end
    assert check_responses(case.output("responses")) == end


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_client_that_did_not_ask_for_usage_sees_none(case: Case) -> None:
    """Pitfall 29."""
    encoder = DIALECTS["openai"].encoder(replace(asked("openai"), include_usage=False), STAMP)
    check_openai(encoder.encode(case.events), include_usage=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_write_says_the_same_as_many(case: Case) -> None:
    for client in ("openai", "anthropic", "responses"):
        assert encode_at_once(client, case.events) == case.output(client)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_failure_is_told_and_never_looks_like_an_end(case: Case) -> None:
    """Pitfalls 36, 43, 44, 47."""
    if case.is_success:
        assert case.output("openai").endswith(b"\n\ndata: [DONE]\n\n")
        assert case.output("anthropic").endswith(b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n')
        assert re.search(rb"\n\nevent: response\.(completed|incomplete)\n[^\n]+\n\n\Z", case.output("responses"))
    else:
        assert_is_told(case.events)


# -- cut anywhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_cut_anywhere_before_it_is_complete_is_a_failure(case: Case) -> None:
    """At every byte: exactly one of Finish with End, or Failed, which every client is told (pitfalls 36, 38)."""
    complete, data = complete_from(case), case.input
    seen: dict[tuple[int, str], list[Event]] = {}
    for offset, (pieces, last) in enumerate(cut_everywhere(case)):
        key = (len(pieces), repr(last))
        told = seen[key] if key in seen else sequence([*pieces, *last])
        ends = [type(event) for event in told if isinstance(event, Finish | End | Failed)]
        assert ends in ([Finish, End], [Failed]), offset
        assert_is_finished_only_when_complete(case, data[:offset], told, is_complete=offset >= complete)
        if ends == [Failed] and key not in seen:
            assert_is_told(told)
        seen[key] = told


def cut_everywhere(case: Case) -> Iterator[tuple[list[Piece], list[Piece]]]:
    """For every length of the input: the pieces it makes, and those that its end then makes."""
    decoder, pieces = case.dialect.decoder(case.options), list[Piece]()
    for byte in bytewise(case.input):
        yield pieces, deepcopy(decoder).eof(is_framed=case.is_framed)[1]
        pieces.extend(decoder.feed(byte))
    yield pieces, decoder.eof(is_framed=case.is_framed)[1]


def assert_is_finished_only_when_complete(case: Case, seen: bytes, told: list[Event], *, is_complete: bool) -> None:
    finish = next((event for event in told if isinstance(event, Finish)), None)
    if case.wire == "raw":
        assert finish is None or not finish.is_certain
    elif finish is not None and not is_complete:
        assert not finish.is_certain
        assert is_the_beginning_of_a_field(seen), "only what may still be text may be taken for text"
    elif is_complete and case.is_success:
        assert finish is not None
        assert finish.is_certain


def is_the_beginning_of_a_field(seen: bytes) -> bool:
    return any(name.startswith(seen) for name in (b"data", b"event", b": ping\n"))


def complete_from(case: Case) -> int:
    """The first offset at which the input counts as complete, found without any decoder."""
    if case.wire == "raw":
        return 0
    if case.wire == "jsonl":
        return case.input.index(b'"done": true}') + len(b'"done": true}')
    for line in re.finditer(rb"(?m)^data: ?(.*?)\r?$", case.input):
        if is_last(case, line[1]):
            return line.end(1)
    return len(case.input) + 1


def is_last(case: Case, data: bytes) -> bool:
    """openai-chat.md §5, anthropic-messages.md §7, openai-responses.md §5: what makes a stream complete."""
    if data == b"[DONE]":
        return case.is_success
    if not data.endswith(b"}"):
        return False
    body = orjson.loads(data)
    if case.wire == "responses":
        return body.get("type") in ("response.completed", "response.incomplete", "response.done")
    if case.wire == "anthropic":
        return body.get("type") == "message_delta" and body["delta"].get("stop_reason") is not None
    return any(
        choice.get("finish_reason") not in (None, "abort", "insufficient_system_resource")
        for choice in body.get("choices", ())
    )


def assert_is_told(told: list[Event]) -> None:
    """In an error frame or a failed response, to raw text by its end (pitfall 118)."""
    openai, anthropic, responses = encode("openai", told), encode("anthropic", told), encode("responses", told)
    assert check_openai(openai, include_usage=True) == "error"
    assert check_anthropic(anthropic) == "error"
    assert check_responses(responses) == "error"
    assert b"[DONE]" not in openai
    assert b"message_stop" not in anthropic
    assert b"message_delta" not in anthropic
    assert not DIALECTS["truss"].encoder(asked("truss"), STAMP).tells_failure
    assert encode("truss", told).endswith(b">\n")


# -- passed through --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.__name__)
@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_pass_through_is_byte_exact(case: Case, split: Split) -> None:
    """Pitfall 88: up to the end of the answer, or to the frame that broke it."""
    told, events = passed(case, split)
    failed = events[-1] if isinstance(events[-1], Failed) else None
    decoder = case.dialect.decoder(case.options)
    decoder.feed(case.input[:4096])
    told_failure = decoder.tell(failed.error) if failed else b""
    assert told.endswith(told_failure)
    relayed = told[: len(told) - len(told_failure)]
    expected = relayable(case)
    if split is not whole and expected.endswith(b"\r\n"):
        # An LF whose CR ended the last frame already is held back, and nothing comes to release it.
        expected, relayed = expected.removesuffix(b"\n"), relayed.removesuffix(b"\n")
    assert relayed == expected
    assert comparable(case, events) == comparable(case, case.events)


def passed(case: Case, split: Split) -> tuple[bytes, list[Event]]:
    """As the relay does it: nothing is read behind an end. Deltas that are only counted there are read once more."""
    carrier = PassThrough(case.dialect.decoder(case.options), Sequencer(SEED), unscrubbed)
    decoder, sequencer = case.dialect.decoder(case.options), Sequencer(SEED)
    data, events = b"", list[Event]()
    for chunk in split(case.input):
        batch, seen = carrier.feed(chunk), sequencer.feed(decoder.observe(chunk)[1])
        data, events = data + batch.data, [*events, *(seen if batch.more else batch.events)]
        if events and isinstance(events[-1], Failed | End):
            return data, events
    batch = carrier.eof(is_framed=case.is_framed)
    return data + batch.data, [*events, *batch.events]


def unscrubbed(error: GatewayError) -> GatewayError:
    return error


def relayable(case: Case) -> bytes:
    """The input up to the blank line behind its terminator, or up to the frame that says or is an error."""
    data = case.input
    if case.wire == "raw":
        return whole_characters(data)
    if case.wire == "jsonl":
        return data
    for frame in re.finditer(rb"(?s).*?(?:\r\n\r\n|\n\n|\Z)", data):
        if _TERMINATOR.search(frame[0]):
            return data[: frame.end()] if case.is_success else data[: frame.start()]
        if is_error(frame[0]):
            return data[: frame.start()]
    if not case.is_success:
        return data[: data.rindex(b"\n\n") + 2]
    return data if data.endswith(b"\n\n") else data + b"\n\n"


_TERMINATOR = re.compile(rb'\[DONE\]|"message_stop"|"type":"response\.(?:completed|incomplete|done)"')


def is_error(frame: bytes) -> bool:
    marks = (
        b'"error":{',
        b'"object":"error"',
        b'"finish_reason":"abort"',
        b'"insufficient_system_resource"',
        _FLAT_ERROR,
    )
    return any(mark in frame for mark in marks)


_FLAT_ERROR = b'"type":"error"'


def whole_characters(data: bytes) -> bytes:
    return data.decode("utf-8", "ignore").encode()


# -- what is compared ------------------------------------------------------------------------------------------------


def comparable(case: Case, events: Iterable[Event]) -> bytes:
    """Raw text has no pieces of its own, only those that the network made: neighbours are joined."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if case.wire == "raw" and isinstance(event, TextDelta) and isinstance(last, TextDelta):
            joined[-1] = TextDelta(event.index, last.text + event.text)
        else:
            joined.append(event)
    return transcribe(joined)
