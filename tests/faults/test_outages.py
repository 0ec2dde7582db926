"""Outages of the fault catalogue: an upstream is down for a while, then fine, and no client notices (issue 4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pytest

from gateway.config import Breaker, Config, parse
from tests.faults.acts import Cue
from tests.faults.callers import FOUR, Caller, read_reply
from tests.faults.catalogue import Outage, pages
from tests.faults.harness import KEY, Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, hostile_upstream
from tests.faults.sights import told
from tests.faults.voices import ANTHROPIC, OPENAI
from tests.measured import measure

OUTAGES: Final = [outage for page in pages() for outage in page.outages]
NAMES: Final = [outage.fault for outage in OUTAGES]
FASTER: Final = 20
"""How much faster than it is written an outage is played by default."""
_VOICES: Final = {"first": OPENAI, "second": ANTHROPIC}
_BASES: Final = {"first": "/v1", "second": ""}
_PATIENCE_S: Final = 20.0


@dataclass
class Weather:
    """What the upstreams do, and when they were called: the first is down until a moment on `time.perf_counter`."""

    outage: Outage
    fine_from: float
    calls: dict[str, list[float]] = field(default_factory=lambda: {"first": [], "second": []})

    def __call__(self, seen: Seen) -> Play:
        place = seen.target.split("/")[1]
        self.calls[place].append(seen.at)
        is_down = place == "first" and seen.at < self.fine_from
        act = self.outage.down if is_down else self.outage.second
        cue = Cue(act, _VOICES[place], "before the head", asyncio.Event(), "")

        async def play(peer: Peer, seen: Seen) -> None:
            await cue.play(peer, orjson.loads(seen.body).get("stream") is True)

        return play


def configuration(port: int, faster: float) -> Config:
    """A target and its fallback. The breaker's durations, which are seconds, pass faster too."""
    breaker = {
        name: f"{value / faster:.3f}s" if type(value) is float and name != "failure_rate" else value
        for name, value in Breaker().model_dump().items()
    }
    upstreams: dict[str, Any] = {
        place: {
            "dialect": voice.upstream,
            "url": f"http://127.0.0.1:{port}/{place}{_BASES[place]}",
            "key": KEY,
            "breaker": breaker,
        }
        for place, voice in _VOICES.items()
    }
    target, fallback = ({"upstream": place, "model": "m"} for place in _VOICES)
    routes = {"route": {"targets": [target], "fallback": [fallback]}}
    return parse(orjson.dumps({"server": {"port": "0"}, "upstreams": upstreams, "routes": routes}), "outage.yaml", {})


async def ask(gateway: Gateway, caller: Caller, seen: list[tuple[float, str, str]], *, stream: bool) -> None:
    """Notes when the answer was there, what it was, and whose."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(caller.request("route", stream=stream))
    async with asyncio.timeout(_PATIENCE_S):
        reply = read_reply(await reader.read())
    writer.close()
    upstream = reply.header("x-gateway-upstream")
    sight = told(reply, caller, caller.form(_VOICES[upstream or "first"]), stream=stream)
    seen.append((time.perf_counter(), sight.what if reply.status == 200 else str(sight), upstream))


async def traffic(outage: Outage, gateway: Gateway, ends_at: float, faster: float) -> list[tuple[float, str, str]]:
    """Steady, of all dialects in turn, streamed and whole."""
    seen: list[tuple[float, str, str]] = []
    count = 0
    async with asyncio.TaskGroup() as group:
        while time.perf_counter() < ends_at:
            group.create_task(ask(gateway, FOUR[count % len(FOUR)], seen, stream=count // len(FOUR) % 2 == 0))
            count += 1
            await asyncio.sleep(outage.every_s / faster)
    return seen


@contextmanager
def staged(faster: float) -> Iterator[tuple[HostileUpstream, Gateway]]:
    with hostile_upstream() as upstream, gateway_in_thread(configuration(upstream.port, faster)) as gateway:
        yield upstream, gateway


async def suffer(outage: Outage, faster: float) -> None:
    """The outage, and what must follow from it."""
    with staged(faster) as (upstream, gateway):
        begun = time.perf_counter()
        weather = Weather(outage, begun + outage.down_s / faster)
        upstream.direct(weather)
        seen = await traffic(outage, gateway, begun + outage.for_s / faster, faster)
    wrong = [what for _, what, _ in seen if what != outage.sees]
    assert not wrong, f"{outage.fault}: {len(wrong)} of {len(seen)} clients saw something else, first {wrong[0]}"
    vain = [at for at in weather.calls["first"] if at < weather.fine_from]
    measure(f"calls of a target that was down for {outage.down_s:g} s, of {len(seen)} ({outage.fault})", len(vain))
    assert 0 < len(vain) <= outage.calls_at_most
    back = [at - weather.fine_from for at, _, upstream in seen if upstream == "first" and at > weather.fine_from]
    assert back, f"{outage.fault}: not back in {outage.for_s - outage.down_s:g} s"
    measure(f"s until a target was back, in its own time ({outage.fault}, {faster:g} times faster)", back[0] * faster)
    assert back[0] <= outage.back_within_s / faster + 0.5


@pytest.mark.parametrize("outage", OUTAGES, ids=NAMES)
async def test_no_client_notices_an_outage_and_the_target_is_soon_back(outage: Outage) -> None:
    await suffer(outage, FASTER)


@pytest.mark.slow
@pytest.mark.parametrize("outage", OUTAGES, ids=NAMES)
async def test_no_client_notices_an_outage_that_takes_its_time(outage: Outage) -> None:
    await suffer(outage, 1)
