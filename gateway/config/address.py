"""Addresses of upstreams, and what a host says about who can reach it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from gateway.config.complaints import flaw

_SCHEMES: Final = ("http", "https", "simulator")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _address(url: str) -> str:
    """The URL without a slash at its end. Never shown in messages: a wrong one may hold credentials."""
    scheme, mark, _ = url.partition("://")
    if not mark:
        raise flaw("an address starts with its scheme, like https://host/v1 or http://localhost:8000/v1")
    if scheme not in _SCHEMES:
        raise flaw(f"the scheme of an address is one of {', '.join(_SCHEMES)}")
    for is_wrong, why in _flaws(url, _split(url)):
        if is_wrong:
            raise flaw(why)
    return url if scheme == "simulator" else url.rstrip("/")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise flaw("the host or port of this address can't be read") from None
    return parts


def _flaws(url: str, parts: SplitResult) -> tuple[tuple[bool, str], ...]:
    is_simulated = parts.scheme == "simulator"
    return (
        (not re.fullmatch(r"[!-~]+", url), "an address is ASCII without spaces; percent-encode the rest"),
        ("@" in parts.netloc, "credentials don't belong in an address; give them as key"),
        (not is_simulated and not parts.hostname, "the address has no host"),
        (not is_simulated and "?" in url, "an address takes no query string"),
        ("#" in url, "an address takes no fragment"),
    )


def _host_suffix(text: str) -> str:
    suffix = text.lower().removeprefix(".")
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", suffix):
        raise flaw("{seen}: not the end of a host name; write it like api.example.com")
    return suffix


Address = Annotated[str, AfterValidator(_address)]
"""Base URL of an upstream: http, https or simulator; no credentials, and a query string for the simulator only."""
HostSuffix = Annotated[str, AfterValidator(_host_suffix)]
"""The end of a host name in lower case, without a leading dot."""
