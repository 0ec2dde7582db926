"""A client that leaves: what ends at once, what goes on for a while, and that nobody else is called for it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from gateway.departure import ClientLeft, Departure
from gateway.errors import BadRequest, Unreachable
from gateway.relay.client_watchdog import ClientWatchdog
from gateway.relay.sink import Sink


class Exchange:
    """A departure with all that it works on. `sent` is what reached the server, `struck` what the request ended by."""

    def __init__(self, patience_s: float = 0.0) -> None:
        self.sent: list[dict[str, Any]] = []
        self.struck: list[Exception] = []
        self.ended = asyncio.Event()
        self.sink = Sink({"http_version": "1.1"}, self._send, lambda start: {}, max_answer=1000)
        self.departure = Departure(self.sink, ClientWatchdog(self.sink, {}))
        self.departure.patience_s = patience_s

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.departure.happen(self._strike)

    def _strike(self, reason: Exception) -> None:
        self.struck.append(reason)
        self.ended.set()


async def test_by_default_a_call_under_way_ends_at_once() -> None:
    exchange = Exchange()
    with exchange.departure.calling():
        exchange.leave()
    assert [type(error) for error in exchange.struck] == [ClientLeft]


@pytest.mark.parametrize("patience_s", [0.0, 5.0, math.inf])
async def test_what_only_waits_ends_at_once(patience_s: float) -> None:
    exchange = Exchange(patience_s)
    with exchange.departure.calling():
        pass
    exchange.leave()
    assert len(exchange.struck) == 1
    assert not exchange.departure.reads_on


async def test_a_call_that_is_read_on_writes_to_nobody_and_ends_in_time() -> None:
    exchange = Exchange(0.01)
    with exchange.departure.calling():
        exchange.leave()
        await exchange.sink.commit(None)
        await exchange.sink.write(b"x")
        exchange.sink.abort()
        await exchange.sink.close()
        assert (exchange.struck, exchange.sent) == ([], [])
        await asyncio.wait_for(exchange.ended.wait(), 5)
    assert exchange.departure.reads_on


async def test_a_request_that_is_over_ends_nothing_later() -> None:
    exchange = Exchange(0.01)
    with exchange.departure.calling():
        exchange.leave()
    exchange.departure.stop()
    await asyncio.sleep(0.03)  # longer than the patience: what is shown is that nothing happens
    assert exchange.struck == []


async def test_who_leaves_behind_the_end_of_its_answer_has_not_left() -> None:
    """Servers say so after every answer."""
    exchange = Exchange()
    with exchange.departure.calling():
        await exchange.sink.whole(b"{}", {})
        exchange.leave()
    assert (exchange.struck, exchange.departure.happened_at) == ([], None)


async def test_no_call_begins_for_nobody() -> None:
    """While another one is read on, a second try may be about to begin beside it."""
    exchange = Exchange(math.inf)
    with exchange.departure.calling():
        exchange.leave()
        with pytest.raises(ClientLeft), exchange.departure.calling():
            raise AssertionError("it was called")


async def test_a_failure_is_followed_by_nothing_once_the_client_left() -> None:
    exchange = Exchange(math.inf)
    with pytest.raises(Unreachable), exchange.departure.calling():
        raise Unreachable("no connection")

    def fails_for_nobody() -> None:
        with exchange.departure.calling():
            exchange.leave()
            raise BadRequest("no")

    with pytest.raises(ClientLeft) as caught:
        fails_for_nobody()
    assert isinstance(caught.value.__cause__, BadRequest)
