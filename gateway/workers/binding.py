"""Why an address can't be listened on, and what to do about it."""

from __future__ import annotations

import errno
import socket


def why_not(error: OSError, host: str, port: int) -> str:
    """What went wrong, and its remedy."""
    at = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        return f"{at}: no such host is known; 127.0.0.1 is this machine alone, 0.0.0.0 every address of it"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{at}: address already in use by another program, which `ss -ltnp 'sport = :{port}'` names; end it, or "
            "take another port: --port 0 takes any free one"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{at}: permission denied; ports below 1024 are for root, so take a higher one, as --port 8080"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{at}: no address of this machine; --host 127.0.0.1 is this machine alone, `ip addr` lists the others"
    return f"{at}: can't be listened on: {error.strerror or error}"
