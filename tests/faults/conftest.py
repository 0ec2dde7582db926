"""One gateway and one hostile upstream for all of these tests; each test finds them clean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.harness import Gateway, configuration, figures, gateway_in_thread
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("measured under faults")
    for what, values in sorted(figures.items()):
        ordered = sorted(values)
        line = f"{what}: median {ordered[len(ordered) // 2]:.4g}, worst {ordered[-1]:.4g}, of {len(ordered)}"
        terminalreporter.write_line(line)
