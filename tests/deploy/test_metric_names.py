"""The dashboard and the alerts name only metrics and labels that exist, and Prometheus understands them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import yaml

from gateway.errors import Kind
from gateway.telemetry.metrics import LABELS, METRICS
from gateway.telemetry.metrics import Kind as MetricKind
from tests.deploy.proxies import DEPLOY

ALERTS: Final = DEPLOY / "prometheus/alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana/dashboards/triglot.json"
_NAME: Final = re.compile(r"\b(?:triglot|gen_ai_(?:client|server))_\w+")
_SELECTED: Final = re.compile(r"\b((?:triglot|gen_ai_(?:client|server))_\w+)\s*\{([^}]*)\}")
_BY: Final = re.compile(r"\bby\s*\(([^)]*)\)")
_OF_PROMETHEUS: Final = {"le", "job", "instance"}
SERIES: Final = {
    f"{metric.name}{ending}": {*metric.labels, *_OF_PROMETHEUS}
    for metric in METRICS
    for ending in (("_bucket", "_sum", "_count") if metric.kind is MetricKind.HISTOGRAM else ("",))
}
"""What may be asked for, and by which labels."""


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in orjson.loads(DASHBOARD.read_bytes())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and what it asks."""
    yield from ((rule["alert"], rule["expr"]) for rule in alerts())
    yield from ((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])


EXPRESSIONS: Final = list(expressions())
each = pytest.mark.parametrize("asked", [asked for _, asked in EXPRESSIONS], ids=[place for place, _ in EXPRESSIONS])


def names_in(asked: str) -> list[str]:
    """Metrics that an expression names. A label like `gen_ai_request_model` is none."""
    return _NAME.findall(asked)


@each
def test_metrics_and_labels_exist(asked: str) -> None:
    names = names_in(asked)
    assert names or asked.startswith("up{")
    assert set(names) <= set(SERIES)
    for name, selectors in _SELECTED.findall(asked):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        assert labels <= SERIES[name]
    grouped = {label.strip() for labels in _BY.findall(asked) for label in labels.split(",")}
    assert all(grouped <= SERIES[name] for name in names)


def test_a_name_that_does_not_exist_is_found() -> None:
    assert not set(names_in('sum(rate(triglot_request_total{end="x"}[5m]))')) <= set(SERIES)


def test_words_of_labels_are_ones_that_occur() -> None:
    asked = " ".join(asked for _, asked in EXPRESSIONS)
    ends = set(re.findall(r'\bend="(\w+)"', asked))
    assert ends
    assert ends <= set(re.findall(r"\w+", LABELS["end"]))
    kinds = {kind for kinds in re.findall(r'\berror=~"([\w|]+)"', asked) for kind in kinds.split("|")}
    assert kinds
    assert kinds <= {kind.value for kind in Kind}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in names_in(target["expr"])}
    missing = {metric.name for metric in METRICS if not any(name.startswith(metric.name) for name in shown)}
    assert not missing


def test_annotations_name_labels_that_the_alert_has() -> None:
    for rule in alerts():
        grouped = {label.strip() for labels in _BY.findall(rule["expr"]) for label in labels.split(",")}
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert named <= grouped | {"instance"}, rule["alert"]


def test_panels_have_distinct_ids_and_places() -> None:
    all_panels = orjson.loads(DASHBOARD.read_bytes())["panels"]
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in all_panels}
    assert len(places) == len(all_panels)


def test_grafana_finds_what_it_is_given() -> None:
    """The folder and the address of the provisioning are those that the compose file makes."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/triglot.yaml").read_text())["providers"][0]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == (
        f"{provider['options']['path']}/{DASHBOARD.name}"
    )
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://gateway:9090"
    assert services["prometheus"]["network_mode"] == "service:gateway"
    assert "127.0.0.1:9090:9090" in services["gateway"]["ports"]


# -- Prometheus' own judgement ----------------------------------------------------------------------------------------


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt install prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_file_and_the_alerts() -> None:
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")


def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    spelled = [expr.replace("$__rate_interval", "5m").replace("$route", ".*") for expr in asked]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(spelled)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def test_alerts_ring_when_they_should_and_not_before() -> None:
    promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))
