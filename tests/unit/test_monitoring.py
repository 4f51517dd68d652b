"""Alerts, dashboard and their pages name what there is: metrics, runbooks, old names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from b3lb_api.instruments import Instruments
from dev.dashboard import dashboard
from dev.generated import ROOT
from tests.unit.full_exposition import full_exposition

FILES = ROOT / "charts" / "b3lb" / "files"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
_NAME = re.compile(r"\b(?:b3lb_|process_|celery_|namespace_\w+:)[\w:]+")
_GRID_WIDTH = 24
_LARGEST_CONFIG_MAP = 1_000_000


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def expressions() -> Iterator[str]:
    """Yield every expression of the rules, of their texts and of the dashboard."""
    for rule in rules():
        yield rule["expr"]
        yield from rule.get("annotations", {}).values()
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard()["templating"]["list"][1:]:
        yield variable["query"]["query"]


def sections() -> dict[str, str]:
    """Return the runbooks by the alerts that they are for."""
    _, *parts = re.split(r"^## (B3LB\w+)$", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def of_front_end() -> set[str]:
    """Return the series that the front end serves once an upload has ended."""
    instruments = Instruments()
    with instruments.upload():
        pass
    text = instruments.text().decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


async def test_every_series_that_rules_and_dashboard_name_is_served_or_recorded() -> None:
    served = {
        sample.name for family in text_string_to_metric_families(await full_exposition()) for sample in family.samples
    }
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert len(named) > 40
    assert named - recorded <= served | of_front_end()
    assert {"celery_task_total", "celery_worker_up", "celery_queue_length"} <= recorded


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(sections()) == list(dict.fromkeys(rule["alert"] for rule in alerts()))
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("alert", sorted({rule["alert"] for rule in alerts()}))
def test_a_runbook_says_what_it_means_what_users_notice_how_to_see_it_what_to_do_and_when_it_clears(alert: str) -> None:
    text = sections()[alert]
    for question in ("Meaning", "Users notice", "How to see it", "What to do", "It clears"):
        assert f"**{question}:**" in text
    severities = {rule["labels"]["severity"] for rule in alerts() if rule["alert"] == alert}
    assert {name for name in ("warning", "critical") if f"`{name}`" in text} == severities


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_an_alert_says_in_short_and_at_length_what_is_wrong_and_how_bad_it_is(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_thresholds_are_those_that_celerys_users_had() -> None:
    """CeleryWorkerDown: 0 for 5 minutes; CeleryQueueBacklog: above 1000 for 10; from 100 on workers are to be added."""
    found = {
        (rule["alert"], rule["labels"]["severity"]): (rule["expr"], rule["for"]) for rule in alerts() if "for" in rule
    }
    assert "max by (namespace, queue) (b3lb_worker_up) == 0" in found["B3LBWorkerDown", "critical"][0]
    assert found["B3LBWorkerDown", "critical"][1] == "5m"
    length = "max by (namespace, queue) (b3lb_queue_length) >"
    assert found["B3LBQueueBacklog", "warning"] == (f"{length} 100", "10m")
    assert found["B3LBQueueBacklog", "critical"] == (f"{length} 1000", "10m")


def test_the_dashboard_file_is_the_dashboard_and_fits_into_a_config_map() -> None:
    text = (FILES / "grafana-dashboard.json").read_text(encoding="utf-8")
    assert json.loads(text) == dashboard()
    assert len(text) < _LARGEST_CONFIG_MAP


def test_no_two_panels_overlap_and_all_ask_the_chosen_data_source() -> None:
    cells: set[tuple[int, int]] = set()
    numbers = []
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= _GRID_WIDTH
        own = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not own & cells, panel["title"]
        cells |= own
        numbers.append(panel["id"])
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len(set(numbers)) == len(numbers)
