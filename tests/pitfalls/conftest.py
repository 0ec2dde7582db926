"""The gateway and the hostile upstream of `tests/faults`, for the pitfalls that only sockets show."""

from __future__ import annotations

from tests.faults.conftest import gateway, the_gateway, the_upstream, upstream

__all__ = ["gateway", "the_gateway", "the_upstream", "upstream"]
