"""The documented table of metrics names exactly what is served, with its type and labels."""

from __future__ import annotations

import re

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from b3lb.metrics.nodes import ClusterSample, PollTimes, cluster_families, node_families
from b3lb.metrics.queues import TaskTicks, TaskTotal, queue_families, task_families
from b3lb.metrics.tenants import SecretMetrics, tenant_families
from b3lb_operator.instruments import Instruments
from b3lb_operator.metrics import families_text
from dev.generated import ROOT
from tests.unit.test_metrics_families import DEAD, NODE, QUEUE

_ROW = re.compile(r"^\| `(b3lb_\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)
_OF_THE_PAGE = {("b3lb_database_up", "gauge", ""), ("b3lb_snapshot_age_seconds", "gauge", "")}
Row = tuple[str, str, str]


def documented() -> list[Row]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return [(name, kind, labels.strip()) for name, kind, labels in _ROW.findall(text)]


def served() -> set[Row]:
    secret = SecretMetrics(
        slug="UNI", sub_id=0, meeting_limit=1, attendee_limit=1, tenant_meeting_limit=1, tenant_attendee_limit=1
    )
    families: list[Metric] = [
        *queue_families([QUEUE]),
        *task_families(
            [TaskTotal("farm", "check-nodes", "core", "SUCCESS", 1)],
            [TaskTicks("farm", "check-nodes", "core", [1], 0.1, 1.0)],
        ),
        *node_families([NODE, DEAD], [PollTimes("farm", [1], 0.1)]),
        *cluster_families([ClusterSample("farm", "default")], [NODE]),
        *tenant_families([secret]),
    ]
    instruments = Instruments()
    instruments.observe(loop_lag_seconds=float, live=float, ready=float, leads=float)
    instruments.count_request("get", "200")
    text = families_text(families) + instruments.text()
    return set(rows(text.decode())) | _OF_THE_PAGE


def rows(text: str) -> list[Row]:
    found = []
    for family in text_string_to_metric_families(text):
        names = {name for sample in family.samples for name in sample.labels} - {"le"}
        kind = family.type
        name = f"{family.name}_total" if kind == "counter" else family.name
        if name.startswith("b3lb_"):
            found.append((name, kind, ", ".join(sorted(names))))
    return found


def test_the_documented_metrics_are_those_that_are_served() -> None:
    assert set(documented()) == served()


def test_each_stands_there_once() -> None:
    names = [name for name, *_ in documented()]
    assert len(names) == len(set(names))
