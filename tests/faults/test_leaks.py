"""After hundreds of faulty requests, descriptors and tasks are back to where they were (HARDENING.md §2, soak)."""

from __future__ import annotations

import gc
import os
from collections import Counter
from contextlib import suppress

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.attempt import Attempt, Call
from gateway.calling import Calling
from gateway.connection import Connection
from gateway.endpoint import Exchange
from gateway.neutral.request import Request
from gateway.relay.pump import Pump
from gateway.relay.sink import Sink
from gateway.trying import Trying
from gateway.upstreams.body import Body
from gateway.upstreams.response import ResponseParser
from tests.faults.callers import CALLERS, OPENAI_CALLER, ask, calling
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import (
    ANTHROPIC,
    LAST_CHUNK,
    OPENAI,
    TEXT,
    VOICES,
    Voice,
    answers,
    chunk,
    hangs_after,
    hangs_up_after,
    says,
    sized,
)
from tests.measured import measure


def resets_after(*parts: bytes) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)
        peer.reset()

    return play


def faults(voice: Voice) -> list[Play]:
    return [
        answers(voice),
        hangs_up_after(voice.first()),
        resets_after(voice.first()),
        resets_after(),
        hangs_after(voice.head),
        says(sized(b"{}", 500)),
        says(sized(voice.whole(TEXT)) + b"stray bytes"),
        says(voice.first() + chunk(b"data: {oops\n\n") + LAST_CHUNK),
        hangs_up_after(b"no http at all\r\n\r\n"),
        says(sized(b"x", 301)),
    ]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def cause_trouble(upstream: HostileUpstream, gateway: Gateway) -> int:
    """Every fault with every kind of client; some of them leave at once."""
    count = 0
    for voice in VOICES:
        for play in faults(voice):
            for caller in CALLERS:
                upstream.perform(play)
                stream = count % 3 != 0
                with calling(gateway.port, caller.request(f"quick-{voice.upstream}", stream=stream)) as call:
                    if count % 4 and not (play.__qualname__.startswith("hangs_after") and not stream):
                        call.read_reply()
                    else:
                        upstream.wait_for_requests(1)
                count += 1
                upstream.requests.clear()
    return count


@pytest.mark.slow
def test_hundreds_of_faulty_requests_leave_nothing_behind(upstream: HostileUpstream) -> None:
    with gateway_in_thread(configuration(upstream.port)) as gateway:
        cause_trouble(upstream, gateway)
        upstream.reset()
        gateway.forget()
        settle(gateway)
        tasks, files = gateway.tasks, descriptors()
        count = sum(cause_trouble(upstream, gateway) for _ in range(2))
        measure("faulty requests in the leak check", count)
        upstream.reset()
        gateway.forget()
        until(lambda: gateway.tasks <= tasks, f"the tasks are back to {tasks}", 5)
        until(lambda: descriptors() <= files, f"the descriptors are back to {files}", 5)
        assert not gateway.failures


def settle(gateway: Gateway) -> None:
    """Until two looks, some time apart, see the same."""
    seen: list[tuple[int, int]] = []

    def is_steady() -> bool:
        seen.append((gateway.tasks, descriptors()))
        return len(seen) > 50 and len(set(seen[-50:])) == 1

    until(is_steady, "the gateway came to rest")


ENDS: dict[str, tuple[Play, str, bool]] = {
    "whole, relayed": (answers(OPENAI), "openai", False),
    "streamed, relayed": (answers(OPENAI), "openai", True),
    "whole, translated": (answers(ANTHROPIC), "anthropic", False),
    "streamed, translated": (answers(ANTHROPIC), "anthropic", True),
    "refused": (says(sized(b"{}", 500)), "openai", True),
    "refused twice": (says(sized(b"{}", 500)), "spare-openai", True),
    "cut": (hangs_up_after(OPENAI.first()), "openai", True),
    "cut, translated": (hangs_up_after(ANTHROPIC.first()), "anthropic", True),
    "cut, refused": (hangs_up_after(ANTHROPIC.head), "anthropic", True),
    "reset": (resets_after(OPENAI.first()), "openai", True),
    "dropped": (resets_after(), "openai", True),
    "dropped twice": (resets_after(), "spare-openai", False),
    "no HTTP": (hangs_up_after(b"no http at all\r\n\r\n"), "openai", True),
    "malformed": (says(OPENAI.first() + chunk(b"data: {oops\n\n") + LAST_CHUNK), "openai", True),
    "malformed, translated": (says(ANTHROPIC.first() + chunk(b"data: {oops\n\n") + LAST_CHUNK), "anthropic", True),
    "late": (hangs_after(OPENAI.head), "quick-openai", True),
    "late in mid-stream": (hangs_after(OPENAI.first()), "quick-openai", True),
}
"""What the upstream does, the route to it, and whether a stream is asked for."""


OF_A_REQUEST = (
    Attempt,
    Call,
    Calling,
    Connection,
    Exchange,
    Pump,
    Request,
    RequestResponseCycle,
    Sink,
    Trying,
    Body,
    ResponseParser,
    httpx.Request,
    httpx.Response,
)


def of_requests() -> Counter[str]:
    """What there is of requests in this process, each by its kind; what was frozen is not looked at."""
    return Counter(type(value).__qualname__ for value in gc.get_objects() if isinstance(value, OF_A_REQUEST))


@pytest.mark.parametrize("end", ENDS)
def test_a_request_is_given_back_when_it_ends(upstream: HostileUpstream, gateway: Gateway, end: str) -> None:
    """Nothing of it waits for the garbage collector, which in a quiet process may not come by for a hundred images."""
    play, route, stream = ENDS[end]
    upstream.perform(play)
    gc.disable()
    gc.freeze()  # what other tests made for themselves
    try:
        ask(gateway.port, OPENAI_CALLER.request(route, stream=stream))
        gateway.forget()
        with suppress(AssertionError):
            until(lambda: not of_requests(), "the request is gone", 2)
        assert not of_requests()
    finally:
        gc.unfreeze()
        gc.enable()
