"""`/metrics` over real sockets: what happened is counted once, under names from the configuration only."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from gateway.gauges import BEAT_S
from gateway.telemetry.metrics import METRICS
from tests.faults.callers import ANTHROPIC_CALLER, OPENAI_CALLER, ask, calling, post
from tests.faults.harness import Gateway, gateway_in_thread, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until
from tests.faults.scraped import GET, families, get, series, value
from tests.faults.test_slow_clients import SMALL, endless
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, answers, chunk, hangs_up_after, sized
from tests.sockets import connected

MADE_UP: Final = 10_000
REQUESTS: Final = "triglot_requests_total"


@contextmanager
def counting(upstream: HostileUpstream, **server: Any) -> Iterator[Gateway]:
    """A gateway that has counted nothing yet. `open-*` is a pattern on the simulator, which answers at once."""
    config = orjson.loads(settings(upstream.port, server=server))
    config["upstreams"]["sim"] = {"dialect": "openai", "url": "simulator://?ttft=0ms&tps=100000"}
    config["routes"]["open-*"] = {"targets": [{"upstream": "sim"}]}
    config["routes"]["two"] = {
        "targets": [{"upstream": "openai", "model": "first"}],
        "fallback": [{"upstream": "anthropic", "model": "second"}],
        "retries": {"same_target": 1, "backoff": "1ms"},
    }
    with gateway_in_thread(parse(orjson.dumps(config), "metrics.yaml", {})) as gateway:
        yield gateway


@pytest.fixture
def counted(upstream: HostileUpstream) -> Iterator[Gateway]:
    with counting(upstream) as gateway:
        yield gateway
        assert not gateway.failures


def settled(gateway: Gateway) -> int:
    """The port, once every request is over: it is counted at its end, which its client may see before."""
    until(lambda: not gateway.running, "every request is over")
    return gateway.port


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_has_every_metric_of_the_table_and_no_other(counted: Gateway) -> None:
    """From the first moment on, with its type and what it means."""
    assert families(counted.port) == {metric.name: str(metric.kind) for metric in METRICS}
    text = get(counted.port, "/metrics").body.decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.meaning}\n" in text


def test_who_asks_for_openmetrics_gets_it(counted: Gateway) -> None:
    accept = b"\r\naccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    request = (GET % b"/metrics").replace(b"\r\n\r\n", accept)
    reply = ask(counted.port, request)
    assert reply.header("content-type").startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")
    assert get(counted.port, "/metrics").header("content-type").startswith("text/plain")


def test_the_page_is_for_reading(counted: Gateway) -> None:
    assert ask(counted.port, post("/metrics", b"{}")).status == 405


def test_metrics_can_be_turned_off(upstream: HostileUpstream) -> None:
    """Then there is no such path, and requests go their way."""
    upstream.perform(answers(OPENAI))
    with counting(upstream, metrics="off") as gateway:
        assert get(gateway.port, "/metrics").status == 404
        assert ask(gateway.port, OPENAI_CALLER.request("openai")).status == 200


def test_a_gateway_without_metrics_loads_no_library_for_them() -> None:
    """It is a megabyte."""
    code = (
        "import sys; from gateway import app; from gateway.config import parse;"
        "app.build(parse(sys.argv[1].encode(), '', {})); print('prometheus_client' in sys.modules)"
    )
    said = [
        subprocess.check_output([sys.executable, "-c", code, settings(9, server={"metrics": state}).decode()])
        for state in ("on", "off")
    ]
    assert said == [b"True\n", b"False\n"]


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_a_request_is_counted_where_it_went_and_how_it_ended(upstream: HostileUpstream, counted: Gateway) -> None:
    upstream.perform(answers(ANTHROPIC))
    for stream in (True, False):
        assert ask(counted.port, OPENAI_CALLER.request("anthropic", stream=stream)).status == 200
    upstream.perform(hangs_up_after(ANTHROPIC.first()))
    ask(counted.port, OPENAI_CALLER.request("anthropic"))
    went = {"route": "anthropic", "upstream": "anthropic", "client_dialect": "openai", "upstream_dialect": "anthropic"}
    found = series(settled(counted))
    assert found[REQUESTS, frozenset({**went, "end": "complete", "error": ""}.items())] == 2
    assert found[REQUESTS, frozenset({**went, "end": "broken", "error": "upstream"}.items())] == 1
    assert value(counted.port, REQUESTS) == 3
    assert value(counted.port, "triglot_attempts_total", upstream="anthropic", end="complete") == 2


def test_opentelemetrys_metrics_tell_durations_first_tokens_and_usage(
    upstream: HostileUpstream, counted: Gateway
) -> None:
    """A whole answer has no first token; an embedding is another operation."""
    upstream.perform(answers(ANTHROPIC))
    for stream in (True, False):
        assert ask(counted.port, ANTHROPIC_CALLER.request("anthropic", stream=stream)).status == 200
    port = settled(counted)
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "anthropic",
        "gen_ai_request_model": "anthropic",
        "upstream": "anthropic",
    }
    assert value(port, "gen_ai_server_request_duration_seconds_count", **labels, error_type="") == 2
    assert value(port, "gen_ai_client_operation_duration_seconds_count", **labels, error_type="") == 2
    assert value(port, "gen_ai_server_time_to_first_token_seconds_count", **labels) == 1
    lines = counted.lines
    for way in ("input", "output"):
        told = {**labels, "gen_ai_token_type": way}
        assert value(port, "gen_ai_client_token_usage_count", **told) == 2
        assert value(port, "gen_ai_client_token_usage_sum", **told) == sum(line[f"{way}_tokens"] for line in lines)
    seconds = sum(line["duration_ms"] for line in lines) / 1000
    assert value(port, "gen_ai_server_request_duration_seconds_sum", **labels) == pytest.approx(seconds)


def test_retries_and_failovers_are_told_apart(upstream: HostileUpstream, counted: Gateway) -> None:
    async def second_answers(peer: Peer, seen: Seen) -> None:
        if seen.target == "first":
            peer.reset()
        else:
            await answers(ANTHROPIC)(peer, seen)

    upstream.perform(second_answers)
    assert ask(counted.port, OPENAI_CALLER.request("two")).status == 200
    port = settled(counted)
    ends = Counter((tried["upstream"], tried["end"]) for tried in counted.the_line()["tries"])
    assert ends["anthropic", "complete"] == 1
    for (name, end), times in ends.items():
        assert value(port, "triglot_attempts_total", route="two", upstream=name, end=end) == times
    assert value(port, "triglot_attempts_total", route="two", upstream="openai") == 2
    assert value(port, "triglot_retries_total", route="two", upstream="openai") == 1
    assert value(port, "triglot_failovers_total", route="two", upstream="openai") == 1
    assert value(port, "triglot_retries_total") == value(port, "triglot_failovers_total") == 1


def test_dropped_and_adapted_fields_are_counted(upstream: HostileUpstream, counted: Gateway) -> None:
    """As many as the response headers name."""
    upstream.perform(answers(ANTHROPIC))
    reply = ask(counted.port, OPENAI_CALLER.request("anthropic", seed=1, logit_bias={"1": 1}, reasoning_effort="low"))
    named = {way: str(reply.header(f"x-gateway-{way}") or "") for way in ("dropped", "adapted")}
    assert named["dropped"]
    port = settled(counted)
    for way, names in named.items():
        assert value(port, f"triglot_fields_{way}_total", route="anthropic") == len(
            list(filter(None, names.split(",")))
        )


def test_streams_in_flight_go_up_and_down(upstream: HostileUpstream, counted: Gateway) -> None:
    async def waits(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.released()
        await peer.send(chunk(OPENAI.finish + OPENAI.terminator), LAST_CHUNK)

    upstream.perform(waits)
    with calling(counted.port, OPENAI_CALLER.request("openai")) as call:
        call.read_until(b"data:")
        assert value(counted.port, "triglot_streams_in_flight", route="openai") == 1
        assert value(counted.port, "triglot_attempts_in_flight", upstream="openai") == 1
        assert value(counted.port, "triglot_requests_in_flight") == 1
        upstream.release()
        call.read_reply()
    until(lambda: not value(counted.port, "triglot_streams_in_flight"), "the stream is over")
    assert value(counted.port, "triglot_requests_in_flight") == 0


def test_pauses_for_a_client_that_takes_nothing_are_counted(upstream: HostileUpstream, counted: Gateway) -> None:
    """Also of one that never took the rest."""
    upstream.perform(endless(OPENAI))
    with calling(counted.port, OPENAI_CALLER.request("openai"), SMALL) as call:
        call.read_until(b"data:")
        peer = upstream.wait_for_requests(1)
        until(lambda: peer.is_stuck(), "backpressure has reached the upstream")
    assert 0.1 < value(settled(counted), "triglot_client_pause_seconds_total", route="openai") < 5


def test_a_client_that_reads_never_pauses_its_answer(upstream: HostileUpstream, counted: Gateway) -> None:
    upstream.perform(answers(OPENAI))
    ask(counted.port, OPENAI_CALLER.request("openai"))
    assert value(settled(counted), "triglot_client_pause_seconds_total") == 0


def test_a_loop_that_is_held_up_shows(upstream: HostileUpstream, counted: Gateway) -> None:
    """Nobody's doing but ours; it should never be seen."""
    ask(counted.port, OPENAI_CALLER.request("nobody"))
    assert counted.loop is not None
    counted.loop.call_soon_threadsafe(time.sleep, 2 * BEAT_S)  # so that a beat is due in its first half
    lag = "triglot_event_loop_lag_seconds"
    until(
        lambda: value(counted.port, f"{lag}_count") > value(counted.port, f"{lag}_bucket", le="0.25"),
        "a beat came later than 250 ms",
    )


# -- nothing but names from the configuration --------------------------------------------------------------------------


def _made_up(chance: random.Random) -> Iterator[bytes]:
    """Requests as a stranger makes them: models that nobody has, or a pattern takes, each with a key of its own."""
    for number in range(MADE_UP):
        name = f"{chance.choice(['', 'open-', 'sk-'])}{chance.getrandbits(64):x}"
        body = orjson.dumps({"model": name, "messages": [{"role": "user", "content": "hi"}]})
        yield post("/v1/chat/completions", body, f"authorization: Bearer sk-{number}-{name}", close=False)


@pytest.mark.slow
def test_ten_thousand_made_up_models_and_keys_make_no_series(counted: Gateway) -> None:
    """Those that nobody serves are one, and those of a pattern are the pattern's."""
    made_up = list(_made_up(random.Random(6)))
    chance = random.Random(7)
    with connected(counted.port) as client:
        for request in chance.sample(made_up, 20):
            client.send(request)
            client.read_answer()
        before = set(series(settled(counted)))
        for request in made_up:
            client.send(request)
            client.read_answer()
    port = settled(counted)
    assert set(series(port)) == before
    assert value(port, REQUESTS) == MADE_UP + 20
    assert value(port, REQUESTS, route="open-*", end="complete") > MADE_UP / 4
    assert b"sk-" not in get(port, "/metrics").body


# -- readiness ---------------------------------------------------------------------------------------------------------

QUICK: Final = {"min_requests": "2", "open": "400ms", "max_open": "800ms"}


@contextmanager
def one_upstream(upstream: HostileUpstream, **more: Any) -> Iterator[Gateway]:
    url = f"http://127.0.0.1:{upstream.port}/v1"
    config = {
        "server": {"port": "0"},
        "upstreams": {"only": {"dialect": "openai", "url": url, **more}},
        "routes": {"one": {"targets": [{"upstream": "only", "model": "m"}], "retries": {"same_target": 0}}},
    }
    with gateway_in_thread(parse(orjson.dumps(config), "ready.yaml", {})) as gateway:
        yield gateway


def test_without_a_usable_upstream_it_is_not_ready_and_says_why(upstream: HostileUpstream) -> None:
    """And ready again once its breaker lets a call through."""
    upstream.perform(hangs_up_after())
    with one_upstream(upstream, breaker=QUICK) as gateway:
        assert orjson.loads(get(gateway.port, "/readyz").body) == {"status": "ok"}
        for _ in range(2):
            ask(gateway.port, OPENAI_CALLER.request("one"))
        reply = get(gateway.port, "/readyz")
        assert reply.status == 503
        assert orjson.loads(reply.body) == {
            "status": "no usable upstream",
            "upstreams": {"only": "all its breakers are open"},
        }
        assert value(gateway.port, "triglot_breaker_state", upstream="only", model="m") == 2
        assert value(gateway.port, "triglot_breaker_openings_total", upstream="only", model="m") == 1
        assert get(gateway.port, "/livez").status == 200
        until(lambda: get(gateway.port, "/readyz").status == 200, "it is ready again")
        assert value(gateway.port, "triglot_breaker_state", upstream="only", model="m") == 1


def test_failing_health_checks_make_it_not_ready(upstream: HostileUpstream) -> None:
    async def ill(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(b"{}", 500))

    async def well(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(b"{}", 200))

    check = {"path": "/health", "every": "100ms", "timeout": "100ms", "unhealthy": 1, "healthy": 1}
    upstream.perform(ill)
    with one_upstream(upstream, health_check=check) as gateway:
        until(lambda: get(gateway.port, "/readyz").status == 503, "its upstream is ill")
        why = orjson.loads(get(gateway.port, "/readyz").body)
        assert why == {"status": "no usable upstream", "upstreams": {"only": "its health checks fail"}}
        assert value(gateway.port, "triglot_upstream_healthy", upstream="only") == 0
        upstream.perform(well)
        until(lambda: get(gateway.port, "/readyz").status == 200, "its upstream is well")
        assert value(gateway.port, "triglot_upstream_healthy", upstream="only") == 1
