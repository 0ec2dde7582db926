"""How many checks it takes to believe them."""

from __future__ import annotations

import pytest

from gateway.config import HealthCheck
from gateway.routing.health import Health, noted

SETTINGS = HealthCheck(path="/health", unhealthy=3, healthy=2)


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        ("--", "++"),
        ("---", "++-"),
        ("--+--", "+++++"),
        ("---+", "++--"),
        ("---++", "++--+"),
        ("---+-++", "++----+"),
        ("+++---", "+++++-"),
    ],
)
def test_it_takes_some_in_a_row_to_change_what_is_believed(checks: str, told: str) -> None:
    health, seen = Health(), ""
    for check in checks:
        health = noted(health, SETTINGS, is_fine=check == "+")
        seen += "+" if health.is_healthy else "-"
    assert seen == told
