"""An answer that breaks goes on from another target, over sockets: one stream, one text, and who can't is not asked."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from gateway.config import Config, parse
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CALLERS,
    OPENAI_CALLER,
    TRUSS_CALLER,
    Caller,
    Reply,
    ask,
    assert_broken,
    assert_finished,
    calling,
)
from tests.faults.harness import Gateway, gateway_in_thread, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.test_leaks import of_requests
from tests.faults.voices import (
    ANTHROPIC,
    LAST_CHUNK,
    OPENAI,
    RESPONSES,
    TRUSS_EVENTS,
    Voice,
    chunk,
    hangs_after,
    hangs_up_after,
    says,
    sized,
)

BEGUN: Final = ("Salt", " wind", " combs")
REST: Final = (" the", " shore.")
WHOLE: Final = "".join((*BEGUN, *REST))
ABLE: Final[dict[str, dict[str, Any]]] = {
    "openai": {"profile": "vllm"},
    "anthropic": {"profile": "anthropic-legacy"},
    "truss": {"profile": "vllm"},
}
"""Options by which an upstream of a dialect is given the beginning of an answer."""
FIRSTS: Final = (OPENAI, ANTHROPIC, RESPONSES, TRUSS_EVENTS)
SECONDS: Final = (OPENAI, ANTHROPIC, TRUSS_EVENTS)
TRIPLES: Final = [
    (caller, first, second)
    for caller in CALLERS
    for first in FIRSTS
    for second in SECONDS
    if (caller, second) != (TRUSS_CALLER, TRUSS_EVENTS)  # to a prompt nothing is added: it would be another prompt
]


def configuration(port: int) -> Config:
    """`FIRST-then-SECOND`: the first can't be given a beginning, the second can. `never-`: nobody there can but one."""
    config: dict[str, Any] = orjson.loads(settings(port))
    for upstream in config["upstreams"].values():  # so that one test's failures are not the next one's
        upstream |= {"breaker": False, "retry_budget": 1}
    plain = dict(config["upstreams"])
    for name, options in ABLE.items():
        config["upstreams"][f"able-{name}"] = {**plain[name], "options": options}
    timeouts = {"idle": "250ms", "first_token": "250ms", "total": "20s"}
    for first in plain:
        for second in ABLE:
            config["routes"][f"{first}-then-{second}"] = {
                "targets": [{"upstream": first, "model": "first"}],
                "fallback": [{"upstream": f"able-{second}", "model": "second"}],
                "continue_after_cut": True,
                "timeouts": timeouts,
            }
    config["routes"]["itself"] = {
        "targets": [{"upstream": "able-openai", "model": "first"}],
        "continue_after_cut": True,
        "timeouts": timeouts,
    }
    return parse(orjson.dumps(config), "continuing.yaml", {})


@pytest.fixture(scope="module")
def continuing(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(configuration(the_upstream.port)) as gateway:
        yield gateway


@pytest.fixture
def gateway(continuing: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    continuing.forget()
    yield continuing
    assert not continuing.failures


def begun(voice: Voice, tokens: int = len(BEGUN)) -> bytes:
    """The beginning of an answer."""
    return voice.head + chunk(voice.opening) + b"".join(chunk(voice.token(text)) for text in BEGUN[:tokens])


def rest(voice: Voice, *tokens: str) -> bytes:
    """A whole answer, of which the texts are the rest."""
    said = b"".join(chunk(voice.token(text)) for text in tokens or REST)
    return voice.head + chunk(voice.opening) + said + chunk(voice.finish + voice.terminator) + LAST_CHUNK


def cut(voice: Voice, tokens: int = len(BEGUN)) -> Play:
    return hangs_up_after(begun(voice, tokens))


def text_of(reply: Reply, form: str) -> str:
    """What the client read."""
    if form == "raw":
        return reply.body.decode()
    lines = [line.removeprefix(b"data: ") for line in reply.body.splitlines() if line.startswith(b"data: {")]
    return "".join(_text_in(orjson.loads(line), form) for line in lines)


def _text_in(frame: dict[str, Any], form: str) -> str:
    if form == "openai":
        return "".join(choice["delta"].get("content") or "" for choice in frame.get("choices", ()))
    if form == "anthropic":
        return str(frame.get("delta", {}).get("text", ""))
    return str(frame["delta"]) if frame["type"] == "response.output_text.delta" else ""


def asked(upstream: HostileUpstream, number: int = 1) -> dict[str, Any]:
    """The body of a request that the upstream saw."""
    return dict(orjson.loads(upstream.requests[number].body))


@pytest.mark.parametrize(
    ("caller", "first", "second"), TRIPLES, ids=[f"{c.name}-of-{f.name}-then-{s.name}" for c, f, s in TRIPLES]
)
def test_a_cut_answer_goes_on_in_the_same_stream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, first: Voice, second: Voice
) -> None:
    """Every client, whoever broke and whoever goes on; relayed streams too, as they are spelled anew there."""
    upstream.perform(cut(first), says(rest(second)))
    reply = ask(gateway.port, caller.request(f"{first.upstream}-then-{second.upstream}"))
    form = {"truss": "raw", "truss-chat": "openai"}.get(caller.name, caller.name)
    assert_finished(reply, form)
    assert text_of(reply, form) == WHOLE
    line = gateway.the_line()
    assert (line["end"], line["attempts"]) == ("complete", 2)
    assert (line["cut_by"], line["continued"]) == (first.upstream, f"able-{second.upstream}")
    assert "error" not in line


def test_the_second_is_asked_with_the_clients_own_messages_and_the_text_it_got(
    upstream: HostileUpstream, gateway: Gateway
) -> None:
    """No prompt of ours: one message, to the letter, and the client's limit less what it got."""
    upstream.perform(cut(OPENAI), says(rest(OPENAI)))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]
    ask(gateway.port, OPENAI_CALLER.request("openai-then-openai", messages=messages, max_tokens=64, top_k=7))
    first, second = asked(upstream, 0), asked(upstream)
    assert second.pop("messages") == [*messages, {"role": "assistant", "content": "Salt wind combs"}]
    assert (second.pop("max_tokens"), second.pop("continue_final_message")) == (61, True)
    assert (second.pop("add_generation_prompt"), second.pop("model")) == (False, "second")
    assert second == {name: value for name, value in first.items() if name not in ("messages", "max_tokens", "model")}


@pytest.mark.parametrize("tokens", range(1, len(BEGUN) + 1))
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_wherever_it_was_cut(upstream: HostileUpstream, gateway: Gateway, caller: Caller, tokens: int) -> None:
    upstream.perform(cut(ANTHROPIC, tokens), says(rest(OPENAI, *BEGUN[tokens:], *REST)))
    reply = ask(gateway.port, caller.request("anthropic-then-openai"))
    form = {"truss": "raw", "truss-chat": "openai"}.get(caller.name, caller.name)
    assert_finished(reply, form)
    assert text_of(reply, form) == WHOLE
    assert asked(upstream)["messages"][-1]["content"] == "".join(BEGUN[:tokens])


def then(last: bytes, *, resets: bool = False) -> Play:
    """The beginning of an answer, and a moment later what breaks it: what came with that was never sent."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(begun(OPENAI))
        await peer.rest(0.05)
        if resets:
            peer.reset()
        await peer.send(last)
        await peer.gone()

    return play


WAYS_TO_BREAK: Final[dict[str, Play]] = {
    "reset": then(b"", resets=True),
    "idle": hangs_after(begun(OPENAI)),
    "gibberish": then(chunk(OPENAI.gibberish[0])),
    "error": then(chunk(OPENAI.error)),
    "no terminator": says(begun(OPENAI) + LAST_CHUNK),
}


@pytest.mark.parametrize("way", WAYS_TO_BREAK)
def test_however_it_broke(upstream: HostileUpstream, gateway: Gateway, way: str) -> None:
    """And the connection to the first is closed, where it is still there."""
    upstream.perform(WAYS_TO_BREAK[way], says(rest(OPENAI)))
    reply = ask(gateway.port, ANTHROPIC_CALLER.request("openai-then-openai"))
    assert_finished(reply, "anthropic")
    assert text_of(reply, "anthropic") == WHOLE
    assert way == "no terminator" or upstream.peers[0].closed.wait(1)


def test_a_target_may_go_on_with_its_own_answer(upstream: HostileUpstream, gateway: Gateway) -> None:
    """A worker that was restarted, say."""
    upstream.perform(cut(OPENAI), says(rest(OPENAI)))
    reply = ask(gateway.port, OPENAI_CALLER.request("itself"))
    assert text_of(reply, "openai") == WHOLE
    assert gateway.the_line()["continued"] == "able-openai"


def test_the_client_pays_for_both_and_is_told(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(cut(ANTHROPIC), says(rest(ANTHROPIC)))
    ask(gateway.port, OPENAI_CALLER.request("anthropic-then-anthropic", stream_options={"include_usage": True}))
    line = gateway.the_line()
    assert (line["input_tokens"], line["output_tokens"]) == (6, 6)  # the first had counted 3 and 1 when it broke


# -- who is not asked, and what can't go on --------------------------------------------------------------------------


def _assert_honest(reply: Reply, gateway: Gateway, form: str) -> None:
    assert_broken(reply, form)
    line = gateway.the_line()
    assert line["end"] == "broken"
    assert "continued" not in line


def test_a_target_that_can_not_be_given_a_beginning_is_not_asked(upstream: HostileUpstream, gateway: Gateway) -> None:
    """The text ends in a blank, which this API refuses, and the text is never altered: the honest error stays."""
    upstream.perform(hangs_up_after(begun(OPENAI) + chunk(OPENAI.token(" "))), says(rest(ANTHROPIC)))
    _assert_honest(ask(gateway.port, OPENAI_CALLER.request("openai-then-anthropic")), gateway, "openai")
    assert len(upstream.requests) == 1


def test_a_prompt_is_not_made_another_prompt(upstream: HostileUpstream, gateway: Gateway) -> None:
    """A Truss client's raw prompt, at a model that continues messages: there is no message to add to."""
    upstream.perform(cut(OPENAI), says(rest(TRUSS_EVENTS)))
    _assert_honest(ask(gateway.port, TRUSS_CALLER.request("openai-then-truss")), gateway, "raw")
    assert len(upstream.requests) == 1


def test_a_refused_beginning_leaves_the_honest_error(upstream: HostileUpstream, gateway: Gateway) -> None:
    """The client hears what broke its answer, not what was tried against it."""
    refusal = sized(b'{"error":{"message":"no prefill here"}}', 400)
    upstream.perform(cut(OPENAI), says(refusal))
    reply = ask(gateway.port, OPENAI_CALLER.request("openai-then-openai"))
    _assert_honest(reply, gateway, "openai")
    assert b"prefill" not in reply.body
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_where_nobody_goes_on_the_client_can_tell(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    """The second breaks before it says anything, in its own way."""
    upstream.perform(cut(OPENAI), hangs_after(OPENAI.head + chunk(OPENAI.opening)))
    reply = ask(gateway.port, caller.request("openai-then-openai"))
    _assert_honest(reply, gateway, {"truss": "raw", "truss-chat": "openai"}.get(caller.name, caller.name))


def test_an_answer_that_breaks_twice_is_broken(upstream: HostileUpstream, gateway: Gateway) -> None:
    """With what both said, and not finished."""
    again = OPENAI.head + chunk(OPENAI.opening) + chunk(OPENAI.token(" the"))
    upstream.perform(cut(OPENAI), hangs_up_after(again), says(rest(OPENAI)))
    reply = ask(gateway.port, OPENAI_CALLER.request("openai-then-openai"))
    assert_broken(reply, "openai")
    assert text_of(reply, "openai") == "Salt wind combs the"
    assert len(upstream.requests) == 2
    line = gateway.the_line()
    assert (line["end"], line["continued"]) == ("broken", "able-openai")


def test_a_call_can_not_be_continued(upstream: HostileUpstream, gateway: Gateway) -> None:
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a"'}}
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    upstream.perform(hangs_up_after(begun(OPENAI) + chunk(b"data: %s\n\n" % orjson.dumps(delta))), says(rest(OPENAI)))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    reply = ask(gateway.port, OPENAI_CALLER.request("openai-then-openai", tools=[tool]))
    _assert_honest(reply, gateway, "openai")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [{"response_format": {"type": "json_object"}}, {"logprobs": True}, {"n": 2}],
    ids=lambda fields: str(fields),
)
def test_what_a_request_demands_can_not_be_halved(
    upstream: HostileUpstream, gateway: Gateway, fields: dict[str, Any]
) -> None:
    """Such answers are relayed byte for byte, as on any route."""
    upstream.perform(cut(OPENAI), says(rest(OPENAI)))
    reply = ask(gateway.port, OPENAI_CALLER.request("openai-then-openai", **fields))
    _assert_honest(reply, gateway, "openai")
    assert OPENAI.token(" wind") in reply.body


def test_a_client_that_leaves_is_not_asked_for(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(cut(OPENAI), hangs_after(OPENAI.head))
    with calling(gateway.port, TRUSS_CALLER.request("openai-then-openai")) as call:
        call.read_until(b"combs")
        upstream.wait_for_requests(2)
        call.leave()
    assert upstream.peers[1].closed.wait(1)
    assert gateway.the_line()["end"] == "client_left"


@pytest.mark.parametrize("has_rest", [True, False])
def test_an_old_client_gets_it_whole_or_hears_that_it_broke(
    upstream: HostileUpstream, gateway: Gateway, *, has_rest: bool
) -> None:
    """HTTP/1.0: the answer is collected, both parts of it."""
    upstream.perform(cut(OPENAI), says(rest(OPENAI)) if has_rest else says(sized(b"{}", 500)))
    reply = ask(gateway.port, TRUSS_CALLER.request("openai-then-openai", version="1.0"))
    assert reply.is_whole
    assert (reply.status, reply.body == WHOLE.encode()) == ((200, True) if has_rest else (502, False))


@pytest.mark.parametrize("has_rest", [True, False])
def test_an_answer_that_went_on_holds_nothing_of_its_request(
    upstream: HostileUpstream, gateway: Gateway, *, has_rest: bool
) -> None:
    """Its memory is given back when it ends, not when the garbage collector comes by."""
    gc.collect()
    before = Counter[str](of_requests())
    gc.disable()
    try:
        upstream.perform(cut(OPENAI), says(rest(OPENAI)) if has_rest else says(sized(b"{}", 500)))
        ask(gateway.port, OPENAI_CALLER.request("openai-then-openai"))
        gateway.forget()
        until(lambda: not Counter[str](of_requests()) - before, "the request is gone")
    finally:
        gc.enable()
