"""A farm's queues declared as an installation has them: with every task, the pods' Secrets, and Jobs that succeeded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from b3lb.resources.conditions import format_time
from b3lb.tasks import tasks_of
from tests.integration.operator_cluster import OperatorCluster, bbb_queue

QUEUES = (("core", "* * * * *"), ("statistics", "*/5 * * * *"), ("housekeeping", "15 3 * * *"))
"""Names with schedules."""

ON_DEMAND = "record"
"""The name of the queue without one."""


def declare_queues(cluster: OperatorCluster) -> None:
    """Declare the queues with all their tasks and what their pods read, and wait until they are scheduled."""
    on_demand = bbb_queue(ON_DEMAND, tasks=tasks_of(ON_DEMAND), suspend=False)
    del on_demand["spec"]["schedule"]
    cluster.apply(
        *job_secrets(cluster),
        *(bbb_queue(name, tasks=tasks_of(name), schedule=schedule, suspend=False) for name, schedule in QUEUES),
        on_demand,
    )
    for name, _ in QUEUES:
        cluster.expect_condition("bbbqueue", name, "True/Scheduled", within=10)
    cluster.expect_condition("bbbqueue", ON_DEMAND, "True/OnDemand", within=10)


def job_secrets(cluster: OperatorCluster, *, keys: str | None = None) -> list[dict[str, Any]]:
    """Return the core Secrets that the pods read; with the operator's keys unless others are given."""
    return [
        core_secret("b3lb-database", url=cluster.setting("B3LB_DATABASE_URL")),
        core_secret("b3lb-encryption", keys=keys or cluster.setting("B3LB_ENCRYPTION_KEYS")),
    ]


def core_secret(name: str, **values: str) -> dict[str, Any]:
    """Return a core Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def let_jobs_succeed(cluster: OperatorCluster) -> None:
    """Do what the pods would have done a moment ago, for there is nobody to run them: a tick, Jobs that succeeded."""
    cluster.tick()
    cluster.kubectl("delete", "jobs", "--all", "--wait=false")
    status = json.dumps({"status": {"lastSuccessfulTime": format_time(datetime.now(UTC))}})
    for name, _ in QUEUES:
        cluster.kubectl("patch", "cronjob", f"b3lb-{name}", "--subresource=status", "--type=merge", "-p", status)
