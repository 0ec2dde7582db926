"""A hostile upstream, a gateway before it, and each proxy before that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.proxies import PROXIES, Proxy, Running, running
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, hostile_upstream


@pytest.fixture(scope="package")
def the_upstream() -> Iterator[HostileUpstream]:
    with hostile_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package", params=PROXIES, ids=lambda proxy: proxy.name)
def kind(request: pytest.FixtureRequest) -> Proxy:
    """Each proxy in turn."""
    proxy: Proxy = request.param
    return proxy


@pytest.fixture(scope="package")
def proxy(kind: Proxy, the_gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It, before the gateway."""
    with running(kind, tmp_path_factory.mktemp(kind.name), the_gateway.port) as proxy:
        yield proxy
