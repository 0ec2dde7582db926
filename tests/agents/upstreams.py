"""The upstreams agents are put on: every dialect that has tools, and what a model there sees of its reasoning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pytest

from tests.e2e.gateway_process import KINDS, ONCE, config_of, gateway, simulators, upstream

AGENT: Final = "say=agent&ttft=0ms&tps=0"


@dataclass(frozen=True)
class Upstream:
    """A kind of upstream and its options. `thinks`: it is asked for reasoning, and `brings_back` it; `seals` it."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    thinks: bool = True
    brings_back: bool = True
    seals: bool = False

    def came_back(self, thoughts: int) -> str:
        """What the simulator counts at the end, if it had so many thoughts."""
        asked = thoughts if self.thinks else 0
        sealed = asked if self.seals else 0
        return f"{asked if self.brings_back else 0} of {asked} thoughts, {sealed} of {sealed} seals"


_UPSTREAMS: Final[Mapping[str, Upstream]] = {
    "openai": Upstream("openai", brings_back=False),
    "vllm": Upstream("openai", {"profile": "vllm"}),
    "deepseek": Upstream("openai", {"profile": "deepseek"}),
    "anthropic": Upstream("anthropic", seals=True),
    "responses": Upstream("responses", seals=True),
    "truss": Upstream("truss", {"input": "messages", "include_usage": True}, thinks=False),
    "truss-vllm": Upstream("truss", {"input": "messages", "include_usage": True, "profile": "vllm"}),
}
UPSTREAMS: Final = {name: upstream for name, upstream in _UPSTREAMS.items() if upstream.kind in KINDS}


DIALECTS: Final = [name for name in ("openai", "anthropic", "responses", "truss-vllm") if name in UPSTREAMS]
"""One upstream of each dialect, that has tools and can be asked for a schema."""
BUSY: Final = f"{AGENT}&fault=busy"
"""Every other call is answered with 429 and when to come back."""


class Gateways:
    """Gateways that pass every model on to one upstream, started when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._ports, _ = stack.enter_context(simulators())
        self._urls: dict[tuple[str, str], str] = {}

    def url(self, name: str, script: str = AGENT) -> str:
        """The base URL of the gateway before an upstream that performs a script."""
        if (name, script) not in self._urls:
            chosen = UPSTREAMS[name]
            entry = upstream(self._ports, chosen.kind, script) | {"options": dict(chosen.options)}
            route = {"targets": [{"upstream": "simulator"}], "retries": ONCE}  # who comes back is the agent
            port = self._stack.enter_context(gateway(config_of({"simulator": entry}, {"*": route})))
            self._urls[name, script] = f"http://127.0.0.1:{port}"
        return self._urls[name, script]


def accesses(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the gateway logged of the requests, in order."""
    return [orjson.loads(record.message) for record in caplog.records if record.name == "triglot.access"]


@contextmanager
def gateways() -> Iterator[Gateways]:
    """Simulators, and gateways before them."""
    with ExitStack() as stack:
        yield Gateways(stack)
