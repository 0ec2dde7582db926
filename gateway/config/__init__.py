"""routes.yaml → frozen values; every default, limit and unit."""

from gateway.config.address import is_loopback
from gateway.config.balance import Balance
from gateway.config.complaints import hint
from gateway.config.differences import differences
from gateway.config.health import Breaker, HealthCheck
from gateway.config.hedge import P95, Hedge
from gateway.config.keys import HASH_COMMAND, ClientKey
from gateway.config.models import Config, load, parse
from gateway.config.pattern import matches
from gateway.config.route import Retries, Route, SlowClient, Target, Timeouts, WeightedTarget
from gateway.config.server import LOG_FORMATS, LOG_LEVELS, Server
from gateway.config.settings_file import ConfigError, NoFile, spelled
from gateway.config.told import schema, summary, warnings
from gateway.config.upstream import Upstream

__all__ = [
    "HASH_COMMAND",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "P95",
    "Balance",
    "Breaker",
    "ClientKey",
    "Config",
    "ConfigError",
    "HealthCheck",
    "Hedge",
    "NoFile",
    "Retries",
    "Route",
    "Server",
    "SlowClient",
    "Target",
    "Timeouts",
    "Upstream",
    "WeightedTarget",
    "differences",
    "hint",
    "is_loopback",
    "load",
    "matches",
    "parse",
    "schema",
    "spelled",
    "summary",
    "warnings",
]
