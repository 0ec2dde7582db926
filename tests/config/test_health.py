"""The settings of breakers and health checks, and what is said when they make no sense."""

from __future__ import annotations

import pytest

from gateway.config import Breaker, Config, ConfigError, HealthCheck, parse, schema
from gateway.config.upstream import Upstream


def config(settings: str) -> Config:
    text = f"upstreams:\n  a: {{dialect: openai, url: 'http://a', {settings}}}\nroutes: {{demo: a}}"
    return parse(text, "routes.yaml", {"OFF": "false"})


def upstream(settings: str) -> Upstream:
    return config(settings).upstreams["a"]


def refusal(settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(settings)
    return str(caught.value)


def test_a_breaker_is_on_and_checks_are_off_by_default() -> None:
    """20 s at most: a target that has recovered is back in less than 30."""
    expected = Breaker(failure_rate=0.5, window=30, min_requests=10, open=5, max_open=20, max_cool_down=60)
    assert upstream("").breaker == expected
    assert upstream("").health_check is None


@pytest.mark.parametrize("settings", ["breaker: ", "breaker: true", "breaker: {}"])
def test_a_breaker_left_empty_has_its_defaults(settings: str) -> None:
    assert upstream(settings).breaker == Breaker()


@pytest.mark.parametrize("settings", ["breaker: false", "breaker: off", "breaker: '${OFF}'"])
def test_a_breaker_may_be_turned_off(settings: str) -> None:
    assert upstream(settings).breaker is None


def test_settings_are_read() -> None:
    told = upstream("breaker: {failure_rate: 0.2, window: 1m, min_requests: 5, open: 500ms, max_open: 1m}").breaker
    assert told == Breaker(failure_rate=0.2, window=60, min_requests=5, open=0.5, max_open=60)
    check = upstream("health_check: {path: '/health?deep=1', every: 5s, timeout: 1s, unhealthy: 1, healthy: 1}")
    assert check.health_check == HealthCheck(path="/health?deep=1", every=5, timeout=1, unhealthy=1, healthy=1)
    assert upstream("health_check: {path: /}").health_check == HealthCheck(
        path="/", every=10, timeout=2, unhealthy=3, healthy=2
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("breaker: {open: 1m}", "breaker.open: longer than max_open (20s), so it would never be reached"),
        ("breaker: {failure_rate: 0}", "breaker.failure_rate: must be above 0"),
        ("breaker: {failure_rate: 50}", "breaker.failure_rate: must be at most 1, not 50"),
        ("breaker: {failure_rate: .nan}", 'breaker.failure_rate: expected a number, not ".nan"'),
        ("breaker: {failure_rate: nan}", 'breaker.failure_rate: must be at most 1, not "nan"'),
        ("breaker: {min_requests: 0}", "breaker.min_requests: must be at least 1, not 0"),
        ("breaker: {window: 30}", "breaker.window: 30: a duration needs a unit, like 60s, 250ms or 10m"),
        ("breaker: {windw: 30s}", 'breaker.windw: unknown setting; did you mean "window"?'),
        ("breaker: never", 'breaker: expected a mapping, not "never"'),
        ("health_check: /health", 'health_check: expected a mapping, not "/health"'),
        ("health_check: {}", "health_check.path: required, but not given"),
        (
            "health_check: {path: health}",
            'health_check.path: "health": expected a path that begins with /, like /health',
        ),
        (
            "health_check: {path: /h, timeout: 15s}",
            "health_check.timeout: longer than every (10s), so that checks would pile up",
        ),
        (
            "breaker: false, health_check: {path: /h}",
            "health_check: checks work by the breaker, which is turned off here",
        ),
    ],
)
def test_what_makes_no_sense_is_named(settings: str, message: str) -> None:
    assert refusal(settings) == f"routes.yaml:2: upstreams.a.{message}"


def test_the_schema_takes_false_for_a_breaker() -> None:
    told = schema()["$defs"]["Upstream"]["properties"]["breaker"]["anyOf"]
    assert {"$ref": "#/$defs/Breaker"} in told
    assert any("boolean" in one.get("type", ()) for one in told)
