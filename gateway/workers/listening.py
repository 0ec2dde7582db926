"""The sockets that several workers listen on at one address.

On Linux each worker has its own (`SO_REUSEPORT`), and the kernel spreads connections over them by a hash: a burst of
streams is shared out, whoever is awake first. One socket for all would give the burst to that one. The supervisor
opens them and never closes them while it serves: what the kernel has queued for a worker that dies waits for its
successor instead of being reset. Elsewhere the kernel spreads nothing, and one socket is for all.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from typing import Final

IS_SPREAD: Final = sys.platform == "linux"

_Address = tuple[socket.AddressFamily, str, int]


def listeners(host: str, port: int, workers: int) -> list[list[socket.socket]]:
    """For each worker its sockets, bound to every address of the host. Raises OSError.

    Port 0 is one free port, the same for all.
    """
    addresses = _addresses(host, port)
    own = [_probed(addresses)]
    if not IS_SPREAD:
        return own * workers
    port = own[0][0].getsockname()[1]
    _close(own[0])
    return [[_bound(family, at, port, is_shared=True) for family, at, _ in addresses] for _ in range(workers)]


def probed(host: str, port: int) -> list[socket.socket]:
    """For a single process: bound to every address of the host, and shared with nobody. Raises OSError."""
    return _probed(_addresses(host, port))


def _probed(addresses: Sequence[_Address]) -> list[socket.socket]:
    """Fails where anybody listens already: sockets that share an address would join them, and take half of theirs."""
    found: list[socket.socket] = []
    try:
        for family, host, port in addresses:
            wanted = port or (found[0].getsockname()[1] if found else 0)
            found.append(_bound(family, host, wanted, is_shared=False))
    except OSError:
        _close(found)
        raise
    return found


def _bound(family: socket.AddressFamily, host: str, port: int, *, is_shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # as asyncio has it: IPv4 gets a socket of its own
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        said = (error.strerror or "refused").lower()
        raise OSError(error.errno, f"error while attempting to bind on address {(host, port)}: {said}") from error
    return made


def _addresses(host: str, port: int) -> list[_Address]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(at[0]), int(at[1])) for family, _, _, _, at in found))


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()
