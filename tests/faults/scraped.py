"""What `/metrics` of a running gateway says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.callers import Reply, ask

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""
GET: Final = b"GET %s HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"


def get(port: int, path: str) -> Reply:
    return ask(port, GET % path.encode())


def families(port: int) -> dict[str, str]:
    """Types by name, as Prometheus understands the page; a counter's name is as it is told, with `_total`."""
    reply = get(port, "/metrics")
    assert reply.status == 200, reply
    lines = (line.split(" ") for line in reply.body.decode().splitlines() if line.startswith("# TYPE "))
    return {name: kind for _, _, name, kind in lines}


def series(port: int) -> Series:
    """All of them."""
    reply = get(port, "/metrics")
    assert reply.status == 200, reply
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def value(port: int, name: str, **labels: str) -> float:
    """The sum of all series of that name with these labels; 0 where there is none."""
    return sum(_fitting(series(port), name, labels))


def _fitting(found: Series, name: str, labels: dict[str, str]) -> Iterator[float]:
    for (known, told), number in found.items():
        if known == name and labels.items() <= set(told):
            yield number
