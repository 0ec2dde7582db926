"""What an upstream sends without saying anything is as good as silence: every deadline runs on (HARDENING.md §2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import orjson
import pytest

from tests.faults.callers import FOUR, Call, Caller, assert_broken, calling, told_error
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.voices import ANTHROPIC, OPENAI, RESPONSES, TRUSS_EVENTS, Voice, chunk
from tests.measured import measure

QUICK_S, SLACK_S, PAUSE_S = 0.25, 2.0, 0.04  # the promise is half a second; what it took is measured and printed


def _chat(delta: Any, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %s\n\n" % orjson.dumps(body | fields)


def _event(name: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


_COMMENTS: Final = {"comment": b": keep-alive\n\n", "empty comment": b":\n\n", "blank lines": b"\n\n"}
_CHAT_NOISE: Final = {
    **_COMMENTS,
    "no delta": _chat({}),
    "empty content": _chat({"content": ""}),
    "null content": _chat({"content": None}),
    "role again": _chat({"role": "assistant", "content": ""}),
    "empty reasoning": _chat({"content": "", "reasoning_content": "", "reasoning": None}),
    "empty calls": _chat({"content": None, "tool_calls": []}),
    "no choices": _chat({}, choices=[]),
    "usage so far": _chat({}, choices=[], usage={"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}),
}
_ITEM: Final[dict[str, Any]] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_RESPONSE: Final = {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "model": "m"}
NOISE: Final[dict[str, tuple[Voice, dict[str, bytes]]]] = {
    "openai": (OPENAI, _CHAT_NOISE),
    "truss": (TRUSS_EVENTS, _CHAT_NOISE),
    "anthropic": (
        ANTHROPIC,
        {
            **_COMMENTS,
            "ping": _event("ping"),
            "unknown event": _event("vendor_progress", percent=7),
            "empty text": _event("content_block_delta", index=0, delta={"type": "text_delta", "text": ""}),
        },
    ),
    "responses": (
        RESPONSES,
        {
            **_COMMENTS,
            "keepalive": _event("keepalive", sequence_number=7),
            "in progress": _event("response.in_progress", response=_RESPONSE),
            "queued": _event("response.queued", response=_RESPONSE),
            "empty text": _event("response.output_text.delta", **_ITEM, delta=""),
        },
    ),
}
CASES: Final = [
    pytest.param(voice, noise, id=f"{name}: {what}")
    for name, (voice, noises) in NOISE.items()
    for what, noise in noises.items()
]


def murmurs(*parts: bytes, noise: bytes) -> Play:
    """Sends these parts, then noise for ever."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)
        await peer.drip(chunk(noise), PAUSE_S)

    return play


@contextmanager
def all_calling(port: int, model: str) -> Iterator[list[tuple[Caller, Call]]]:
    """A client of each dialect, all at once: translated or not, what they get is read one after the other."""
    with ExitStack() as stack:
        yield [(caller, stack.enter_context(calling(port, caller.request(model)))) for caller in FOUR]


@pytest.mark.parametrize(("voice", "noise"), CASES)
def test_noise_is_no_first_token(upstream: HostileUpstream, gateway: Gateway, voice: Voice, noise: bytes) -> None:
    upstream.perform(murmurs(voice.head, chunk(voice.opening), noise=noise))
    begun = time.perf_counter()
    with all_calling(gateway.port, f"quick-{voice.upstream}") as calls:
        for caller, call in calls:
            reply = call.read_reply()
            assert reply.status == 504
            assert "first token" in told_error(reply, caller)
        took = time.perf_counter() - begun
    assert took < QUICK_S + SLACK_S
    measure("s beyond the limit until first_token was told, in noise", took - QUICK_S)


@pytest.mark.slow
@pytest.mark.parametrize(("voice", "noise"), CASES)
def test_noise_is_no_next_event(upstream: HostileUpstream, gateway: Gateway, voice: Voice, noise: bytes) -> None:
    upstream.perform(murmurs(voice.first(), noise=noise))
    with all_calling(gateway.port, f"quick-{voice.upstream}") as calls:
        for _, call in calls:
            call.read_until(b"wind")
        begun = time.perf_counter()
        for caller, call in calls:
            assert_broken(call.read_reply(), caller.form(voice))
        took = time.perf_counter() - begun
    assert took < QUICK_S + SLACK_S
    measure("s beyond the limit until idle was told, in noise", took - QUICK_S)
    assert upstream.peers[-1].closed.wait(1)
