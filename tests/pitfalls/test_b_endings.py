"""Pitfalls 24 to 42: finish reasons, usage, and how streams end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import Truncated
from gateway.relay.carrier import PassThrough
from tests.dialects.cases import STAMP, asked
from tests.faults.callers import ANTHROPIC_CALLER, OPENAI_CALLER, Caller, ask
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import sized
from tests.pitfalls.wires import (
    DONE,
    HEAD,
    USAGE,
    Json,
    call,
    chat,
    chunk,
    events,
    failure,
    frame,
    frames,
    message,
    message_end,
    message_start,
    named,
    seen_by_anthropic,
    seen_by_openai,
    sequencer,
    streamed,
    text_block,
    whole,
)

OSLO = '{"city":"Oslo"}'


def stop_reason(data: bytes) -> Any:
    (told,) = named(data, "message_delta")
    return told["delta"]["stop_reason"]


def test_stop_with_calls_means_calls() -> None:
    """Pitfall 24."""
    data = chat(call(0, "a", "f", OSLO), finish="stop")
    assert stop_reason(streamed("openai", "anthropic", data)) == "tool_use"
    assert seen_by_openai(streamed("openai", "openai", data)).finish == "tool_calls"


def test_a_call_that_was_cut_stays_cut() -> None:
    """Pitfall 25."""
    sent = streamed("openai", "anthropic", chat(call(0, "a", "f", '{"city":"Os'), finish="length"))
    assert stop_reason(sent) == "max_tokens"
    assert seen_by_anthropic(sent)[0]["input"] == '{"city":"Os'


def test_usage_behind_the_finish_is_waited_for() -> None:
    """Pitfall 26."""
    sent = streamed("openai", "anthropic", chat({"content": "Hi"}, usage=USAGE))
    (told,) = named(sent, "message_delta")
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (9, 3)


def test_usage_is_a_chunk_of_its_own_and_the_last() -> None:
    """Pitfall 27."""
    last = frames(streamed("anthropic", "openai", message(text_block(0, "Hi"))))[-1]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3


def test_usage_on_every_chunk_is_not_summed() -> None:
    """Pitfall 28."""
    counts = [{**USAGE, "completion_tokens": n} for n in (1, 2, 3)]
    data = b"".join(chunk({"content": "x"}, usage=count) for count in counts) + chunk({}, "stop") + DONE
    sent = streamed("openai", "anthropic", data)
    assert named(sent, "message_delta")[0]["usage"]["output_tokens"] == 3
    assert len(named(sent, "content_block_delta")) == 3


def test_usage_that_nobody_asked_for_is_not_told() -> None:
    """Pitfall 29."""
    request = replace(asked("openai"), include_usage=False)
    assert b"usage" not in streamed("openai", "openai", chat({"content": "Hi"}, usage=USAGE), request)


def test_disjoint_and_inclusive_counts() -> None:
    """Pitfall 30, and back exactly."""
    counts = {"input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100}
    data = message_start(**counts) + text_block(0, "Hi") + message_end(output_tokens=50)
    usage = whole("anthropic", "openai", data)["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (1110, 1000)
    assert (usage["completion_tokens"], usage["total_tokens"]) == (50, 1160)
    back = whole("openai", "anthropic", chat({"content": "Hi"}, usage=usage))["usage"]
    assert {name: back[name] for name in counts} == counts


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_more_cached_than_prompted_is_never_negative(client: str) -> None:
    """Pitfall 31."""
    usage = {**USAGE, "prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 100}}
    told = whole("openai", client, chat({"content": "Hi"}, usage=usage))["usage"]
    assert min(value for value in told.values() if isinstance(value, int)) >= 0
    assert (told.get("prompt_tokens") or told["input_tokens"] + told["cache_read_input_tokens"]) == 105


def test_the_start_has_a_plausible_prompt_size() -> None:
    """Pitfall 32: an estimate, where the upstream counts only at the end."""
    (start,) = named(streamed("openai", "anthropic", chat({"content": "Hi"}, usage=USAGE)), "message_start")
    assert start["message"]["usage"]["input_tokens"] > 0


def test_the_last_count_is_whole_and_nothing_is_added_to_the_first() -> None:
    """Pitfall 33."""
    data = message_start(input_tokens=10) + text_block(0, "Hi") + message_end(input_tokens=10, output_tokens=7)
    (told,) = named(streamed("anthropic", "anthropic", data), "message_delta")
    assert told["usage"] == {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def test_usage_is_always_there_for_anthropic() -> None:
    """Pitfall 34: also where the upstream never told any."""
    sent = streamed("openai", "anthropic", chat({"content": "Hi"}))
    counts = [named(sent, "message_start")[0]["message"]["usage"], named(sent, "message_delta")[0]["usage"]]
    for count in counts:
        assert type(count["input_tokens"]) is int
        assert type(count["output_tokens"]) is int


def test_the_total_is_computed() -> None:
    """Pitfall 35: reasoning is part of the completion, whatever the upstream's own total says."""
    usage = {**USAGE, "total_tokens": 99, "completion_tokens_details": {"reasoning_tokens": 2}}
    told = whole("openai", "openai", chat({"content": "Hi"}, usage=usage))["usage"]
    assert told["total_tokens"] == 12
    assert told["completion_tokens_details"]["reasoning_tokens"] == 2


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_close_without_a_finish_is_an_error(client: str) -> None:
    """Pitfall 36."""
    data = chat({"content": "Hi"}, finish=None, done=False)
    assert isinstance(failure("openai", data), Truncated)
    last = frames(streamed("openai", client, data))[-1]
    assert "error" in last


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_finish_without_done_is_an_end(client: str) -> None:
    """Pitfall 37."""
    sent = streamed("openai", client, chat({"content": "Hi"}, done=False))
    assert sent.endswith(DONE if client == "openai" else b'{"type":"message_stop"}\n\n')


def test_a_message_without_its_stop() -> None:
    """Pitfall 38: complete behind message_delta, cut before it."""
    complete = message_start() + text_block(0, "Hi") + message_end(stop=False)
    assert seen_by_openai(streamed("anthropic", "openai", complete)).finish == "stop"
    assert isinstance(failure("anthropic", message_start() + text_block(0, "Hi")), Truncated)


def test_a_repeated_finish_is_told_once() -> None:
    """Pitfall 39."""
    data = chunk({"content": "Hi"}) + chunk({}, "stop") + chunk({}, "stop") + chunk({}, "length") + DONE
    sent = streamed("openai", "openai", data)
    told = [choice["finish_reason"] for found in frames(sent) for choice in found["choices"] if choice["finish_reason"]]
    assert told == ["stop"]


def test_two_answers_pass_between_openai_and_openai() -> None:
    """Pitfall 40: byte-exact, the first chunk of choice 0, usage once, at the end."""
    second = frame({**HEAD, "choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": None}]})
    ends = [frame({**HEAD, "choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]}) for i in (0, 1)]
    data = chunk({"role": "assistant", "content": "A"}) + second + ends[0] + second + ends[1]
    data += frame({**HEAD, "choices": [], "usage": USAGE}) + DONE
    dialect = DIALECTS["openai"]
    relay = PassThrough(dialect.decoder(dialect.options()), sequencer(), lambda error: error)
    assert relay.feed(data).data == data


BODIES: dict[str, tuple[Json, int]] = {
    "an error": ({"error": {"message": "no such engine", "type": "server_error"}}, 502),
    "an answer": (
        {
            **HEAD,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Salt"}, "finish_reason": "stop"}],
        },
        200,
    ),
}


@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER], ids=lambda caller: caller.name)
@pytest.mark.parametrize("what", BODIES)
def test_a_json_body_for_a_stream(upstream: HostileUpstream, gateway: Gateway, caller: Caller, what: str) -> None:
    """Pitfall 41: an error or a correct stream, never an empty one."""
    body, status = BODIES[what]

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(orjson.dumps(body)))

    upstream.perform(play)
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == status
    if status == 200:
        assert reply.header("content-type").startswith("text/event-stream")
        assert b"Salt" in reply.body
    else:
        assert b"no such engine" in reply.body


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_every_frame_ends_in_a_blank_line(client: str) -> None:
    """Pitfall 42."""
    encoder = DIALECTS[client].encoder(asked(client), STAMP)
    for event in events("openai", chat({"content": "Hi"}, call(0, "a", "f", OSLO), usage=USAGE)):
        sent = encoder.encode([event])
        assert not sent or sent.endswith(b"\n\n")
