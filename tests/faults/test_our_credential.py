"""An upstream that refuses the gateway's own credential, wherever it says so (mapping.md §9.2, pitfall 52)."""

from __future__ import annotations

import pytest

from tests.faults.callers import CALLERS, Caller, ask, calling
from tests.faults.harness import KEY, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import LAST_CHUNK, OPENAI, TOKENS, chunk, says, sized

REFUSED = (
    b'{"error":{"message":"bad key ' + KEY.encode() + b'","type":"invalid_request_error","code":"invalid_api_key"}}'
)


async def refuses_later(peer: Peer, seen: Seen) -> None:
    await peer.send(OPENAI.first())
    await peer.released()
    await peer.send(chunk(b"data: " + REFUSED + b"\n\n"), LAST_CHUNK)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_under_status_200_it_is_a_bad_gateway(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    upstream.perform(says(sized(REFUSED)))
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == 502
    assert KEY.encode() not in reply.body


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_in_mid_stream_it_is_no_word_about_the_clients_key(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(refuses_later)
    with calling(gateway.port, caller.request("openai")) as call:
        call.read_until(TOKENS[0].strip().encode())
        upstream.release()
        reply = call.read_reply()
    assert reply.status == 200
    for word in (KEY.encode(), b"invalid_api_key", b"authentication_error"):
        assert word not in reply.body
