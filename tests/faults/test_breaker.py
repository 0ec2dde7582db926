"""Targets that are left alone, and those that are not, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import ANTHROPIC_CALLER, OPENAI_CALLER, Reply, ask, calling, post
from tests.faults.harness import KEY, Gateway, gateway_in_thread, watched
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, hostile_upstream, until
from tests.faults.voices import ANTHROPIC, OPENAI, answers, chunk, hangs_after, hangs_up_after, sized

QUICK: Final = {"min_requests": "4", "open": "400ms", "max_open": "800ms"}
"""A breaker that opens, and is back, in less than a second."""
PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway before two upstreams. `call` asks the first one, and the other where the first is of no use."""

    gateway: Gateway
    first: HostileUpstream
    other: HostileUpstream

    def call(self, model: str = "both", *, stream: bool = True) -> Reply:
        return ask(self.gateway.port, OPENAI_CALLER.request(model, stream=stream))

    def served_by(self, model: str = "both") -> str:
        reply = self.call(model)
        assert reply.status == 200, reply
        return str(reply.header("x-gateway-upstream"))

    @property
    def news(self) -> str:
        return " | ".join(self.gateway.news)


@contextmanager
def stage(breaker: Any = QUICK, check: Any = None, **timeouts: str) -> Iterator[Stage]:
    with hostile_upstream() as first, hostile_upstream() as other:
        upstreams = {
            name: {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1", "key": KEY, "breaker": breaker}
            for name, upstream in (("first", first), ("other", other))
        }
        upstreams["first"] |= {"health_check": check} if check else {}
        limits = {"timeouts": timeouts, "retries": {"same_target": "0"}}
        routes = {
            "both": {"targets": [{"upstream": "first", "model": "m"}], "fallback": [{"upstream": "other"}], **limits},
            "single": {"targets": [{"upstream": "first", "model": "m"}], **limits},
        }
        text = orjson.dumps({"server": {"port": "0"}, "upstreams": upstreams, "routes": routes})
        other.perform(answers(OPENAI))
        with gateway_in_thread(parse(text, "breaker.yaml", {})) as gateway:
            yield Stage(gateway, first, other)
            until(lambda: not gateway.running, "every request is over")
            assert not gateway.failures


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage() as made:
        yield made


def refuses(status: int, body: bytes, *fields: tuple[str, str]) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(body, status, *fields))

    return play


async def resets(peer: Peer, seen: Seen) -> None:
    peer.reset()


def opened(scene: Stage, play: Play = resets) -> None:
    """Makes the first target fail until it is left alone."""
    scene.first.perform(play)
    until(lambda: scene.served_by() == "other" and "first/m is left alone" in scene.news, "it is left alone")


BROKEN: Final[dict[str, Play]] = {
    "reset": resets,
    "500": refuses(500, b'{"error": {"message": "oops"}}'),
    "no credential": refuses(401, b'{"error": {"message": "who?", "code": "invalid_api_key"}}'),
    "no credit": refuses(402, b'{"error": {"message": "pay", "code": "insufficient_quota"}}'),
    "limit": refuses(429, b'{"error": {"message": "slower"}}'),
    "not HTTP": hangs_up_after(b"hello\r\n\r\n"),
    "page": refuses(200, b"<html>", ("content-type", "text/html")),
    "gibberish": refuses(200, b"{oops"),
}


@pytest.mark.parametrize("play", BROKEN.values(), ids=BROKEN)
def test_a_target_that_fails_is_left_alone_after_some_tries(scene: Stage, play: Play) -> None:
    scene.first.perform(play)
    for _ in range(4):
        assert scene.served_by() == "other"
    assert len(scene.first.requests) == 4
    for _ in range(4):
        assert scene.served_by() == "other"
    assert len(scene.first.requests) == 4, "it was asked although it is open"
    assert "target first/m is left alone for 0." in scene.news


def test_a_target_whose_answers_all_break_off_is_left_alone(scene: Stage) -> None:
    """They had begun, so that these clients are told; the next ones are spared it."""
    scene.first.perform(hangs_up_after(OPENAI.first()))
    for _ in range(4):
        assert not scene.call().body.endswith(b"[DONE]\n\n")
    assert scene.served_by() == "other"


def test_a_target_that_keeps_silent_is_left_alone() -> None:
    with stage(first_token="150ms") as scene:
        scene.first.perform(hangs_after(OPENAI.head))
        for _ in range(4):
            assert scene.served_by() == "other"
        assert scene.served_by() == "other"
        assert len(scene.first.requests) == 4


REQUESTS_FAULT: Final[dict[str, Play]] = {
    "400": refuses(400, b'{"error": {"message": "no such field"}}'),
    "content filter": refuses(400, b'{"error": {"message": "flagged", "code": "content_filter"}}'),
    "flagged, in mid-stream": hangs_up_after(
        OPENAI.head + chunk(b'data: {"error": {"message": "flagged", "code": "content_filter"}}\n\n')
    ),
    "context length": refuses(400, b'{"error": {"message": "maximum context length is 10", "code": null}}'),
    "not found": refuses(404, b'{"error": {"message": "no such model", "code": "model_not_found"}}'),
    "conflict": refuses(409, b'{"error": {"message": "not twice"}}'),
    "too large": refuses(413, b'{"error": {"message": "too large"}}'),
    "unprocessable": refuses(422, b'{"detail": [{"loc": ["body"], "msg": "no"}]}'),
}


@pytest.mark.parametrize("play", REQUESTS_FAULT.values(), ids=REQUESTS_FAULT)
def test_one_client_with_bad_requests_takes_a_target_from_nobody(scene: Stage, play: Play) -> None:
    """Fifty of them; a good request then still goes where it should."""
    scene.first.perform(play)
    for _ in range(50):
        scene.call()
    assert len(scene.first.requests) == 50
    scene.first.perform(answers(OPENAI))
    assert scene.served_by() == "first"
    assert scene.news == ""


def test_clients_that_leave_take_a_target_from_nobody(scene: Stage) -> None:
    for play in (hangs_after(), hangs_after(OPENAI.first())):
        scene.first.perform(play)
        for _ in range(10):
            asked = len(scene.first.requests)
            with calling(scene.gateway.port, OPENAI_CALLER.request("both")):
                scene.first.wait_for_requests(asked + 1)
    until(lambda: not scene.gateway.running, "every request is over")
    scene.first.perform(answers(OPENAI))
    assert scene.served_by() == "first"
    assert scene.news == ""


def test_counts_that_fail_take_a_target_from_nobody_that_answers() -> None:
    """Counting is another call of the upstream, and may be down alone."""

    async def play(peer: Peer, seen: Seen) -> None:
        if seen.target.endswith("/count_tokens"):
            await peer.send(sized(b"{}", 500))
        else:
            await peer.send(ANTHROPIC.answer(seen))

    with hostile_upstream() as upstream:
        upstream.perform(play)
        server = {"dialect": "anthropic", "url": f"http://127.0.0.1:{upstream.port}", "breaker": QUICK}
        text = {
            "server": {"port": "0"},
            "upstreams": {"a": server, "b": {**server, "url": "http://127.0.0.1:1"}},
            "routes": {"demo": {"targets": [{"upstream": "a"}], "fallback": [{"upstream": "b"}]}},
        }
        with gateway_in_thread(parse(orjson.dumps(text), "counts.yaml", {})) as gateway:
            count = orjson.dumps(ANTHROPIC_CALLER.body("demo"))
            for _ in range(10):
                assert ask(gateway.port, post("/v1/messages/count_tokens", count)).status == 502
            assert ask(gateway.port, ANTHROPIC_CALLER.request("demo")).status == 200
            assert not gateway.news


def test_a_target_that_asks_to_be_left_alone_is_left_alone_at_once_and_as_long(scene: Stage) -> None:
    scene.first.perform(refuses(429, b'{"error": {"message": "slower"}}', ("retry-after", "1")), answers(OPENAI))
    begun = time.perf_counter()
    assert scene.served_by() == "other"
    until(lambda: scene.served_by() == "first", "it is back", PATIENCE_S)
    assert time.perf_counter() - begun >= 1.0
    assert len(scene.first.requests) == 2


def test_a_target_that_has_recovered_is_back_by_itself(scene: Stage) -> None:
    opened(scene)
    scene.first.perform(answers(OPENAI))
    until(lambda: scene.served_by() == "first", "it is back", PATIENCE_S)
    assert "target first/m is in use again" in scene.news


def test_the_last_target_is_never_left_alone(scene: Stage) -> None:
    opened(scene)
    asked = len(scene.first.requests)
    assert scene.call("single").status == 502
    assert len(scene.first.requests) == asked + 1
    scene.first.perform(answers(OPENAI))
    assert scene.served_by("single") == "first"
    assert scene.served_by() == "first", "an answer is an answer"


def test_where_all_targets_are_open_a_request_is_served_by_whichever_can(scene: Stage) -> None:
    scene.first.perform(resets)
    scene.other.perform(resets)
    for _ in range(6):
        assert scene.call().status == 502
    assert "first/m" in scene.news
    assert "other/both" in scene.news
    scene.other.perform(answers(OPENAI))
    assert scene.served_by() == "other"


def test_a_breaker_that_is_turned_off_leaves_nothing_alone() -> None:
    with stage(breaker=False) as scene:
        scene.first.perform(resets)
        for _ in range(20):
            assert scene.served_by() == "other"
        assert len(scene.first.requests) == 20


def test_a_herd_sends_one_probe(scene: Stage) -> None:
    """Fifty requests at once find it half-open: one goes and sees, the others go elsewhere (HARDENING.md §2)."""
    opened(scene)

    async def when_released(peer: Peer, seen: Seen) -> None:
        await peer.released()
        await peer.send(OPENAI.answer(seen))

    scene.first.perform(when_released)
    before = len(scene.first.requests)
    time.sleep(0.4)  # the while that it is left alone, at most
    with ThreadPoolExecutor(50) as pool:
        replies = [pool.submit(scene.served_by) for _ in range(50)]
        until(lambda: sum(reply.done() for reply in replies) == 49, "all but the probe are served")
        assert len(scene.first.requests) == before + 1
        scene.first.release()
        served = [reply.result() for reply in replies]
    assert sorted(served) == ["first"] + ["other"] * 49


def test_a_probe_whose_client_leaves_makes_room_for_the_next(scene: Stage) -> None:
    opened(scene)
    scene.first.perform(hangs_after())
    before = len(scene.first.requests)
    time.sleep(0.4)  # the while that it is left alone, at most
    with calling(scene.gateway.port, OPENAI_CALLER.request("both")):
        scene.first.wait_for_requests(before + 1)
        assert scene.served_by() == "other"
    scene.first.perform(answers(OPENAI))
    until(lambda: scene.served_by() == "first", "the next probe", PATIENCE_S)


# -- health checks ---------------------------------------------------------------------------------------------------

CHECK: Final = {"path": "/health", "every": "60ms", "timeout": "50ms", "unhealthy": "2", "healthy": "2"}


def health(answer: Callable[[], Play]) -> Play:
    """Answers checks as `answer` says at the time, and everything else well."""

    async def play(peer: Peer, seen: Seen) -> None:
        await (answer() if seen.method == "GET" else answers(OPENAI))(peer, seen)

    return play


def checks(upstream: HostileUpstream) -> list[Seen]:
    return [seen for seen in upstream.requests if seen.method == "GET"]


SICK: Final[dict[str, Play]] = {
    "503": refuses(503, b"{}"),
    "404": refuses(404, b"{}"),
    "redirect": refuses(302, b"", ("location", "/elsewhere")),
    "silence": hangs_after(),
    "reset": resets,
}


@pytest.mark.parametrize("sick", SICK.values(), ids=SICK)
def test_an_upstream_that_fails_its_checks_is_left_alone_until_it_passes_them(sick: Play) -> None:
    now = [sick]
    with stage(check=CHECK) as scene:
        scene.first.perform(health(lambda: now[0]))
        until(lambda: scene.served_by() == "other", "it is left alone", PATIENCE_S)
        assert "upstream first is left alone: 2 health checks in a row failed" in scene.news
        time.sleep(0.3)  # longer than a failed check counts if no other followed it
        assert scene.served_by() == "other"
        now[0] = refuses(204, b"")
        until(lambda: scene.served_by() == "first", "it is back", PATIENCE_S)
        assert "upstream first is healthy again" in scene.news
    assert {seen.target for seen in checks(scene.first)} == {"/health"}


def test_checks_let_a_probe_through_sooner() -> None:
    """The breaker alone would take a minute."""
    with stage({"min_requests": "2", "open": "60s", "max_open": "60s"}, CHECK) as scene:
        scene.first.perform(health(lambda: refuses(200, b"{}")))
        scene.first.perform(resets)
        for _ in range(2):
            assert scene.served_by() == "other"
        scene.first.perform(health(lambda: refuses(200, b"{}")))
        until(lambda: scene.served_by() == "first", "it is back", PATIENCE_S)


def test_a_check_is_called_as_the_upstream_always_is() -> None:
    with stage(check=CHECK) as scene:
        scene.first.perform(health(lambda: refuses(200, b"{}")))
        until(lambda: len(checks(scene.first)) > 2, "some checks")
        check = checks(scene.first)[0]
    assert check.values("authorization") == [f"Bearer {KEY}"]
    assert check.values("content-type") == []
    assert check.body == b""


def test_checks_end_with_the_gateway() -> None:
    with hostile_upstream() as upstream:
        text = {
            "server": {"port": "0"},
            "upstreams": {
                "a": {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1", "health_check": CHECK}
            },
            "routes": {"demo": "a"},
        }
        with gateway_in_thread(parse(orjson.dumps(text), "checks.yaml", {})):
            upstream.wait_for_requests(2)
        until(lambda: all(peer.closed.is_set() for peer in upstream.peers), "no check is under way")
        assert len(set(watched(lambda: len(upstream.requests), 0.3))) == 1
