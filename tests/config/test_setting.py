"""The list of all settings: complete, as one would write them, and without secrets."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from gateway.config import parse
from gateway.config.section import Section
from gateway.config.setting import settings
from gateway.config.units import spelled_size, spelled_time

TEXT = """
upstreams:
  a: {dialect: openai, url: "https://a.example.com/v1", key: sk-canary, breaker: {window: 90s, failure_rate: 0.25}}
  b: {dialect: openai, url: "https://b.example.com/v1", breaker: false}
routes:
  demo: {targets: [{upstream: a}, {upstream: b}], balance: {prefix: {read: 2KiB}}, timeouts: {idle: 1500ms}}
"""
CONFIG = parse(TEXT, "routes.yaml", {})
ROUTE, UPSTREAM = CONFIG.routes["demo"], CONFIG.upstreams["a"]


def told(section: Section, *besides: str) -> dict[str, str]:
    return {setting.path: setting.text for setting in settings(section, besides)}


def test_settings_are_told_as_one_would_write_them() -> None:
    assert told(ROUTE, "targets")["timeouts.idle"] == "1500ms"
    assert told(ROUTE)["timeouts.total"] == "10m"
    assert told(ROUTE)["strict"] == "no"
    assert told(UPSTREAM)["breaker.window"] == "90s"
    assert told(UPSTREAM)["breaker.failure_rate"] == "0.25"
    assert told(CONFIG.server)["max_body"] == "32MiB"
    assert told(CONFIG.upstreams["b"])["breaker"] == "none"


def test_a_balance_is_told_by_its_name_and_settings() -> None:
    found = {path: text for path, text in told(ROUTE).items() if path.startswith("balance")}
    assert found == {"balance": "prefix", "balance.prefix.max_load": "1.25", "balance.prefix.read": "2KiB"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("balance: fastest", ("balance", "fastest")),
        ("balance: {sticky: user}", ("balance.sticky", "user")),
        ("balance: {sticky: {header: X-S}}", ("balance.sticky.header", "x-s")),
        ("hedge: {after: 1500ms}", ("hedge.after", "1500ms")),
        ("hedge: {after: p95}", ("hedge.after", "p95")),
        ("on_disconnect: finish", ("on_disconnect", "finish")),
        ("on_disconnect: {drain: 5s}", ("on_disconnect.drain", "5s")),
    ],
)
def test_a_section_that_is_written_as_a_word_is_told_as_that_word(written: str, expected: tuple[str, str]) -> None:
    route = parse(TEXT.replace("balance: {prefix: {read: 2KiB}}", written), "routes.yaml", {}).routes["demo"]
    path, text = expected
    assert told(route)[path] == text


def test_what_somebody_wrote_is_marked() -> None:
    written = {setting.path for setting in settings(ROUTE, ("targets",)) if setting.is_written}
    assert written == {"balance", "balance.prefix.read", "timeouts.idle"}


@pytest.mark.parametrize("section", [ROUTE, UPSTREAM, CONFIG.server], ids=lambda section: type(section).__name__)
def test_every_setting_is_told_but_secrets(section: BaseModel) -> None:
    """So that one added later shows without a change here."""
    assert isinstance(section, Section)
    names = {setting.path.partition(".")[0] for setting in settings(section)}
    assert names | {"key"} == set(type(section).model_fields) | {"key"}
    assert "sk-canary" not in str(list(settings(section)))


def test_what_is_told_elsewhere_is_left_out() -> None:
    assert not {"targets", "fallback"} & told(ROUTE, "targets", "fallback").keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (1, "1s"), (1.5, "1500ms"), (60, "1m"), (90, "90s"), (3600, "1h"), (0, "0ms"), (0.0005, "0.5ms")],
)
def test_durations_are_spelled(seconds: float, text: str) -> None:
    assert spelled_time(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(1, "1B"), (1500, "1500B"), (65536, "64KiB"), (8 * 1024**2, "8MiB")])
def test_sizes_are_spelled(size: int, text: str) -> None:
    assert spelled_size(size) == text
