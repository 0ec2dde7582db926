"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.clients import CLIENTS
from tests.e2e.gateway_process import World, route_name, world
from tests.e2e.scripts import FAULTS, PACED, PROMPT, QUICK, faulty


@pytest.fixture(scope="session")
def gw() -> Iterator[World]:
    """Routes `kind:script` for every script of these tests, shared by them all."""
    with world(QUICK, PACED, *map(faulty, FAULTS)) as running:
        for client in CLIENTS.values():  # the SDKs load most of themselves in a first call: no test should time that
            client.stream(running.url, route_name("openai", QUICK), PROMPT)
        yield running
