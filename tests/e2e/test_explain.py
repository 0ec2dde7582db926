"""What `triglot explain` says is what happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests

from gateway.config import Config
from gateway.dialects import DIALECTS
from gateway.explain import call, explain
from tests.e2e.clients import PATIENCE_S
from tests.e2e.gateway_process import KINDS, config_of, gateway, simulators, upstream
from tests.e2e.scripts import QUICK

MORE: dict[str, Any] = {"temperature": 0.3, "top_k": 5, "seed": 7, "max_tokens": 50, "who_knows": 1}
"""Settings of which no two dialects take the same."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Config, int]]:
    with simulators() as (ports, _):
        upstreams = {kind: upstream(ports, kind, QUICK) for kind in KINDS}
        config = config_of(upstreams, {kind: kind for kind in KINDS})
        with gateway(config) as port:
            yield config, port


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_call_loses_what_was_said(served: tuple[Config, int], name: str, kind: str) -> None:
    config, port = served
    dialect = DIALECTS[name]
    assert dialect.sample is not None
    inbound = call(config, dialect, kind, orjson.dumps({**dialect.sample.body, **MORE}), {}, is_strict=False)
    (step,) = explain(config, dialect, inbound, {}).steps
    url = f"http://127.0.0.1:{port}{dialect.sample.path.replace('{model}', kind)}"
    answer = requests.post(url, json=inbound.body, timeout=PATIENCE_S)
    told = answer.headers
    assert (answer.status_code, told["x-gateway-upstream"]) == (200, step.upstream)
    assert told.get("x-gateway-dropped", "") == ",".join(step.dropped)
    assert told.get("x-gateway-adapted", "") == ",".join(step.adapted)
    assert step.passes == (dialect.name == step.dialect)
