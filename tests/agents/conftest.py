"""Fixtures of the agents' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.upstreams import Gateways, gateways


@pytest.fixture(scope="session")
def gws() -> Iterator[Gateways]:
    """Gateways before each kind of upstream, shared by all tests here."""
    with gateways() as running:
        yield running
