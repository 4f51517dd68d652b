"""The rules of the chart, as ``promtool`` runs them: each alert fires when it should, and not when it should not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.helm import CHART
from tests.integration.alert_cases import CASES, QUEUE, TICK, Case

pytestmark = pytest.mark.integration

_METRIC = re.compile(r"\b(?:b3lb_|namespace_\w+:)[\w:]+")
RULES = CHART / "files" / "prometheus-rules.yaml"


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


def promtool(programs: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [programs / "promtool", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def run(programs: Path, directory: Path, tests: list[dict[str, Any]], source: str) -> None:
    (directory / "rules.yaml").write_text(source, encoding="utf-8")
    file = directory / "tests.yaml"
    # Otherwise promtool takes the groups in any order, and an alert may see what was recorded a minute before.
    order = [group["name"] for group in yaml.safe_load(source)["groups"]]
    whole = {"rule_files": ["rules.yaml"], "group_eval_order": order, "tests": tests}
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    result = promtool(programs, "test", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr


def with_summaries_only() -> str:
    """Return the rules without the annotations that no case repeats, and without the old names, for speed."""
    whole = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    whole["groups"] = [group for group in whole["groups"] if group["name"] != "b3lb.celery"]
    for group in whole["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    return yaml.safe_dump(whole)


def test_prometheus_takes_the_file_as_it_is(prometheus: Path) -> None:
    result = promtool(prometheus, "check", "rules", RULES)
    assert result.returncode == 0, result.stdout + result.stderr


def metrics_of(alert: str) -> set[str]:
    """Return the metrics that an alert depends on, itself or by what is recorded."""
    names: set[str] = set()
    for rule in rules():
        if rule.get("alert") == alert:
            names |= set(_METRIC.findall(rule["expr"]))
    recorded = {rule["record"]: set(_METRIC.findall(rule["expr"])) for rule in rules() if "record" in rule}
    return names.union(*(recorded.get(name, set()) for name in names))


def bundles() -> list[dict[str, Any]]:
    """Return all cases as few tests, each with a database of its own: those without a common metric share one."""
    found: list[tuple[int, set[str], list[Case]]] = []
    for case in CASES:
        metrics = metrics_of(case.alert)
        for interval, used, cases in found:
            if interval == case.interval and not used & metrics:
                used.update(metrics)
                cases.append(case)
                break
        else:
            found.append((case.interval, metrics, [case]))
    return [
        {
            "name": "; ".join(case.test["name"] for case in cases),
            "interval": f"{interval}m",
            "input_series": [series for case in cases for series in case.test["input_series"]],
            "alert_rule_test": [item for case in cases for item in case.test["alert_rule_test"]],
        }
        for interval, _, cases in found
    ]


@pytest.mark.timeout(120)
def test_each_alert_fires_when_it_should_and_only_then(prometheus: Path, tmp_path: Path) -> None:
    run(prometheus, tmp_path, bundles(), with_summaries_only())


def test_every_alert_is_seen_firing_and_not_firing_in_each_of_its_severities() -> None:
    wanted = {(rule["alert"], rule["labels"]["severity"]) for rule in rules() if "alert" in rule}
    firing = {(case.alert, item.severity) for case in CASES for items in case.at.values() for item in items}
    silent = {case.alert for case in CASES if not any(case.at.values())}
    assert firing == wanted
    assert silent == {name for name, _ in wanted}


def test_the_old_names_have_the_old_labels_beside_the_new_ones(prometheus: Path, tmp_path: Path) -> None:
    total = f'b3lb_task_total{{{TICK},state="SUCCESS",pod="a"}}'
    histogram = "b3lb_task_runtime_seconds"
    given = {
        total: "7x2",
        f'{histogram}_bucket{{{TICK},le="5.0"}}': "6x2",
        f"{histogram}_sum{{{TICK}}}": "9x2",
        f"{histogram}_count{{{TICK}}}": "8x2",
        f"b3lb_worker_up{{{QUEUE}}}": "1x2",
        f"b3lb_queue_length{{{QUEUE}}}": "3x2",
    }
    queue = f'{QUEUE},queue_name="core"'
    task = f'{queue},task="check-nodes",name="check-nodes"'
    wanted = {
        "celery_task_total": (f'{task},state="SUCCESS"', 7),
        "celery_task_runtime_seconds_bucket": (f'{task},le="5.0"', 6),
        "celery_task_runtime_seconds_sum": (task, 9),
        "celery_task_runtime_seconds_count": (task, 8),
        "celery_worker_up": (f'{queue},hostname="core"', 1),
        "celery_queue_length": (queue, 3),
    }
    expected = [
        {"expr": name, "eval_time": "1m", "exp_samples": [{"labels": f"{name}{{{labels}}}", "value": value}]}
        for name, (labels, value) in wanted.items()
    ]
    series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": expected}
    run(prometheus, tmp_path, [test], RULES.read_text(encoding="utf-8"))


def test_a_prometheus_without_its_operator_takes_the_documented_settings(prometheus: Path, tmp_path: Path) -> None:
    text = (CHART.parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shutil.copy(RULES, tmp_path)
    (tmp_path / "prometheus.yaml").write_text(block, encoding="utf-8")
    result = promtool(prometheus, "check", "config", tmp_path / "prometheus.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(list(rules()))} rules found" in result.stdout
