"""A place to send requests to."""

from __future__ import annotations

from dataclasses import field

from gateway.config import Upstream
from gateway.neutral.quick_value import quick_value


@quick_value
class Target:
    """One upstream to try, by its name in the configuration, and the model name to use there.

    `configured` is that name as the configuration has it: for a pattern that passes names on, the pattern. What is
    known of targets goes by it, because names that clients make up are without end.
    """

    name: str
    upstream: Upstream
    model: str
    configured: str = field(default="", compare=False)
    context: int | None = field(default=None, compare=False)
    """Tokens that fit; None: unknown."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by from request to request."""
        return self.name, self.configured or self.model
