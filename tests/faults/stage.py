"""Plays the rows of the fault catalogue: real clients, one gateway, one upstream that breaks HTTP on request.

A *scene* is one row at one position for one client of one dialect, on an upstream of one dialect, streamed or whole.
Each has its own route and upstreams, told apart by their paths, so that many are played at once and none learns from
another.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from gateway.config import Config, parse
from gateway.dialects import DIALECTS
from tests.faults.acts import ACTS, Cue
from tests.faults.callers import FOUR, Caller, Reply, read_reply
from tests.faults.catalogue import PLACES, Asked, Expectation, Place, Position, Row
from tests.faults.harness import KEY, Gateway, free_port
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.sights import told
from tests.faults.voices import RAW, VOICES, Voice

assert [caller.dialect for caller in FOUR] == list(dict.fromkeys(caller.dialect for caller in FOUR))
assert {caller.dialect for caller in FOUR} == set(DIALECTS), "every dialect has its client"

PATIENCE_S: Final = 20.0
_SOON_S: Final = 2.0
_ENDS: Final = {"whole": "complete", "filtered": "complete", "broken": "broken"}
LIMITS: Final = {"port": "0", "max_event": "1MiB", "max_answer": "1MiB"}
"""Smaller than the defaults, so that what is endless is soon over."""


@dataclass(slots=True)
class Scene:
    """One playing of a row.

    `calls`: when each place was called for one call of the client, on the upstream's clock. `done`: how often in all.
    """

    name: str
    row: Row
    at: Position
    asked: Asked
    caller: Caller
    voice: Voice
    calls: dict[str, list[float]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    peers: list[Peer] = field(default_factory=list)
    slips: list[str] = field(default_factory=list)
    """Where what happened is not what the row says."""

    @property
    def title(self) -> str:
        return f"{self.caller.name} client, {self.voice.name} upstream, {self.asked}, {self.at}"

    def slip(self, expected: object, seen: object) -> None:
        self.slips.append(f"  {self.title}:\n    expected {expected}\n    seen     {seen}")


def scenes_of(row: Row, number: int, *, all_pairs: bool = False) -> Iterator[Scene]:
    """All scenes of a row; of pairs of dialects, each client's own and one other, which differs from row to row."""
    count = 0
    for at in row.at:
        for index, caller in enumerate(FOUR):
            if row.clients and caller.dialect not in row.clients:
                continue
            for voice in _voices(row, caller, number + index, all_pairs=all_pairs):
                for asked in row.asked:
                    if asked == "whole" and any(ACTS[act.does].in_stream for act in row.first):
                        continue
                    yield Scene(f"r{number}-{count}", row, at, asked, caller, voice)
                    count += 1


def _voices(row: Row, caller: Caller, turn: int, *, all_pairs: bool) -> list[Voice]:
    needs_frames = any(ACTS[act.does].needs_frames for act in (*row.first, *row.second))
    fit = [
        voice
        for voice in VOICES
        if (not row.voices or voice.name in row.voices) and not (needs_frames and voice is RAW)
    ]
    if all_pairs or len(fit) < 2:
        return fit
    own = [voice for voice in fit if voice.upstream == caller.dialect]
    others = [voice for voice in fit if voice.upstream != caller.dialect]
    return [chosen[turn % len(chosen)] for chosen in (own, others) if chosen]


# -- the gateway's configuration ---------------------------------------------------------------------------------------

_BASES: Final = {"openai": "/v1", "responses": "/v1", "anthropic": "", "truss": "/predict"}


def configuration(port: int, scenes: Sequence[Scene]) -> Config:
    """A route and its upstreams for each scene."""
    upstreams: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for scene in scenes:
        there = [place for place in PLACES if getattr(scene.row, place)]
        for place in there:
            upstreams[f"{scene.name}.{place}"] = _upstream(port, scene, place)
        targets = [
            {"upstream": f"{scene.name}.{place}", "model": "m", **scene.row.targets.get(place, {})} for place in there
        ]
        routes[scene.name] = {"targets": targets[:1], "fallback": targets[1:], **_ROUTE, **scene.row.route}
    return parse(orjson.dumps({"server": LIMITS, "upstreams": upstreams, "routes": routes}), "catalogue.yaml", {})


_ROUTE: Final[Mapping[str, Any]] = {"timeouts": {"connect": "3s", "first_token": "5s", "idle": "5s", "total": "15s"}}


def _upstream(port: int, scene: Scene, place: Place) -> dict[str, Any]:
    acts = getattr(scene.row, place)
    where = free_port() if acts[0].does == "unreachable" else port
    dialect = scene.voice.upstream
    url = f"http://127.0.0.1:{where}/{scene.name}/{place}{_BASES[dialect]}"
    return {"dialect": dialect, "url": url, "key": KEY, **scene.row.upstreams.get(place, {})}


# -- playing -----------------------------------------------------------------------------------------------------------


class Director:
    """Chooses what to play by the path of a call, and notes when it came."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = {scene.name: scene for scene in scenes}

    def __call__(self, seen: Seen) -> Play:
        _, name, place, *_ = seen.target.split("/")
        scene = self._scenes[name]
        calls = scene.calls.setdefault(place, [])
        calls.append(seen.at)
        acts = getattr(scene.row, place, ())
        if not acts:
            scene.slip("no call of anybody else", f"a call of {place}, with {[name for name, _ in seen.headers]}")
            return _hangs_up
        scene.done[place] += 1
        act = acts[min(scene.done[place], len(acts)) - 1]
        cue = Cue(act, scene.voice, act.at or scene.at, scene.heard, f"/{name}/elsewhere")

        async def play(peer: Peer, seen: Seen) -> None:
            scene.peers.append(peer)
            await cue.play(peer, orjson.loads(seen.body).get("stream") is True)

        return play


async def _hangs_up(peer: Peer, seen: Seen) -> None:
    peer.close()


async def play(scene: Scene, gateway: Gateway, upstream: HostileUpstream) -> None:
    """All calls of a scene, one after the other; what went wrong is in `scene.slips`."""
    for expected in (scene.row, *scene.row.then):
        if expected is not scene.row:
            await asyncio.sleep(expected.after_s)
        scene.calls.clear()
        begun = time.perf_counter()
        reply = await _call(scene, gateway, upstream)
        took_s = time.perf_counter() - begun
        if reply is None:
            scene.slip("a response", "not a byte of one")
        else:
            await _compare(scene, expected, reply, took_s, gateway)
        _compare_calls(scene, expected, begun)
    await _let_go(scene)


async def _let_go(scene: Scene) -> None:
    """Whatever upstreams do, no connection to them is held when the client has its answer."""
    taken = max((peer.taken / 2**20 for peer in scene.peers), default=0.0)
    if taken > scene.row.takes_mib:
        scene.slip(f"{scene.row.takes_mib} MiB at most to be read of an upstream", f"{taken:.1f} MiB")
    if not await _becomes(lambda: all(peer.closed.is_set() for peer in scene.peers)):
        scene.slip("every connection to an upstream to be closed", f"one that isn't after {_SOON_S} s")


async def _becomes(is_so: Callable[[], bool]) -> bool:
    """Whether it is so soon enough."""
    until = time.perf_counter() + _SOON_S
    while time.perf_counter() < until:
        if is_so():
            return True
        await asyncio.sleep(0.005)
    return False


async def _call(scene: Scene, gateway: Gateway, upstream: HostileUpstream) -> Reply | None:
    request = scene.caller.request(scene.name, stream=scene.asked == "stream", **scene.row.body)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    received, is_reset = b"", False
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            while data := await reader.read(1 << 16):
                received += data
                if b"wind" in received and not scene.heard.is_set():
                    upstream.tell(scene.heard)
    except ConnectionResetError:
        is_reset = True
    except TimeoutError:
        scene.slip("an end", f"none in {PATIENCE_S} s")
    finally:
        writer.close()
    return read_reply(received, is_reset=is_reset) if received else None


# -- comparing ---------------------------------------------------------------------------------------------------------


async def _compare(scene: Scene, expected: Expectation, reply: Reply, took_s: float, gateway: Gateway) -> None:
    sight = told(reply, scene.caller, scene.caller.form(scene.voice), stream=scene.asked == "stream")
    if not sight.is_seen_as(expected.sees):
        scene.slip(f"the client to see: {expected.sees}", sight)
    if expected.within is not None and took_s not in expected.within:
        scene.slip(f"the client to be done in {expected.within.low} to {expected.within.high} s", f"{took_s:.2f} s")
    if not re.search(expected.message, sight.message):
        scene.slip(f"a message with {expected.message!r}", repr(sight.message))
    for name, value in expected.headers.items():
        if reply.header(name) != value:
            scene.slip(f"{name}: {value}", reply.header(name))
    for hidden in (*scene.row.hides, KEY):
        if hidden.encode() in reply.body or hidden in str(reply.headers):
            scene.slip(f"{hidden!r} nowhere in the response", reply.body[:300])
    await _compare_line(scene, expected, reply, gateway)


def _compare_calls(scene: Scene, expected: Expectation, begun: float) -> None:
    for place, windows in expected.calls.items():
        if getattr(scene.row, place)[0].does == "unreachable":
            continue  # nobody is there to count
        seen = [at - begun for at in scene.calls.get(place, [])]
        is_so = len(seen) == len(windows) and all(at in window for at, window in zip(seen, windows, strict=True))
        if not is_so:
            wanted = ", ".join(f"{window.low:g} to {window.high:g} s" for window in windows) or "never"
            scene.slip(f"{place} to be called: {wanted}", ", ".join(f"{at:.2f} s" for at in seen) or "never")


async def _compare_line(scene: Scene, expected: Expectation, reply: Reply, gateway: Gateway) -> None:
    """One line of the log for each call, which says the same as the client saw."""
    request_id = reply.header("x-gateway-request-id")
    lines: list[dict[str, Any]] = []

    def is_written() -> bool:
        lines[:] = [line for line in list(gateway.lines) if line["request_id"] == request_id]
        return bool(lines)

    await _becomes(is_written)
    if len(lines) != 1:
        scene.slip(f"one line in the log for {request_id}", f"{len(lines)}")
        return
    wanted = {"end": _ENDS.get(expected.sees, "refused"), "status": reply.status, **expected.log}
    seen = {name: lines[0].get(name) for name in wanted}
    if seen != wanted:
        scene.slip(f"in the log {wanted}", f"{seen}")
