"""Every behaviour of the real Truss server that a predict call can provoke, and what our clients see of it.

The rows are those of `INDEX.tsv`, recorded from the same server; the rules are those of `protocol/truss.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anthropic
import openai
import orjson
import pytest
import requests

from tests.e2e.clients import CLIENTS, PATIENCE_S, Heard, predict_url
from tests.e2e.gateway_process import config_of, gateway
from tests.sockets import connected
from tests.truss.real_server import truss_server

pytestmark = pytest.mark.truss

INDEX: Final = Path(__file__).parent / "INDEX.tsv"
QUICKLY: Final = {"delay_s": 0.05, "stall_s": 3.2}
"""Longer than a read takes, and than the server's gap limit of 3 s."""
CUT: Final = "broke in the middle"
CRASHED: Final = "empty, which is how a crash looks"


# -- what may come of a call ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A complete answer. `is_proven`: the wire proves that it is (raw text can't)."""

    text: str
    is_proven: bool = True


@dataclass(frozen=True)
class Broken:
    """Some text, then the client's library raises. `is_framed`: a Truss client is told in an error frame."""

    text: str
    is_framed: bool = False


@dataclass(frozen=True)
class Status:
    """An error status, with this in its message."""

    status: int
    message: str


Outcome = Text | Broken | Status


@dataclass(frozen=True)
class Row:
    """A case of the server's model, and what comes of it for the SDKs, streamed and whole.

    `truss_*`: for a Truss client, who takes any body as it is, where that differs.
    """

    case: str
    stream: Outcome
    whole: Outcome
    truss_stream: Outcome | None = None
    truss_whole: Outcome | None = None

    def outcome(self, *, is_truss: bool, stream: bool) -> Outcome:
        own = self.truss_stream if stream else self.truss_whole
        return own if is_truss and own is not None else (self.stream if stream else self.whole)


WORDS: Final = "Grey waves fold and fall.\n"
SPLIT: Final = "naïve 海 🌊 end"
PIECES: Final = ("Grey ", "waves ", "fold ", "and ", "fall.\n")
LINES: Final = "".join(
    f'{{"text": {orjson.dumps(piece).decode()}, "done": {"true" if piece is PIECES[-1] else "false"}}}\n'
    for piece in PIECES
)
DICTS: Final = "".join(str({"text": piece}) for piece in PIECES)


def raw(text: str) -> Text:
    return Text(text, is_proven=False)


def always(case: str, outcome: Outcome) -> Row:
    return Row(case, outcome, outcome)


RAISED_MID: Final = Status(502, "raised after two pieces")
NO_TEXT: Final = Status(502, "no text in the upstream's answer")
TABLE: Final[Mapping[str, Row]] = {
    "stream_text": Row("stream", raw(WORDS), Text(WORDS)),
    "stream_async_bytes": Row("stream_async", raw(WORDS), Text(WORDS)),
    "stream_split_utf8": Row("stream_split_utf8", raw(SPLIT), Text(SPLIT)),
    # Zero bytes are what a crash before the first piece looks like (§2.4); collected, a crash is a 500, so "" is "".
    "stream_empty": Row("stream_empty", Status(502, CRASHED), Text("")),
    "stream_empty_piece": Row("stream_empty_piece", raw("one two"), Text("one two")),
    # JSON lines are only read as such where configured (§2.4, 3).
    "stream_jsonl": Row("stream_jsonl", raw(LINES), Text(LINES)),
    "sse_as_octet_stream": always("sse_octet", Text(WORDS)),
    "sse_typed": always("sse_typed", Text(WORDS)),
    "json_dict": always("json", Text(WORDS)),
    "json_string": always("string", Text("Grey waves “fold” 海\n")),
    "json_list": always("list", Text(WORDS)),
    "json_null": Row("none", NO_TEXT, NO_TEXT, Text("null"), Text("null")),
    "json_pydantic": always("pydantic", Text("Grey")),
    "json_openai": always("openai_json", Text(WORDS)),
    "raise_before_stream": always("raise", Status(502, "Internal Server Error (in model/chainlet).")),
    "raise_http_429": always("raise_429", Status(429, "model is busy")),
    # 422 is told as 400 (mapping.md §9.2)
    "respond_422_by_model": always("respond_422", Status(400, "prompt is too long")),
    "unknown_case_http_422": always("nope", Status(400, "unknown case nope")),
    "stream_raise_before_first_piece": Row(
        "stream_raise_first", Status(502, CRASHED), Status(502, "raised before the first piece")
    ),
    # The server ends the body as if nothing had happened: no client can tell (§0.1). A whole answer can.
    "stream_raise_mid": Row("stream_raise_mid", raw("Grey waves "), RAISED_MID),
    # The model made its own response, which the server never collects: a Truss client gets the events even so.
    "sse_typed_raise_mid": Row(
        "sse_typed_raise_mid",
        Broken("Grey waves ", is_framed=True),
        Status(502, CUT),
        truss_whole=Broken("Grey waves ", is_framed=True),
    ),
    # The server breaks at the first dictionary, and joins them as Python spells them when it collects.
    "stream_yields_dict": Row("stream_dicts", Status(502, CUT), Text(DICTS)),
    # The gap limit does not apply to collected answers (§1.6).
    "stream_stall_past_gap_limit": Row("stream_stall", Broken("Grey waves "), Text("Grey waves fold ")),
    "stream_stall_before_first_piece": Row("stream_stall_first", Status(502, CUT), Text("Grey ")),
    "json_unserialisable": always("unserialisable", Status(502, "not JSON serializable")),
    "json_bytes_result": always("bytes", Status(502, "not JSON serializable")),
}
DEVELOPMENT: Final[Mapping[str, Row]] = {
    "development_stream": TABLE["stream_text"],
    "development_sse_typed": TABLE["sse_typed"],
    "development_json": TABLE["json_dict"],
    "development_raise": TABLE["raise_before_stream"],
    "development_respond_422": TABLE["respond_422_by_model"],
    "development_stream_raise_mid": TABLE["stream_raise_mid"],
    # The proxy ends a cut body cleanly (§0.3): events without an end show it, raw text can't.
    "development_sse_typed_raise_mid": Row(
        "sse_typed_raise_mid",
        Broken("Grey waves ", is_framed=True),
        Status(502, "before the answer was finished"),
        truss_whole=Broken("Grey waves ", is_framed=True),
    ),
    "development_stream_stall": Row("stream_stall", raw("Grey waves "), Text("Grey waves fold ")),
}
OWN_TESTS: Final = {
    *("accept_json_gathers_stream", "accept_json_gathers_sse_octet", "accept_json_openai_agent_streams"),
    *("accept_json_sse_typed_not_gathered", "accept_event_stream", "accept_json_gather_raise_mid"),
    *("bad_json_body", "empty_body", "body_is_json_array", "no_content_type", "form_content_type"),
    *("octet_content_type_not_msgpack", "stream_text_http10", "stream_text_keepalive", "request_id_header"),
    *("expect_100_continue", "client_hangup_sync_generator", "client_hangup_async_generator", "get_predict"),
}
NOT_PREDICT: Final = {
    *("v1_chat_completions_json", "v1_chat_completions_stream", "v1_messages_stream"),
    *("v1_messages_stream_anthropic_sdk", "v1_completions_not_on_model"),
    *("unknown_path", "get_ready", "get_schema", "development_client_hangup"),
}


def test_every_recorded_case_is_accounted_for() -> None:
    recorded = {line.split("\t")[0] for line in INDEX.read_text().splitlines()[1:]}
    parts = (set(TABLE), set(DEVELOPMENT), OWN_TESTS, NOT_PREDICT)
    assert set.union(*parts) == recorded
    assert sum(map(len, parts)) == len(recorded)


# -- the server and the gateway -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Behind:
    """A gateway, and the server behind it."""

    port: int
    predict: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, body: dict[str, Any], headers: Mapping[str, str] | None = None, *, directly: bool) -> Answer:
        url = self.predict if directly else predict_url(self.url, "cases")
        with requests.post(url, json={"prompt": "x", **QUICKLY, **body}, headers=headers, stream=True, timeout=20) as a:
            got = b""
            try:
                for piece in a.iter_content(None):
                    got += piece
            except requests.exceptions.ChunkedEncodingError:
                return Answer(a.status_code, a.headers, got, is_cut=True)
            return Answer(a.status_code, a.headers, got)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


def _behind(predict: str) -> dict[str, Any]:
    """An upstream as it is, and one for each case that says so itself."""
    cases = {row.case for row in (*TABLE.values(), *DEVELOPMENT.values())}
    upstream = {"dialect": "truss", "url": predict}
    return {
        "cases": upstream,
        **{f"case-{name}": {**upstream, "options": {"extra_body": {"case": name, **QUICKLY}}} for name in cases},
    }


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with truss_server("cases", tmp_path_factory.mktemp("cases")) as predict:
        upstreams = _behind(predict)
        with gateway(config_of(upstreams, {name: name for name in upstreams})) as port:
            yield Behind(port, predict)


@pytest.fixture(scope="module")
def development_predict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with truss_server("cases", tmp_path_factory.mktemp("cases"), is_development=True) as predict:
        yield predict


@pytest.fixture
def development(development_predict: str) -> Iterator[Behind]:
    """A gateway of its own for each test: the proxy ends a broken answer cleanly, and only then, at a time of its own,
    closes the connection, which a next call may just be using.
    """
    upstreams = _behind(development_predict)
    with gateway(config_of(upstreams, {name: name for name in upstreams})) as port:
        yield Behind(port, development_predict)


# -- the table ------------------------------------------------------------------------------------------------------

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
FINISHES: Final = {"openai": "stop", "anthropic": "end_turn"}


def check_sdk(behind: Behind, client: str, row: Row, *, stream: bool) -> None:
    outcome = row.outcome(is_truss=False, stream=stream)
    model, heard = f"case-{row.case}", Heard()
    call = partial(CLIENTS[client].stream, heard=heard) if stream else CLIENTS[client].whole
    if isinstance(outcome, Text):
        told = call(behind.url, model, "x")
        assert (told.text, told.finish) == (outcome.text, FINISHES[client])
        return
    with pytest.raises((openai.APIError, anthropic.APIStatusError)) as caught:
        call(behind.url, model, "x")
    error: Any = caught.value
    if isinstance(outcome, Status):
        assert error.status_code == outcome.status
        assert outcome.message in error.message
    else:
        assert not isinstance(error, openai.APIStatusError | anthropic.InternalServerError)
        assert (heard.text, heard.finish) == (outcome.text, None)


def check_truss(behind: Behind, row: Row, *, stream: bool) -> None:
    """A Truss client gets what the server itself would have said, failures apart."""
    outcome = row.outcome(is_truss=True, stream=stream)
    body = {"case": row.case, "stream": stream}
    told = behind.ask(body, directly=False)
    match outcome:
        case Status(status, message):
            assert (told.status, list(orjson.loads(told.body))) == (status, ["error"])
            assert message in orjson.loads(told.body)["error"]
        case Broken(text, is_framed=False):
            assert (told.status, told.is_cut) == (200, True), told.body
            assert told.body.decode() == text
        case Broken():
            assert (told.status, told.is_cut) == (200, False), told.body
            assert orjson.loads(told.body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["message"]
            assert b"[DONE]" not in told.body
        case Text():
            direct = behind.ask(body, None if stream else {"Accept": "application/json"}, directly=True)
            assert (told.status, told.body, told.is_cut) == (200, direct.body, False)
            assert told.headers["content-type"] == direct.headers["content-type"]
    if told.status == 200:
        is_raw = stream and (outcome == Text(getattr(outcome, "text", ""), is_proven=False) or told.is_cut)
        assert told.headers.get("x-gateway-completeness") == ("unverifiable" if is_raw else None)


@both_ways
@pytest.mark.parametrize("index", TABLE)
@pytest.mark.parametrize("client", ["openai", "anthropic", "truss"])
def test_a_case_of_the_server_is_seen_by_a_client_as_the_table_says(
    production: Behind, client: str, index: str, stream: bool
) -> None:
    if client == "truss":
        check_truss(production, TABLE[index], stream=stream)
    else:
        check_sdk(production, client, TABLE[index], stream=stream)


@both_ways
@pytest.mark.parametrize("index", DEVELOPMENT)
@pytest.mark.parametrize("client", ["openai", "anthropic", "truss"])
def test_a_case_of_a_development_deployment_is_seen_as_the_table_says(
    development: Behind, client: str, index: str, stream: bool
) -> None:
    if client == "truss":
        check_truss(development, DEVELOPMENT[index], stream=stream)
    else:
        check_sdk(development, client, DEVELOPMENT[index], stream=stream)


# -- what the request's head changes --------------------------------------------------------------------------------

JSON: Final = {"Accept": "application/json"}


@pytest.mark.parametrize("case", ["stream", "sse_octet", "stream_split_utf8"])
def test_accept_json_collects_as_the_server_itself_does(production: Behind, case: str) -> None:
    body = {"case": case, "stream": True}
    told, direct = (production.ask(body, JSON, directly=directly) for directly in (False, True))
    assert (told.status, told.body) == (200, direct.body)
    assert told.headers["content-type"] == "application/json"
    assert isinstance(orjson.loads(told.body), str)


def test_accept_json_does_not_collect_for_an_openai_client(production: Behind) -> None:
    headers = {**JSON, "User-Agent": "OpenAI/Python 3.54.0"}
    told = production.ask({"case": "stream", "stream": True}, headers, directly=False)
    assert (told.body.decode(), told.headers["content-type"]) == (WORDS, "application/octet-stream")


def test_accept_json_does_not_collect_a_response_that_the_model_made(production: Behind) -> None:
    told = production.ask({"case": "sse_typed", "stream": True}, JSON, directly=False)
    assert told.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert told.body.endswith(b"data: [DONE]\n\n")


def test_accept_event_stream_leaves_raw_text_of_the_model_raw(production: Behind) -> None:
    told = production.ask({"case": "stream", "stream": True}, {"Accept": "text/event-stream"}, directly=False)
    assert told.body.decode() == WORDS


def test_accept_json_shows_what_a_generator_raised(production: Behind) -> None:
    told = production.ask({"case": "stream_raise_mid", "stream": True}, JSON, directly=False)
    assert told.status == 502
    assert "raised after two pieces" in orjson.loads(told.body)["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"prompt": "x", ', "application/json", 400),
        (b"", "application/json", 400),
        (b"[1, 2]", "application/json", 400),
        (b'{"case": "json"}', "application/octet-stream", 415),
        (b'{"case": "json"}', "application/x-www-form-urlencoded", 200),
        (b'{"case": "json"}', None, 200),
    ],
    ids=["not-json", "empty", "not-an-object", "msgpack", "form", "no-type"],
)
def test_a_body_is_json_whatever_its_type_says_but_msgpack(
    production: Behind, body: bytes, content_type: str | None, status: int
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    url = predict_url(production.url, "cases")
    with requests.post(url, data=body, headers=headers, timeout=PATIENCE_S) as told:
        assert told.status_code == status
        assert (
            told.json() == {"output": WORDS, "status": "success"} if status == 200 else list(told.json()) == ["error"]
        )


def test_get_on_predict_is_405_and_not_a_readiness_that_proves_nothing(production: Behind) -> None:
    assert requests.get(predict_url(production.url, "cases"), timeout=PATIENCE_S).status_code == 405


def test_a_request_id_of_ours_comes_back_and_the_callers_own_does_no_harm(production: Behind) -> None:
    told = production.ask({"case": "json"}, {"X-Baseten-Request-Id": "abc123"}, directly=False)
    assert told.status == 200
    assert told.headers["x-gateway-request-id"].startswith("req_")


def test_an_http10_client_gets_the_models_stream_with_its_length(production: Behind) -> None:
    body = orjson.dumps({"case": "stream", "stream": True, **QUICKLY})
    with connected(production.port) as client:
        client.send(b"POST /model-cases/predict HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        answer = client.read_answer()
    assert (answer.status, answer.body.decode()) == (200, WORDS)


def test_a_kept_connection_serves_a_stream_and_the_next_call(production: Behind) -> None:
    bodies = [orjson.dumps({"case": case, "stream": case == "stream", **QUICKLY}) for case in ("stream", "json")]
    head = b"POST /model-cases/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    with connected(production.port) as client:
        client.send(head % (len(bodies[0]), bodies[0]))
        assert b"chunked" in client.read_until(b"\r\n\r\n")
        assert client.read_until(b"\r\n0\r\n\r\n").startswith(b"5\r\nGrey \r\n6\r\nwaves \r\n")
        client.send(head % (len(bodies[1]), bodies[1]))
        assert orjson.loads(client.read_answer().body)["output"] == WORDS


def test_a_caller_that_expects_100_gets_it_before_its_body(production: Behind) -> None:
    body = orjson.dumps({"case": "json"})
    head = b"POST /model-cases/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with connected(production.port) as client:
        client.send(head % len(body))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(body)
        assert orjson.loads(client.read_answer().body)["output"] == WORDS


@pytest.mark.parametrize("case", ["stream", "stream_async"])
def test_a_client_that_hangs_up_leaves_the_gateway_able_to_serve(production: Behind, case: str) -> None:
    body = {"case": case, "n": 20, "delay_s": 0.05, "stream": True}
    with requests.post(predict_url(production.url, "cases"), json=body, stream=True, timeout=PATIENCE_S) as told:
        assert next(told.iter_content(None)) == b"Grey "
    assert production.ask({"case": "json"}, directly=False).status == 200
