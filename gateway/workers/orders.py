"""What a supervisor and a worker say to each other, over a pair of sockets. Both ends are ours, and of one program."""

from __future__ import annotations

import pickle
import socket
import struct
from asyncio import IncompleteReadError, StreamReader
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.config import Config

READY: Final = b"r"
"""A worker serves."""
TAKEN: Final = b"t"
"""A worker has put a configuration in force."""

_SIZE: Final = struct.Struct(">I")


class Word(Enum):
    """Orders that say all in one word."""

    DRAIN = "drain"
    HURRY = "hurry"
    """The time to drain is over."""


@dataclass(frozen=True, slots=True)
class Take:
    """Put this in force."""

    config: Config


Order = Word | Take


def send(channel: socket.socket, order: Order) -> None:
    """Raises OSError where the worker is gone, or doesn't take it within the channel's timeout."""
    data = pickle.dumps(order)
    channel.sendall(_SIZE.pack(len(data)) + data)


async def receive(reader: StreamReader) -> Order | None:
    """The next order; None once the supervisor is gone."""
    try:
        (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
        order: Order = pickle.loads(await reader.readexactly(size))
    except (IncompleteReadError, ConnectionError):
        return None
    return order
