"""Pitfalls 110 to 128: transport, and how the service behaves."""

from __future__ import annotations

import time
from typing import Any

import anthropic
import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.neutral.events import Ping
from gateway.neutral.sequencer import Sequencer
from tests.dialects.cases import STAMP, asked
from tests.e2e.clients import anthropic_sdk, openai_sdk
from tests.faults.callers import ANTHROPIC_CALLER, CALLERS, FOUR, OPENAI_CALLER, Caller, ask, calling, post, told_error
from tests.faults.harness import KEY, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, answers, chunk, hangs_after, says, sized
from tests.pitfalls.wires import USAGE, chat, frames, seen_by_openai, streamed
from tests.pitfalls.wires import chunk as chat_chunk

WAVE = "Grüße 🌊 \u2028 fin"


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_characters_cut_anywhere_are_intact(client: str) -> None:
    """Pitfall 110."""
    data = chat({"content": WAVE}).replace("🌊".encode(), "🌊".encode())
    dialect, told = DIALECTS["openai"], []
    for at in range(len(data)):
        decoder, sequencer = dialect.decoder(dialect.options()), Sequencer("s")
        pieces = [*decoder.feed(data[:at]), *decoder.feed(data[at:]), *decoder.eof(is_framed=True)[1]]
        told.append(DIALECTS[client].encoder(asked(client), STAMP).encode(sequencer.feed(pieces)))
    assert len(set(told)) == 1
    assert orjson.dumps(WAVE)[1:-1] in told[0]


def test_frames_in_every_form_that_the_standard_allows() -> None:
    """Pitfall 111: CR, LF, CRLF, comments, data on several lines, no blank behind the colon, no last blank line."""
    first, last = chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")
    forms = [
        (first + last).replace(b"\n", b"\r\n"),
        (first + last).replace(b"\n", b"\r"),
        b": comment\n\n" + first.replace(b"data: ", b"data:") + last,
        first.replace(b',"choices"', b'\ndata: ,"choices"') + last,
        first + last.rstrip(b"\n"),
        b"\xef\xbb\xbfid: 1\nretry: 5\n" + first + last,
    ]
    for data in forms:
        assert seen_by_openai(streamed("openai", "openai", data)).text == "Hi"


def test_hop_by_hop_headers_of_the_upstream_stay_there(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 112."""
    fields = [("keep-alive", "timeout=99"), ("upgrade", "h2c"), ("x-strange", "1"), ("content-encoding", "identity")]
    lines = b"".join(f"\r\n{name}: {value}".encode() for name, value in fields)
    line, _, rest = OPENAI.stream().partition(b"\r\n")
    upstream.perform(says(line + lines + b"\r\n" + rest), says(sized(OPENAI.whole("Salt"), 200, *fields)))
    for stream in (True, False):
        reply = ask(gateway.port, OPENAI_CALLER.request("openai", stream=stream))
        assert reply.status == 200
        assert not {"keep-alive", "upgrade", "x-strange", "content-encoding"} & reply.names


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_a_client_that_leaves_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, stream: bool
) -> None:
    """Pitfall 113: every phase of it is in `tests/faults/test_client_leaves.py`."""
    upstream.perform(hangs_after())
    with calling(gateway.port, caller.request("openai", stream=stream)) as call:
        peer = upstream.wait_for_requests(1)
        left_at = call.leave()
    assert peer.closed.wait(1.0)
    assert peer.closed_at - left_at < 1.0


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_keep_alives_in_the_form_of_the_dialect(client: str) -> None:
    """Pitfall 114: never an event without data, which OpenAI's SDK chokes on."""
    encoder = DIALECTS[client].encoder(asked(client), STAMP)
    sent = encoder.encode([Ping()])
    if client == "anthropic":
        assert sent == b'event: ping\ndata: {"type":"ping"}\n\n'
    else:
        assert sent.startswith(b": ")
        assert sent.endswith(b"\n\n")
    assert encoder.keep_alive == sent


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
def test_frames_have_no_ids(client: str) -> None:
    """Pitfall 115."""
    sent = streamed("openai", client, chat({"content": "Hi"}, usage=USAGE))
    assert not [line for line in sent.split(b"\n") if line.startswith((b"id:", b"retry:"))]


def test_anthropics_frames_all_have_their_event_line() -> None:
    """Pitfall 116."""
    sent = streamed("openai", "anthropic", chat({"reasoning_content": "Hm."}, {"content": "Hi"}, usage=USAGE))
    for found in sent.strip().split(b"\n\n"):
        event, data = found.split(b"\n")
        assert event.removeprefix(b"event: ").decode() == orjson.loads(data.removeprefix(b"data: "))["type"]


def test_a_response_begins_counts_and_repeats_itself() -> None:
    """Pitfall 117."""
    sent = frames(streamed("openai", "responses", chat({"reasoning_content": "Hm."}, {"content": "Hi"}, usage=USAGE)))
    assert sent[0]["type"] == "response.created"
    assert [found["sequence_number"] for found in sent] == list(range(len(sent)))
    last = sent[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["id"] == sent[0]["response"]["id"]
    done = [found["item"] for found in sent if found["type"] == "response.output_item.done"]
    assert last["response"]["output"] == done
    ids: dict[int, set[str]] = {}
    for found in sent:
        if "output_index" in found:
            ids.setdefault(found["output_index"], set()).add(found.get("item_id") or found["item"]["id"])
    assert all(len(each) == 1 for each in ids.values())


def test_every_response_stream_ends_in_a_terminal_event(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 118: also when the gateway's own deadline broke it."""
    upstream.perform(hangs_after(OPENAI.first()))
    body = orjson.dumps({"model": "quick-openai", "input": "Hi", "stream": True})
    reply = ask(gateway.port, post("/v1/responses", body))
    assert reply.status == 200
    assert frames(reply.body)[-1]["type"] == "response.failed"


def test_usage_of_a_response_has_all_its_counts() -> None:
    """Pitfall 119."""
    (done,) = [
        found
        for found in frames(streamed("openai", "responses", chat({"content": "Hi"}, usage=USAGE)))
        if found["type"] == "response.completed"
    ]
    usage = done["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (9, 3, 12)
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}


def test_a_count_is_of_everything_and_never_zero(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 120."""

    def counted(**fields: object) -> int:
        body = orjson.dumps({"model": "openai", "messages": [{"role": "user", "content": "Hi"}], **fields})
        reply = ask(gateway.port, post("/v1/messages/count_tokens", body))
        assert reply.status == 200
        return int(orjson.loads(reply.body)["input_tokens"])

    plain = counted()
    assert plain > 0
    assert counted(system="Be brief. " * 50) > plain
    assert counted(tools=[{"name": "f", "description": "x" * 500, "input_schema": {"type": "object"}}]) > plain
    assert counted(messages=[{"role": "user", "content": "Hi " * 500}]) > plain


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true"])
def test_query_strings_change_no_route(upstream: HostileUpstream, gateway: Gateway, path: str) -> None:
    """Pitfall 121."""
    upstream.perform(answers(OPENAI))
    body = {"model": "openai", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    assert ask(gateway.port, post(path, orjson.dumps(body))).status == 200


@pytest.mark.parametrize("field", ["x-api-key: k", "authorization: Bearer k", "authorization: Api-Key k"])
def test_a_key_is_taken_in_any_of_its_headers(upstream: HostileUpstream, gateway: Gateway, field: str) -> None:
    """Pitfall 122: any is welcome while no keys are configured, and none is passed on."""
    upstream.perform(answers(ANTHROPIC))
    for caller in (OPENAI_CALLER, ANTHROPIC_CALLER):
        assert ask(gateway.port, caller.request("anthropic", field)).status == 200
        assert upstream.requests[-1].values("x-api-key") == [KEY]
        assert not upstream.requests[-1].values("authorization")


def test_models_are_listed_for_both_sdks(gateway: Gateway) -> None:
    """Pitfall 123: in their strict modes."""
    url = f"http://127.0.0.1:{gateway.port}"
    with openai_sdk(url) as client, anthropic_sdk(url) as other:
        names = {model.id for model in client.models.list()}
        assert {model.id for model in other.models.list()} == names
        assert client.models.retrieve("openai").id == "openai"
        assert other.models.retrieve("openai").id == "openai"


def test_the_first_token_is_flushed_at_once(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 124: with nothing behind it, and told to every proxy on the way."""
    upstream.perform(hangs_after(OPENAI.first(1)))
    for caller in FOUR:
        with calling(gateway.port, caller.request("openai", "accept-encoding: gzip")) as call:
            call.read_until(b"Salt")
            head = call.received.lower()
            assert b"content-encoding" not in head
            assert b"cache-control: no-cache" in head
            assert b"x-accel-buffering: no" in head


def test_the_body_ends_right_behind_its_last_frame(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 125: also while the upstream keeps its own open."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.stream().removesuffix(LAST_CHUNK))
        await peer.gone()

    upstream.perform(play)
    for caller in (OPENAI_CALLER, ANTHROPIC_CALLER):
        begun = time.perf_counter()
        assert ask(gateway.port, caller.request("openai")).is_whole
        assert time.perf_counter() - begun < 2.0


def test_a_failed_stream_can_be_asked_for_again_whole(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 126: as Claude Code does it."""

    async def breaks(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        peer.close()

    upstream.perform(breaks, answers(OPENAI))
    url = f"http://127.0.0.1:{gateway.port}"
    with anthropic_sdk(url) as client:
        asking: Any = {"model": "openai", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with pytest.raises(anthropic.APIStatusError), client.messages.stream(**asking) as stream:
            stream.until_done()
        assert client.messages.create(**asking).content


def test_waiting_for_usage_delays_nothing_and_ends(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 127."""
    body = OPENAI.first(5) + chunk(OPENAI.finish)
    upstream.perform(hangs_after(body))
    begun = time.perf_counter()
    with calling(gateway.port, ANTHROPIC_CALLER.request("quick-openai")) as call:
        call.read_until(b"shore.")
        assert time.perf_counter() - begun < 0.25
        reply = call.read_reply()
    assert b'"message_stop"' in reply.body
    assert time.perf_counter() - begun < 2.0


def test_a_body_over_the_limit_is_413_in_the_clients_words(gateway: Gateway) -> None:
    """Pitfall 128: what large ones cost other streams is measured in `tests/faults/test_large_bodies.py`."""
    for caller in FOUR:
        head = caller.request("openai").partition(b"\r\n\r\n")[0].split(b"content-length")[0]
        reply = ask(gateway.port, head + b"content-length: 99999999\r\nconnection: close\r\n\r\n")
        assert reply.status == 413
        assert told_error(reply, caller)
