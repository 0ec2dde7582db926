"""What the upstream of a benchmark says is right in every dialect, and what is not whole is found."""

from __future__ import annotations

import httptools
import pytest

from gateway.bench.answers import MARK, Answer, answer, text
from gateway.bench.checking import fault_of
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Inbound

TOKENS = 12
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


class Heard:
    """The bodies of responses, as the bytes of each chunk."""

    def __init__(self, *sent: bytes) -> None:
        self.body: list[bytes] = []
        self.ends = 0
        parser = httptools.HttpResponseParser(self)
        for data in sent:
            parser.feed_data(data)
        self.status = parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.ends += 1


def said(dialect: Dialect, *, stream: bool) -> Answer:
    assert dialect.sample is not None
    request = dialect.parse(Inbound({**dialect.sample.body, "model": "m", "stream": stream}))
    return answer(dialect, request, TOKENS)


@dialects
def test_each_token_is_a_write_of_its_own_and_the_end_another(dialect: Dialect) -> None:
    found = said(dialect, stream=True)
    assert len(found.paced) == TOKENS
    assert all(each.count(MARK) == 1 for each in found.paced[:-1])
    assert found.at_once.count(MARK) == 1
    heard = Heard(found.at_once, *found.paced)
    assert (heard.status, heard.ends) == (200, 1)
    assert fault_of(dialect, 200, b"".join(heard.body), TOKENS, is_streamed=True) == ""


@dialects
def test_a_whole_answer_is_one_write(dialect: Dialect) -> None:
    found = said(dialect, stream=False)
    assert found.paced == ()
    heard = Heard(found.at_once)
    assert heard.ends == 1
    assert fault_of(dialect, 200, b"".join(heard.body), TOKENS, is_streamed=False) == ""


@dialects
@pytest.mark.parametrize("tokens", [1, 2])
def test_the_shortest_answers_are_whole_too(dialect: Dialect, tokens: int) -> None:
    assert dialect.sample is not None
    request = dialect.parse(Inbound({**dialect.sample.body, "stream": True}))
    found = answer(dialect, request, tokens)
    heard = Heard(found.at_once, *found.paced)
    assert heard.ends == 1
    assert fault_of(dialect, 200, b"".join(heard.body), tokens, is_streamed=True) == ""


@dialects
def test_a_token_that_is_missing_or_told_twice_is_a_fault(dialect: Dialect) -> None:
    frames = Heard(*(lambda it: (it.at_once, *it.paced))(said(dialect, stream=True))).body
    lost = [frame for frame in frames if b"pulse7" not in frame or b"pulse6" in frame]
    assert len(lost) == len(frames) - 1
    assert fault_of(dialect, 200, b"".join(lost), TOKENS, is_streamed=True)
    doubled = [*frames[:5], frames[4], *frames[5:]]
    assert fault_of(dialect, 200, b"".join(doubled), TOKENS, is_streamed=True)


@dialects
def test_an_answer_cut_before_its_last_token_is_a_fault(dialect: Dialect) -> None:
    found = said(dialect, stream=True)
    frames = Heard(found.at_once, *found.paced).body
    assert fault_of(dialect, 200, b"".join(frames[:5]), TOKENS, is_streamed=True)


@dialects
def test_an_answer_without_its_end_is_a_fault_where_the_wire_has_one(dialect: Dialect) -> None:
    found = said(dialect, stream=True)
    frames = Heard(found.at_once, *found.paced[:-1], b"0\r\n\r\n").body
    fault = fault_of(dialect, 200, b"".join(frames), TOKENS, is_streamed=True)
    assert bool(fault) is (dialect.name != "truss")  # raw text ends where its framing does, which the load checks


def test_a_refusal_is_told_with_its_status_and_its_words() -> None:
    fault = fault_of(DIALECTS["openai"], 502, b'{"error": "upstream"}', TOKENS, is_streamed=True)
    assert fault == 'status 502: {"error": "upstream"}'


def test_a_body_that_is_no_json_is_a_fault() -> None:
    assert "JSONDecodeError" in fault_of(DIALECTS["openai"], 200, b"<html>", TOKENS, is_streamed=False)


def test_the_text_has_as_many_marks_as_tokens() -> None:
    assert text(TOKENS).count(MARK.decode()) == TOKENS
