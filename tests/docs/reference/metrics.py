"""Every metric and every label, from the table that `/metrics` works by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.telemetry.metrics import LABELS, METRICS, Kind, Metric, Of
from tests.docs.reference.markdown import code, table
from tests.docs.reference.markdown import page as joined

_INTRODUCTION: Final = """\
# Metrics

What `/metrics` tells Prometheus; printed from the table that it works by, `make docs` writes this page. Where
OpenTelemetry's conventions for generative AI have a name, it is theirs, in the spelling of their Prometheus exporter;
what is ours begins with `triglot_`. [What to watch](../operations.md#what-to-watch).

Labels take their values from the configuration and from lists in the code, never from what a client or an upstream
says: whatever is asked for, the number of series has a limit. A label is empty where there is nothing to say.
"""
_LABELS: Final = """\
## Labels
"""
_BUCKETS: Final = """\
## Buckets

Upper bounds of the histograms, beside infinity. Each has `_bucket`, `_sum` and `_count`.
"""
_WORKERS: Final = {
    Of.SUM: "the sum of all workers",
    Of.LEAST: "the least of all workers",
    Of.MOST: "the most of all workers",
}


def page() -> str:
    """The page, in Markdown."""
    rows = ((code(metric.name), str(metric.kind), _labels(metric), _meaning(metric)) for metric in METRICS)
    buckets = ((code(metric.name), ", ".join(f"{bound:g}" for bound in metric.buckets)) for metric in _histograms())
    return joined(
        _INTRODUCTION,
        "## Metrics\n",
        table(("metric", "kind", "labels", "says"), rows),
        _LABELS,
        table(("label", "says"), ((code(name), f"{says}.") for name, says in LABELS.items())),
        _BUCKETS,
        table(("histogram", "bounds"), buckets),
    )


def _labels(metric: Metric) -> str:
    return ", ".join(map(code, metric.labels))


def _meaning(metric: Metric) -> str:
    """With the conventions' own name, and what several workers make of a gauge."""
    convention = (f" OpenTelemetry's {code(metric.otel)}.",) if metric.otel else ()
    workers = (f" With `--workers`, {_WORKERS[metric.of]}.",) if metric.kind is Kind.GAUGE else ()
    return "".join((f"{metric.meaning.rstrip('.')}.", *convention, *workers))


def _histograms() -> Iterator[Metric]:
    return (metric for metric in METRICS if metric.kind is Kind.HISTOGRAM)
