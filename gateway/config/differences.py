"""What has changed from one configuration to the next: names of settings, never their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.config.models import Config
from gateway.config.settings_file import spelled


def differences(before: Config, after: Config) -> tuple[str, ...]:
    """One entry for each setting of the server, each upstream, route and client key; none where both mean the same."""
    found = [
        *_compared("server", dict(before.server), dict(after.server)),
        *_compared("upstreams", before.upstreams, after.upstreams),
        *_compared("routes", before.routes, after.routes),
        *_compared("keys", before.keys, after.keys),
    ]
    stayed = [name for name in before.routes if name in after.routes]
    if stayed != [name for name in after.routes if name in before.routes]:
        found.append("the order of routes")  # which decides between patterns
    return tuple(found)


def _compared(section: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in {**before, **after}:
        if name not in before:
            yield f"new {spelled((section, name))}"
        elif name not in after:
            yield f"gone {spelled((section, name))}"
        elif before[name] != after[name]:
            yield f"changed {spelled((section, name))}"
