"""The table of metrics keeps the rules of Prometheus and the names of OpenTelemetry."""

from __future__ import annotations

import re

import pytest

from gateway.telemetry import metrics
from gateway.telemetry.metrics import LABELS, METRICS, Kind, Metric


def test_every_metric_is_listed_once() -> None:
    named = [value for value in vars(metrics).values() if isinstance(value, Metric)]
    assert sorted(named, key=lambda metric: metric.name) == sorted(METRICS, key=lambda metric: metric.name)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_its_kind_demands(metric: Metric) -> None:
    """Counters end in `_total`, names are lower case, and only a histogram has buckets, in order."""
    assert re.fullmatch(r"(gen_ai|triglot)(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.meaning
    assert not metric.meaning.endswith(".")


def test_every_label_is_explained_and_none_is_invented() -> None:
    assert {label for metric in METRICS for label in metric.labels} == set(LABELS)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.otel], ids=lambda metric: metric.otel)
def test_opentelemetrys_names_are_spelled_as_its_prometheus_exporter_does(metric: Metric) -> None:
    """Dots become underscores, and the unit comes behind; one in braces, as `{token}`, is none."""
    unit = "" if metric is metrics.TOKEN_USAGE else "_seconds"
    assert metric.name == metric.otel.replace(".", "_") + unit
    assert {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"} <= set(metric.labels)


def test_all_of_opentelemetrys_are_there_that_a_gateway_can_tell() -> None:
    assert {metric.otel for metric in METRICS if metric.otel} == {
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
    }


def test_buckets_hold_those_of_the_conventions() -> None:
    """So that dashboards made for any other source of these metrics fit."""
    assert metrics.TOKEN_USAGE.buckets == tuple(4**power for power in range(14))
    assert metrics.REQUEST_DURATION.buckets == tuple(round(0.01 * 2**power, 2) for power in range(14))
    assert {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0} <= set(
        metrics.TIME_TO_FIRST_TOKEN.buckets
    )
