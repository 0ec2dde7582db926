"""Orders come out as they were sent, whatever their size, and the end of the supervisor is noticed."""

from __future__ import annotations

import asyncio
import socket
import threading

from gateway.config import parse
from gateway.workers.orders import Take, Word, receive, send

ROUTES = """
server: {workers: 2, seal_key: sk-seal}
upstreams:
  one: {dialect: openai, url: "http://127.0.0.1:1/v1", key: sk-canary, max_in_flight: 3, options: {profile: vllm}}
  two: {dialect: anthropic, url: "http://127.0.0.1:1", health_check: {path: /health}}
routes:
"""
MANY = ROUTES + "".join(
    f"  model-{n}: {{targets: [{{upstream: one}}, {{upstream: two}}], balance: fastest}}\n" for n in range(500)
)


async def test_orders_arrive_as_they_were_sent_and_then_the_end_does() -> None:
    config = parse(MANY, "test", {})
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)

    def say() -> None:
        for order in (Word.DRAIN, Take(config), Word.HURRY):
            send(ours, order)
        ours.close()

    speaker = threading.Thread(target=say)
    speaker.start()
    received = [await receive(reader) for _ in range(4)]
    speaker.join()
    writer.close()
    assert received == [Word.DRAIN, Take(config), Word.HURRY, None]
    taken = received[1]
    assert isinstance(taken, Take)
    assert taken.config.upstreams["one"].key is not None
    assert taken.config.upstreams["one"].key.get_secret_value() == "sk-canary"
    assert taken.config.server.model_fields_set == {"workers", "seal_key"}


async def test_half_an_order_is_none() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    ours.sendall(b"\0\0\0\x09half")
    ours.close()
    assert await receive(reader) is None
    writer.close()
