"""One worker: a process that serves with others at one address, and does what its supervisor says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from gateway.config import Config
from gateway.server import Server
from gateway.workers.orders import READY, TAKEN, Order, Take, Word, receive


class Worker(Server):
    """A server that drains when it is told to, by a signal or an order, and hurries by an order only.

    A terminal and systemd send their signals to all processes at once: what the supervisor then says is the same
    order once more, and no reason to hurry.
    """

    def __init__(
        self, channel: socket.socket, take: Callable[[Config], Awaitable[None]], *args: Any, **options: Any
    ) -> None:
        """`take` puts a configuration in force. `args` and `options` are the server's."""
        super().__init__(*args, **options)
        self.on_ready = lambda: channel.sendall(READY)
        self._channel = channel
        self._take = take

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain."""
        self.should_exit = True

    async def obey(self) -> None:
        """Does what it is told. Once nobody is there to tell it when to end, it drains."""
        reader, writer = await asyncio.open_unix_connection(sock=self._channel)
        try:
            while (order := await receive(reader)) is not None:
                await self._follow(order, writer)
            self.should_exit = True
        finally:
            writer.close()

    async def _follow(self, order: Order, writer: asyncio.StreamWriter) -> None:
        match order:
            case Word.DRAIN:
                self.should_exit = True
            case Word.HURRY:
                self.should_exit = True
                self.hurry()
            case Take(config):
                await self._take(config)
                writer.write(TAKEN)
