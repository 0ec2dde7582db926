"""A chat server that ends its stream properly and never says why (mapping.md §9.1)."""

from __future__ import annotations

from tests.faults.callers import OPENAI_CALLER, ask
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream
from tests.faults.voices import LAST_CHUNK, OPENAI, chunk, says


def test_a_reason_that_was_made_up_is_in_the_log(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(says(OPENAI.first(), chunk(OPENAI.terminator), LAST_CHUNK))
    assert ask(gateway.port, OPENAI_CALLER.request("openai")).status == 200
    line = gateway.the_line()
    assert (line["finish_reason"], line["finish_inferred"]) == ("stop", True)


def test_a_reason_that_was_told_is_not_called_so(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(says(OPENAI.stream()))
    assert ask(gateway.port, OPENAI_CALLER.request("openai")).status == 200
    assert "finish_inferred" not in gateway.the_line()
