"""A connection that the upstream closed while it was idle costs no request."""

from __future__ import annotations

import pytest

from tests.faults.callers import OPENAI_CALLER, ask
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import OPENAI, sized


async def answers_whole(peer: Peer, seen: Seen) -> None:
    await peer.send(sized(OPENAI.whole("fine")))


async def hangs_up(peer: Peer, seen: Seen) -> None:
    peer.close()


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_kept_connection_that_the_upstream_drops_is_replaced_by_a_new_one(
    upstream: HostileUpstream, gateway: Gateway, size: int
) -> None:
    """Also with a body that is sent in pieces."""
    upstream.perform(answers_whole, hangs_up, answers_whole)
    request = OPENAI_CALLER.request("openai", stream=False, user="u" * size)
    assert [ask(gateway.port, request).status for _ in range(2)] == [200, 200]
    assert len(upstream.requests) == 3  # the second of them went out on the kept connection, in vain
    assert upstream.requests[1].body == upstream.requests[2].body
    assert [line["attempts"] for line in gateway.lines] == [1, 1]


def test_a_new_connection_that_the_upstream_drops_is_a_failure(upstream: HostileUpstream) -> None:
    """It is tried once more, as every failure of a connection; that one counts as a try."""
    upstream.perform(hangs_up)
    with gateway_in_thread(configuration(upstream.port)) as gateway:  # one that has its whole budget for retries
        assert ask(gateway.port, OPENAI_CALLER.request("openai", stream=False)).status == 502
        assert len(upstream.requests) == gateway.the_line()["attempts"] == 2
