"""The Kubernetes manifests: valid, locked up, and in step with the gateway's own figures and paths."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from gateway.config import Config, parse
from tests.deploy.proxies import DEPLOY

FOLDER: Final = DEPLOY / "kubernetes"
VERSIONS: Final = ("1.30", "1.33", kubernetes_validate.latest_version())
MANIFESTS: Final = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
UNITS: Final = {"s": 1, "m": 60}


def manifest(name: str) -> dict[str, Any]:
    """The one resource in a file."""
    (resource,) = yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())
    assert isinstance(resource, dict)
    return resource


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest("deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", MANIFESTS)
def test_manifests_are_valid(file: str, version: str) -> None:
    for resource in yaml.safe_load_all((FOLDER / file).read_text()):
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_slip_would_be_found() -> None:
    wrong = manifest("deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_kustomization_has_all_but_the_template_of_secrets() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [name for name in MANIFESTS if name != "secret.example.yaml"]
    (image,) = kustomization["images"]
    assert container()["image"] == f"{image['name']}:{image['newTag']}"


def test_everything_is_in_its_namespace_and_finds_its_pods() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    for name in MANIFESTS:
        resource = manifest(name.removesuffix(".yaml"))
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == manifest("namespace")["metadata"]["name"]
    selectors = [
        manifest("deployment")["spec"]["selector"]["matchLabels"],
        manifest("service")["spec"]["selector"],
        manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"],
        manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    target = manifest("horizontalpodautoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifest("deployment")["metadata"]["name"])


# -- what the gateway says of itself ----------------------------------------------------------------------------------


def configured() -> Config:
    """The routes file of the ConfigMap, read with variables as the Secret has them."""
    values = dict.fromkeys(manifest("secret.example")["stringData"], "")
    filled = {name: hashlib.sha256(name.encode()).hexdigest() for name in values}
    return parse(manifest("configmap")["data"]["routes.yaml"].encode(), "configmap.yaml", filled)


def test_the_routes_file_is_right_with_the_secret_and_asks_for_keys() -> None:
    config = configured()
    assert config.server.host == "0.0.0.0"
    assert not config.is_exposed
    assert any(key.admin for key in config.keys.values())


def test_what_the_template_holds_is_refused_until_it_is_filled_in() -> None:
    text = manifest("configmap")["data"]["routes.yaml"]
    with pytest.raises(Exception, match="SHA-256"):
        parse(text.encode(), "configmap.yaml", manifest("secret.example")["stringData"])


def test_the_secret_has_what_the_routes_file_asks_for_and_no_more() -> None:
    asked = set(re.findall(r"\$\{(\w+)", manifest("configmap")["data"]["routes.yaml"]))
    assert asked == set(manifest("secret.example")["stringData"])
    assert container()["envFrom"] == [{"secretRef": {"name": manifest("secret.example")["metadata"]["name"]}}]


def test_the_grace_period_is_longer_than_hook_and_drain() -> None:
    hook = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = configured().server.drain
    assert drain is not None
    assert pod()["terminationGracePeriodSeconds"] > hook + drain + 1


def test_probes_ask_what_is_there() -> None:
    paths = {name: container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    (port,) = container()["ports"]
    assert port["containerPort"] == configured().server.port
    assert manifest("service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_container_finds_its_files_and_may_write_to_tmp_only() -> None:
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert set(mounts) == {"/etc/triglot", "/tmp"}
    assert volumes[mounts["/etc/triglot"]["name"]]["configMap"]["name"] == manifest("configmap")["metadata"]["name"]
    assert "/etc/triglot/routes.yaml" in container()["args"]
    assert "emptyDir" in volumes[mounts["/tmp"]["name"]]


def test_the_pod_keeps_to_the_restricted_standard() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, which the namespace enforces too."""
    labels = manifest("namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["runAsUser"] > 0
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    assert pod()["automountServiceAccountToken"] is False
    assert all(set(volume) <= {"name", "configMap", "emptyDir", "secret"} for volume in pod()["volumes"])


def test_the_network_policy_names_both_directions_and_opens_neither_to_all() -> None:
    spec = manifest("networkpolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule.get("from") and rule.get("ports") for rule in spec["ingress"])
    assert all(rule.get("to") and rule.get("ports") for rule in spec["egress"])
    blocked = [
        block for rule in spec["egress"] for to in rule["to"] for block in to.get("ipBlock", {}).get("except", ())
    ]
    assert "169.254.0.0/16" in blocked  # the cloud's metadata
