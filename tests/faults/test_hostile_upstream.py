"""The upstream of these tests breaks what it is told to break, and not the tests themselves."""

from __future__ import annotations

import socket

from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until


async def waits(peer: Peer, seen: Seen) -> None:
    await peer.released()


def test_a_play_that_was_never_released_does_not_outlive_its_upstream() -> None:
    """`reset` forgets the peers; one whose play still waited used to keep the upstream from ending."""
    upstream = HostileUpstream()
    thread = upstream.start()
    upstream.perform(waits)
    with socket.create_connection(("127.0.0.1", upstream.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        upstream.wait_for_requests(1)
        client.shutdown(socket.SHUT_WR)
        until(upstream.peers[0].closed.is_set, "the peer is seen to have left")
        upstream.reset()
    upstream.stop()
    thread.join(5)
    assert not thread.is_alive()
