"""Runs every client on every upstream through every scenario."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tests.conformance.cell import Cell, Lost
from tests.conformance.clients import CLIENTS, Client, performer
from tests.conformance.limits import limit
from tests.conformance.node_clients import NodeClients, node_clients
from tests.conformance.scenarios import SCENARIOS, SCRIPTS, Scenario
from tests.e2e.gateway_process import KINDS, World, world

WORKERS: Final = 4

# Servers that read earlier reasoning, and count tokens of streams when asked to.
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openai": {"profile": "sglang"},
    "truss": {"profile": "sglang", "include_usage": True},
}


class Verdict(StrEnum):
    PASS = "✅"
    NOT_APPLICABLE = "n/a"
    FAIL = "❌"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a cell, and why if there is something to say."""

    client: str
    upstream: str
    scenario: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs while the grid does."""

    world: World
    node: NodeClients
    alone: threading.Lock

    def result(self, client: Client, upstream: str, scenario: Scenario) -> Result:
        """Plays one cell."""
        cell = Cell(client, upstream, performer(client, self.node), self.world, self.alone)
        return Result(client.name, upstream, scenario.name, *verdict(cell, scenario))


def verdict(cell: Cell, scenario: Scenario) -> tuple[Verdict, str]:
    """Whether a cell passes. What can't be is no failure, but has to be refused where the gateway should refuse it."""
    bound = limit(cell.client, cell.upstream, scenario.name)
    if bound and not bound.check and not bound.passes:
        return Verdict.NOT_APPLICABLE, bound.reason
    try:
        (bound.check if bound and bound.check else scenario.check)(cell)
    except Lost as lost:
        return Verdict.FAIL, str(lost)
    except Exception as error:  # a client that breaks down is a cell that fails, not the end of the grid
        return Verdict.FAIL, f"{type(error).__name__}: {error}"
    if bound is None:
        return Verdict.PASS, ""
    return (Verdict.PASS if bound.passes else Verdict.NOT_APPLICABLE), bound.reason


@contextmanager
def stage() -> Iterator[Stage]:
    """A gateway, its upstreams, and the JavaScript clients."""
    with world(*SCRIPTS, options=OPTIONS) as running, node_clients() as node:
        yield Stage(running, node, threading.Lock())


def run(on: Stage, clients: Sequence[Client] = CLIENTS) -> list[Result]:
    """The results, client by client, scenario by scenario, upstream by upstream."""
    cells = [(client, upstream, scenario) for client in clients for scenario in SCENARIOS for upstream in KINDS]
    with ThreadPoolExecutor(WORKERS) as pool:
        return [future.result() for future in [pool.submit(on.result, *cell) for cell in cells]]
