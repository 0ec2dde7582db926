"""One gateway and one hostile upstream for all of these tests; each test finds them clean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, hostile_upstream


@pytest.fixture(scope="session")
def the_upstream() -> Iterator[HostileUpstream]:
    with hostile_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def the_gateway(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(configuration(the_upstream.port)) as gateway:
        yield gateway


@pytest.fixture
def upstream(the_upstream: HostileUpstream) -> Iterator[HostileUpstream]:
    yield the_upstream
    the_upstream.reset()


@pytest.fixture
def gateway(the_gateway: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    the_gateway.forget()
    yield the_gateway
    assert not the_gateway.failures
