"""The real definitions of others take the chart's objects: the Prometheus Operator's, and the Gateway API's."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from dev.controlplane import ControlPlane
from dev.gateway import gateway_definitions
from dev.helm import HelmError
from dev.toolchain import ToolchainError, prometheus_definitions
from tests.integration.chart.charts import NAMESPACE, Helm, Manifest, find

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

ENABLED = ("--set", "serviceMonitor.enabled=true")
FULL = (
    *ENABLED,
    "--set=serviceMonitor.labels.release=kube-prometheus-stack",
    "--set=serviceMonitor.interval=1m",
    "--set=serviceMonitor.relabelings[0].targetLabel=cluster,serviceMonitor.relabelings[0].replacement=one",
    "--set=serviceMonitor.metricRelabelings[0].action=labeldrop,serviceMonitor.metricRelabelings[0].regex=pod",
)
NAME = "b3lb-operator"


@pytest.fixture(scope="module")
def monitored(plane: ControlPlane) -> ControlPlane:
    """A control plane that knows the real ServiceMonitor and PrometheusRule, and the chart's namespace."""
    try:
        definitions = prometheus_definitions()
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no definition: {error}")
    for name in ("servicemonitors", "prometheusrules"):
        definition = str(definitions / f"monitoring.coreos.com_{name}.yaml")
        plane.kubectl("apply", "--server-side", "-f", definition)
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", definition)
    plane.kubectl("create", "namespace", NAMESPACE)
    return plane


@pytest.fixture(scope="module")
def routed(monitored: ControlPlane) -> ControlPlane:
    """The same, which also knows the real HTTPRoute."""
    try:
        definition = str(gateway_definitions() / "gateway.networking.k8s.io_httproutes.yaml")
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no definition: {error}")
    monitored.kubectl("apply", "--server-side", "-f", definition)
    monitored.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", definition)
    return monitored


def monitor(manifests: list[Manifest]) -> Manifest:
    return find(manifests, "ServiceMonitor", NAME)


def selected(plane: ControlPlane, kind: str, namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    text = plane.kubectl("get", kind, f"--namespace={namespace}", "-l", selector, "-o", "json")
    found: list[dict[str, Any]] = json.loads(text)["items"]
    return found


@pytest.mark.parametrize("arguments", [ENABLED, FULL], ids=["plain", "full"])
def test_the_real_definition_takes_it_strictly(monitored: ControlPlane, helm: Helm, arguments: tuple[str, ...]) -> None:
    text = yaml.safe_dump(monitor(helm.render(*arguments)))
    monitored.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=text)


def test_the_real_definition_takes_the_alerts_and_the_api_server_the_dashboard(
    monitored: ControlPlane, helm: Helm
) -> None:
    manifests = helm.render("--set", "prometheusRule.enabled=true,grafanaDashboard.enabled=true")
    shown = [find(manifests, "PrometheusRule", "b3lb"), find(manifests, "ConfigMap", "b3lb-dashboard")]
    options = ("--server-side", "--dry-run=server", "--validate=strict")
    monitored.kubectl("apply", *options, "-f", "-", input=yaml.safe_dump_all(shown))


@pytest.mark.parametrize("timeout", ["0s", "1h30m", ""])
def test_the_real_definition_takes_the_route_to_the_front_end(routed: ControlPlane, helm: Helm, timeout: str) -> None:
    parents = [{"name": "public", "namespace": "gateways", "sectionName": "https", "port": 443}, {"name": "other"}]
    settings = (
        "storage.type=directory,api.enabled=true,api.httpRoute.enabled=true,api.host=b3lb.example.org",
        f"api.httpRoute.requestTimeout={timeout}",
    )
    arguments = [word for text in settings for word in ("--set", text)]
    manifests = helm.render(*arguments, "--set-json", f"api.httpRoute.parentRefs={json.dumps(parents)}")
    text = yaml.safe_dump(find(manifests, "HTTPRoute", "b3lb-api"))
    options = ("--server-side", "--dry-run=server", "--validate=strict")
    routed.kubectl("apply", *options, "-f", "-", input=text)


def test_selector_and_port_lead_over_the_service_to_the_operators_container(
    monitored: ControlPlane, helm: Helm
) -> None:
    manifests = helm.render(*ENABLED)
    deployment = find(manifests, "Deployment", NAME)
    shown = [monitor(manifests), find(manifests, "Service", NAME)]
    monitored.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(shown))
    spec = json.loads(monitored.kubectl("get", "servicemonitor", NAME, f"--namespace={NAMESPACE}", "-o", "json"))[
        "spec"
    ]
    assert spec["namespaceSelector"]["matchNames"] == [NAMESPACE]
    (service,) = selected(monitored, "services", NAMESPACE, spec["selector"]["matchLabels"])
    (endpoint,) = spec["endpoints"]
    (port,) = [item for item in service["spec"]["ports"] if item["name"] == endpoint["port"]]
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": 8080} in container["ports"]
    assert (endpoint["path"], endpoint["honorLabels"]) == ("/metrics", True)


def test_no_other_service_of_the_chart_is_scraped(helm: Helm) -> None:
    manifests = helm.render(*ENABLED)
    wanted = monitor(manifests)["spec"]["selector"]["matchLabels"].items()
    services = [item for item in manifests if item["kind"] == "Service"]
    found = [item["metadata"]["name"] for item in services if wanted <= item["metadata"]["labels"].items()]
    assert found == [NAME]
    assert len(services) > 1


def test_without_the_value_there_is_none_and_without_a_service_it_is_refused(helm: Helm) -> None:
    assert not any(item["kind"] == "ServiceMonitor" for item in helm.render())
    with pytest.raises(HelmError, match=r"serviceMonitor\.enabled needs metrics\.enabled"):
        helm.render(*ENABLED, "--set", "metrics.enabled=false")


@pytest.mark.parametrize("setting", ["interval=fast", "scrapeTimeout=0s", "relabelings=x"])
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, setting: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render("--set", f"serviceMonitor.{setting}")
    assert f"at '/serviceMonitor/{setting.partition('=')[0]}'" in str(refused.value)
