"""routes.yaml → frozen values; every default, limit and unit."""

from gateway.config.address import is_loopback
from gateway.config.complaints import hint
from gateway.config.models import (
    Config,
    Route,
    Server,
    Target,
    Timeouts,
    Upstream,
    WeightedTarget,
    load,
    parse,
    schema,
    summary,
    warnings,
)
from gateway.config.settings_file import ConfigError

__all__ = [
    "Config",
    "ConfigError",
    "Route",
    "Server",
    "Target",
    "Timeouts",
    "Upstream",
    "WeightedTarget",
    "hint",
    "is_loopback",
    "load",
    "parse",
    "schema",
    "summary",
    "warnings",
]
