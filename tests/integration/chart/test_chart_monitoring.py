"""PrometheusRule and dashboard: made of the chart's files; labels, severities and addresses are the user's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.dashboard import dashboard
from dev.helm import CHART, HelmError
from tests.integration.chart.charts import NAMESPACE, Helm, Manifest, find

# The first use of Helm builds it.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

RULE, DASHBOARD = "prometheusRule.enabled=true", "grafanaDashboard.enabled=true"
DOCUMENTS = CHART.parents[1] / "docs"


def source() -> Any:
    return yaml.safe_load((CHART / "files" / "prometheus-rules.yaml").read_text(encoding="utf-8"))


def alerts(rules: Any) -> dict[tuple[str, str], Any]:
    return {
        (rule["alert"], rule["expr"]): rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }


def kinds(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(item["kind"], item["metadata"]["name"]) for item in manifests}


def test_without_the_values_there_is_neither_rule_nor_dashboard(helm: Helm) -> None:
    assert not kinds(helm.render()) & {("PrometheusRule", "b3lb"), ("ConfigMap", "b3lb-dashboard")}


def test_the_rule_holds_the_file_as_it_is(helm: Helm) -> None:
    rule = find(helm.render("--set", RULE), "PrometheusRule", "b3lb")
    assert rule["spec"] == source()
    assert rule["metadata"]["namespace"] == NAMESPACE


def test_labels_severities_place_and_address_of_the_runbooks_can_be_set(helm: Helm) -> None:
    values = (
        "prometheusRule.namespace=monitoring,prometheusRule.labels.release=stack,prometheusRule.alertLabels.team=video,"
        "prometheusRule.severities.critical=page,prometheusRule.runbookUrl=https://wiki.example.org/b3lb"
    )
    rule = find(helm.render("--set", f"{RULE},{values}"), "PrometheusRule", "b3lb")
    assert (rule["metadata"]["namespace"], rule["metadata"]["labels"]["release"]) == ("monitoring", "stack")
    severities = {"critical": "page", "warning": "warning"}
    before, after = alerts(source()), alerts(rule["spec"])
    assert before.keys() == after.keys()
    for key, alert in after.items():
        assert alert["labels"] == {"team": "video", "severity": severities[before[key]["labels"]["severity"]]}
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example.org/b3lb#{key[0].lower()}"
        assert {**before[key], "labels": 0, "annotations": 0} == {**alert, "labels": 0, "annotations": 0}


def test_the_config_map_holds_the_dashboard_under_the_label_of_grafanas_sidecar(helm: Helm) -> None:
    values = "grafanaDashboard.annotations.grafana_folder=Video,commonAnnotations.owner=video"
    found = find(helm.render("--set", f"{DASHBOARD},{values}"), "ConfigMap", "b3lb-dashboard")
    assert json.loads(found["data"]["b3lb.json"]) == dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Video", "owner": "video"}


@pytest.mark.parametrize(
    "setting",
    [
        "prometheusRule.runbookUrl=a b",
        "prometheusRule.severities.critical=",
        "prometheusRule.thresholds=1",
        "prometheusRule.alertLabels=x",
        "grafanaDashboard.namespace=A_b",
    ],
)
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, setting: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render("--set", setting)
    path = setting.partition("=")[0]
    assert f"at '/{path.replace('.', '/')}'" in str(refused.value) or "'thresholds' not allowed" in str(refused.value)


def test_the_documented_values_of_monitoring_make_all_of_it(helm: Helm, tmp_path: Path) -> None:
    _, _, section = (DOCUMENTS / "production.md").read_text(encoding="utf-8").partition("\n## Monitoring\n")
    block, *_ = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "values.yaml").write_text(block, encoding="utf-8")
    made = kinds(helm.render("--values", str(tmp_path / "values.yaml")))
    assert {("ServiceMonitor", "b3lb-operator"), ("PrometheusRule", "b3lb"), ("ConfigMap", "b3lb-dashboard")} <= made
