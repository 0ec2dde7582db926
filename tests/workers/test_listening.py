"""Several workers listen at one address, all on one port, and never beside somebody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from gateway.workers import listening
from gateway.workers.listening import listeners


@contextmanager
def opened(host: str, port: int, workers: int) -> Iterator[list[list[socket.socket]]]:
    with ExitStack() as stack:
        made = listeners(host, port, workers)
        for each in (each for own in made for each in own):
            stack.enter_context(each)
        yield made


def test_port_0_is_one_free_port_for_all() -> None:
    with opened("127.0.0.1", 0, 3) as made:
        ports = {each.getsockname()[1] for own in made for each in own}
        assert len(made) == 3
        assert len(ports) == 1
        assert 0 not in ports


def test_every_address_of_a_host_has_the_same_port() -> None:
    with opened("localhost", 0, 2) as made:
        assert {len(own) for own in made} == {len({at[4][0] for at in socket.getaddrinfo("localhost", 0)})}
        assert len({each.getsockname()[1] for own in made for each in own}) == 1


@pytest.mark.skipif(not listening.IS_SPREAD, reason="only Linux spreads connections over sockets")
def test_connections_are_spread_over_all_workers() -> None:
    """200 of them: that one of two gets less than a quarter is less likely than 1 in 10^12."""
    with opened("127.0.0.1", 0, 2) as made, ExitStack() as stack:
        own = [each for (each,) in made]
        for each in own:
            each.listen(256)
            each.setblocking(False)
        for _ in range(200):
            stack.enter_context(socket.create_connection(own[0].getsockname()))
        counts = [accepted(each) for each in own]
    assert sum(counts) == 200
    assert min(counts) > 50


def accepted(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_somebody_listens_on_is_refused_even_if_they_would_share(shares: bool) -> None:
    with socket.socket() as other:
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="address already in use"):
            listeners("127.0.0.1", other.getsockname()[1], 2)


def test_where_the_kernel_spreads_nothing_one_socket_is_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "IS_SPREAD", False)
    with opened("127.0.0.1", 0, 2) as made:
        assert made[0] is made[1]


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        listeners("192.0.2.1", 0, 2)
