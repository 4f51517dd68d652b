"""What is set for the pods of operator and jobs holds for the pods of hooks, too, and versions restart no database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.helm import CHART
from tests.integration.chart.charts import Helm, Manifest, find

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TOLERATION = {"key": "system", "operator": "Exists"}
VARIABLE = {"name": "HTTPS_PROXY", "value": "http://proxy.example.org"}
VOLUME = {"name": "ca", "configMap": {"name": "ca"}}
MOUNT = {"name": "ca", "mountPath": "/ca"}
GIVEN: dict[str, Any] = {
    "podLabels": {"mesh": "no"},
    "podAnnotations": {"backup": "no"},
    "nodeSelector": {"pool": "system"},
    "tolerations": [TOLERATION],
    "extraEnv": [VARIABLE],
    "extraVolumes": [VOLUME],
    "extraVolumeMounts": [MOUNT],
}
COMMON = {"commonLabels": {"centre": "video"}, "commonAnnotations": {"owner": "video"}}


def render(helm: Helm, values: dict[str, Any]) -> list[Manifest]:
    """Return what is rendered with values, whose names may be paths."""
    pairs = (("--set-json", f"{name}={json.dumps(value)}") for name, value in values.items())
    return helm.render(*(part for pair in pairs for part in pair))


def given(component: str) -> dict[str, Any]:
    """Return the values that set everything for the pods of a component."""
    return {**COMMON, **{f"{component}.{name}": value for name, value in GIVEN.items()}}


def assert_given(pod: Manifest) -> None:
    """A pod has what was given."""
    metadata, spec = pod["metadata"], pod["spec"]
    (container,) = spec["containers"]
    assert {"mesh": "no", "centre": "video"}.items() <= metadata["labels"].items()
    assert {"backup": "no", "owner": "video"}.items() <= metadata["annotations"].items()
    assert spec["nodeSelector"]["pool"] == "system"
    assert TOLERATION in spec["tolerations"]
    assert VARIABLE in container["env"]
    assert VOLUME in spec["volumes"]
    assert MOUNT in container["volumeMounts"]


@pytest.mark.parametrize("keep", [True, False])
def test_the_pod_of_the_uninstall_hook_has_what_is_set_for_the_operator_and_a_network_policy(
    helm: Helm, keep: bool
) -> None:
    manifests = render(helm, {"crds.keep": keep, **given("operator")})
    job = find(manifests, "Job", "b3lb-uninstall")
    pod = job["spec"]["template"]
    assert_given(pod)
    policy = find(manifests, "NetworkPolicy", "b3lb-uninstall")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    api_server = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert {443, 6443} <= api_server


@pytest.mark.parametrize(("keep", "default"), [(True, None), (False, "operator")])
def test_the_uninstall_hook_takes_no_priority_class_that_went_with_the_release(
    helm: Helm, keep: bool, default: str | None
) -> None:
    def priority(**values: Any) -> str | None:
        job = find(render(helm, {"crds.keep": keep, **values}), "Job", "b3lb-uninstall")
        name: str | None = job["spec"]["template"]["spec"].get("priorityClassName")
        return name

    own = find(render(helm, {}), "Deployment", "b3lb-operator")["spec"]["template"]["spec"]["priorityClassName"]
    assert priority() == (own if default else None)
    assert priority(**{"operator.priorityClassName": "high"}) == "high"


def test_the_pod_of_helm_test_has_what_is_set_for_the_jobs_and_for_those_of_core(helm: Helm) -> None:
    core = {"podLabels": {"queue": "core"}, "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://other"}]}
    assert_given(find(render(helm, given("jobs")), "Pod", "b3lb-test"))
    pod = find(render(helm, {**given("jobs"), "jobs.queues.core": core}), "Pod", "b3lb-test")
    assert {"queue": "core", "mesh": "no"}.items() <= pod["metadata"]["labels"].items()
    proxies = [entry["value"] for entry in pod["spec"]["containers"][0]["env"] if entry["name"] == "HTTPS_PROXY"]
    assert proxies == ["http://other"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["priorityClassName"].endswith("-core")


def test_another_version_of_the_chart_alone_does_not_restart_the_database(helm: Helm, tmp_path: Path) -> None:
    newer = tmp_path / "b3lb"
    shutil.copytree(CHART, newer)
    about = yaml.safe_load((newer / "Chart.yaml").read_text(encoding="utf-8"))
    (newer / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "9.9.9", "appVersion": "9.9.9"}))

    def database(chart: Path) -> tuple[Any, Any]:
        text = helm.run("template", "b3lb", str(chart), "--namespace", "chart")
        manifest = find([item for item in yaml.safe_load_all(text) if item], "StatefulSet", "b3lb-database")
        return manifest["metadata"]["labels"]["app.kubernetes.io/version"], manifest["spec"]["template"]

    (before, template), (after, newer_template) = database(CHART), database(newer)
    assert before != after == "9.9.9"
    assert template == newer_template
