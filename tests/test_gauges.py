"""How things stand, as a meter is told it; and what a gateway says whose metrics have no place."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from gateway import serving
from gateway.attempt import InForce, Services
from gateway.config import Config, HealthCheck, parse
from gateway.exit_codes import ExitCode
from gateway.gauges import BEAT_S, Gauges, why_not_ready
from gateway.routing.table import Table
from gateway.telemetry import metrics, prometheus
from gateway.telemetry.meter import Unmetered
from gateway.telemetry.metrics import Metric
from gateway.workers.supervisor import Supervisor

Place = tuple[Metric, tuple[str, ...]]


class Told(Unmetered):
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.streams: dict[str, int] = {}
        self.levels: dict[Place, float] = {}
        self.totals: dict[Place, float] = {}
        self.lags: list[float] = []

    def set(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        self.levels[metric, labels] = value

    def add(self, metric: Metric, labels: tuple[str, ...], amount: float) -> None:
        self.totals[metric, labels] = self.totals.get((metric, labels), 0.0) + amount

    def observe(self, metric: Metric, value: float) -> None:
        assert metric is metrics.LOOP_LAG
        self.lags.append(value)

    def page(self, accept: str) -> tuple[bytes, str]:
        raise AssertionError("nobody asked for it")


def config(*upstreams: str) -> Config:
    told = {name: {"dialect": "openai", "url": "http://127.0.0.1:9/v1"} for name in upstreams}
    routes = {"r-*": {"targets": [{"upstream": name} for name in upstreams]}}
    return parse(orjson.dumps({"upstreams": told, "routes": routes}), "gauges", {})


def in_force_of(known: Config) -> InForce:
    nothing = cast("Any", None)
    return InForce(Services(known.server, Table(known), nothing, nothing, nothing))


async def test_every_target_is_told_before_it_is_called() -> None:
    """By its upstream and its model as configured: of a pattern, the pattern."""
    told = Told()
    Gauges(in_force_of(config("a", "b")), told).tell()
    assert {labels for metric, labels in told.levels if metric is metrics.BREAKER_STATE} == {("a", "r-*"), ("b", "r-*")}
    assert told.levels[metrics.UPSTREAM_HEALTHY, ("a",)] == 1
    assert set(told.levels.values()) == {0, 1}


async def test_what_is_configured_no_more_comes_to_rest() -> None:
    """Else its last alarm would ring for ever."""
    told, in_force = Told(), in_force_of(config("a", "b"))
    gauges, states = Gauges(in_force, told), in_force.services.states
    states.upstream("b").in_flight = 3
    states.upstream("b").health = replace(states.upstream("b").health, is_healthy=False)
    gauges.tell()
    assert told.levels[metrics.ATTEMPTS_IN_FLIGHT, ("b",)] == 3
    assert told.levels[metrics.UPSTREAM_HEALTHY, ("b",)] == 0
    in_force.services = replace(in_force.services, table=Table(config("a")))
    gauges.tell()
    assert told.levels[metrics.ATTEMPTS_IN_FLIGHT, ("b",)] == 0
    assert told.levels[metrics.UPSTREAM_HEALTHY, ("b",)] == 1


async def test_what_is_counted_elsewhere_only_ever_grows() -> None:
    """Also where a reload has made another server of an upstream, whose count begins at nothing."""
    told, in_force = Told(), in_force_of(config("a"))
    gauges, admission = Gauges(in_force, told), in_force.services.states.upstream("a").admission
    for refused, expected in ((0, None), (2, 2), (5, 5), (5, 5), (1, 6)):
        admission.refused = refused
        gauges.tell()
        assert told.totals.get((metrics.QUEUE_REFUSALS, ("a",))) == expected


async def test_a_beat_tells_how_late_it_came_until_it_is_stopped() -> None:
    told = Told()
    gauges = Gauges(in_force_of(config("a")), told)
    gauges.start()
    await asyncio.sleep(0)
    time.sleep(BEAT_S + 0.1)  # noqa: ASYNC251  what holds the loop up
    await asyncio.sleep(0)
    await asyncio.sleep(BEAT_S / 2)
    assert len(told.lags) == 1
    assert told.lags[0] > 0.09
    gauges.stop()
    await asyncio.sleep(BEAT_S + 0.1)
    assert len(told.lags) == 1


async def test_one_usable_upstream_is_enough_to_be_ready() -> None:
    in_force = in_force_of(config("a", "b"))
    states = in_force.services.states
    check = HealthCheck(path="/health", unhealthy=1)
    now = asyncio.get_running_loop().time()
    assert why_not_ready(in_force) == {}
    states.checked("a", check, now, is_fine=False)
    assert why_not_ready(in_force) == {}
    states.checked("b", check, now, is_fine=False)
    failing = "its health checks fail"
    assert why_not_ready(in_force) == {"status": "no usable upstream", "upstreams": {"a": failing, "b": failing}}
    in_force.running.drain()
    assert why_not_ready(in_force) == {"status": "draining"}


def test_workers_that_have_nowhere_to_count_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def nowhere() -> Any:
        raise FileNotFoundError(2, "No usable temporary directory found")
        yield

    monkeypatch.setattr(prometheus, "shared_folder", nowhere)
    with caplog.at_level(logging.ERROR, "triglot"):
        assert serving._metered(cast("Supervisor", None)) == ExitCode.CANNOT_START
    assert "set TMPDIR, or server.metrics: off" in caplog.text
