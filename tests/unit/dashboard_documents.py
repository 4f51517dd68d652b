"""Documents as the operator answers them, for a farm of any size; deterministic."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

NOW = datetime(2026, 11, 23, 14, 20, 5, tzinfo=UTC)
FAILURES = {
    "Refused": "connection refused by 192.0.2.7:443",
    "Timeout": "no complete answer within 5 s",
    "ChecksumError": "the server refuses the signature: checksumError",
    "TLS": "certificate has expired",
}


def iso(at: datetime) -> str:
    """Return a time as documents have it."""
    return at.isoformat().replace("+00:00", "Z")


def overview(*, nodes: int = 3, tenants: int = 2, seed: int = 7, failing: bool = True) -> dict[str, Any]:
    """Return an overview of a farm that has run for a day."""
    chance = random.Random(seed)
    return {
        "kind": "Overview",
        "asOf": iso(NOW),
        "ping": ping(),
        "queues": queues(failing=failing),
        "active": [active()],
        "runs": runs(chance, failing=failing),
        "stats": stats(failing=failing),
        "nodes": [node(number, chance, failing=failing) for number in range(1, nodes + 1)],
        "clusters": [cluster(nodes)],
        "tenants": [tenant(number, chance) for number in range(1, tenants + 1)],
        "recordings": [recording("RENDERED"), recording("UPLOADED")],
        "history": history(chance, failing=failing),
    }


def ping() -> dict[str, Any]:
    """Return what the operator says of itself."""
    return {
        "kind": "Ping",
        "version": "0.1.0",
        "live": True,
        "ready": True,
        "leads": True,
        "databaseUp": True,
        "loopLagSeconds": 0.002,
        "namespaces": ["b3lb"],
        "problems": [],
        "queues": [],
    }


def queues(*, failing: bool) -> list[dict[str, Any]]:
    """Return the queues core, statistics and one for calls by hand."""
    core = queue(
        "core", ["check-nodes", "update-secrets-lists"], "* * * * *", succeeded=2876, failed=4 if failing else 0
    )
    statistics = queue("statistics", ["update-statistics"], "*/5 * * * *", succeeded=286, failed=2 if failing else 0)
    if failing:
        statistics |= {
            "up": False,
            "ready": "False",
            "reason": "JobsFailing",
            "message": "the Job that finished last failed",
            "depth": 4,
            "waiting": 1,
            "missedSlots": 3,
            "active": 0,
            "oldestWaitingSeconds": 1211.0,
            "lastSuccess": iso(NOW - timedelta(minutes=20)),
        }
    reports = queue("reports", ["render-report"], None, succeeded=41, failed=0)
    return [core, statistics, reports | {"depth": 12, "waiting": 12, "oldestWaitingSeconds": 94.0}]


def queue(name: str, tasks: list[str], schedule: str | None, *, succeeded: int, failed: int) -> dict[str, Any]:
    """Return a queue that is up."""
    return {
        "namespace": "b3lb",
        "name": name,
        "tasks": tasks,
        "schedule": schedule,
        "timeZone": "Etc/UTC" if schedule else None,
        "tickSeconds": 15,
        "suspended": False,
        "up": True,
        "ready": "True",
        "reason": "Scheduled" if schedule else "OnDemand",
        "message": "",
        "depth": 0,
        "waiting": 0,
        "missedSlots": 0,
        "active": 1,
        "oldestWaitingSeconds": 0.0,
        "lastSchedule": iso(NOW - timedelta(seconds=5)) if schedule else None,
        "lastSuccess": iso(NOW - timedelta(seconds=6)),
        "nextRun": iso(NOW + timedelta(seconds=55)) if schedule else None,
        "concurrency": 1,
        "replicas": 1,
        "rateLimit": None,
        "priority": 9,
        "succeeded1h": succeeded // 24,
        "failed1h": failed,
        "succeeded24h": succeeded,
        "failed24h": failed,
    }


def active() -> dict[str, Any]:
    """Return a run at work."""
    return {
        "id": str(UUID(int=1)),
        "namespace": "b3lb",
        "queue": "core",
        "task": "check-nodes",
        "pod": "b3lb-core-29732420-x7k2p",
        "job": "b3lb-core-29732420",
        "attempt": 1,
        "startedAt": iso(NOW - timedelta(seconds=5)),
        "seconds": 5.0,
        "enqueued": False,
    }


def runs(chance: random.Random, *, failing: bool) -> list[dict[str, Any]]:
    """Return fifty runs, some of them failed."""
    made = []
    for number in range(50):
        queue_name, task = chance.choice([("core", "check-nodes"), ("statistics", "update-statistics")])
        failed = failing and queue_name == "statistics" and number < 12
        made.append(
            run(
                number,
                queue_name,
                task,
                state="FAILURE" if failed else "SUCCESS",
                error="TransientError: the database does not answer" if failed else None,
                seconds=chance.uniform(0.2, 45),
            )
        )
    return made


def run(number: int, queue_name: str, task: str, *, state: str, error: str | None, seconds: float) -> dict[str, Any]:
    """Return a run that has ended, as `b3lb result` prints it."""
    began = NOW - timedelta(minutes=number + 1)
    return {
        "id": str(UUID(int=1000 + number)),
        "namespace": "b3lb",
        "queue": queue_name,
        "task": task,
        "state": state,
        "enqueued": False,
        "priority": None,
        "attempts": 1,
        "pod": f"b3lb-{queue_name}-{number}",
        "arguments": {},
        "result": None if error else {"polled": 3},
        "error": error,
        "traceback": None,
        "createdAt": iso(began),
        "notBefore": None,
        "paused": False,
        "startedAt": iso(began),
        "finishedAt": iso(began + timedelta(seconds=seconds)),
    }


def stats(*, failing: bool) -> list[dict[str, Any]]:
    """Return the statistics of three tasks."""
    numbers = (
        ("core", "check-nodes", 1438, 3, 0.184, 0.41),
        ("core", "update-secrets-lists", 1438, 1, 0.022, 0.06),
        ("statistics", "update-statistics", 286, 2, 1.8, 4.4),
    )
    return [
        {
            "namespace": "b3lb",
            "queue": queue_name,
            "task": task,
            "pending": 0,
            "started": succeeded + failed,
            "success": 30 * succeeded,
            "failure": 30 * failed if failing else 0,
            "retry": 0,
            "revoked": 0,
            "succeeded1h": succeeded // 24,
            "failed1h": failed if failing and queue_name == "statistics" else 0,
            "succeeded24h": succeeded,
            "failed24h": failed if failing else 0,
            "p50Seconds": p50,
            "p95Seconds": p95,
            "lastFinishedAt": iso(NOW - timedelta(seconds=4)),
        }
        for queue_name, task, succeeded, failed, p50, p95 in numbers
    ]


def node(number: int, chance: random.Random, *, failing: bool) -> dict[str, Any]:
    """Return a node; of three the third is not Ready, of more about every fifteenth."""
    made = {
        "namespace": "b3lb",
        "name": f"bbb{number}",
        "cluster": "default",
        "host": f"bbb{number}.example.org",
        "state": "Active",
        "ready": "True",
        "readyReason": "Responding",
        "readyMessage": "the server answers",
        "schedulable": "True",
        "schedulableReason": "Schedulable",
        "load": float(chance.randint(40, 900)),
        "cpuPercent": 5 * chance.randint(1, 15),
        "meetings": chance.randint(0, 25),
        "attendees": chance.randint(0, 400),
        "lastGoodPollSeconds": chance.uniform(0, 15),
        "transitionTime": iso(NOW - timedelta(days=number % 40 + 1)),
        "safeToTerminate": False,
    }
    if failing and number % 15 == 3:
        reason, message = chance.choice(sorted(FAILURES.items()))
        made |= {
            "ready": "False",
            "readyReason": reason,
            "readyMessage": message,
            "schedulable": "False",
            "schedulableReason": reason,
            "load": -1.0,
            "cpuPercent": None,
            "lastGoodPollSeconds": 754.0,
        }
    elif number % 23 == 2:
        made |= {"state": "Cordoned", "schedulable": "False", "schedulableReason": "Cordoned"}
    elif failing and number % 40 == 7:
        made |= {"schedulable": "False", "schedulableReason": "Suspect"}
    return made


def cluster(nodes: int) -> dict[str, Any]:
    """Return the cluster of all nodes."""
    return {
        "namespace": "b3lb",
        "name": "default",
        "nodes": nodes,
        "nodesReady": nodes - nodes // 15 - 1,
        "nodesSchedulable": nodes - nodes // 15 - 2,
        "meetings": 12 * nodes,
        "attendees": 200 * nodes,
        "headroomAttendees": 180 * nodes,
        "recommendedNodes": nodes - nodes // 5,
        "massFailure": False,
    }


def tenant(number: int, chance: random.Random) -> dict[str, Any]:
    """Return a tenant; the first one is at its limit."""
    slug = "UNI" + "ABCDEFGHIJ"[number // 10 % 10] + "ABCDEFGHIJ"[number % 10]
    limit = 500 if number % 2 else None
    return {
        "namespace": "b3lb",
        "name": slug.lower(),
        "slug": slug,
        "enabled": number % 17 != 16,
        "accepted": "True",
        "reason": "Accepted",
        "meetings": chance.randint(0, 60),
        "attendees": 500 if number == 1 else chance.randint(0, 440),
        "attendeeLimit": limit,
        "meetingLimit": 80,
        "limitReached": number == 1,
        "secrets": chance.randint(1, 6),
        "lastUsed": iso(NOW - timedelta(minutes=chance.randint(0, 300))),
    }


def recording(state: str | None, **more: Any) -> dict[str, Any]:
    """Return a recording with two videos, one of them done."""
    return {
        "namespace": "b3lb",
        "recordID": f"f00-{state}".lower(),
        "meetingName": f"Algebra {state}".lower().capitalize(),
        "tenant": "T001",
        "state": state,
        "progressPercent": 50.0,
        "paused": False,
        "videos": [{"state": "RENDERED"}, {"state": state}],
        "archiveBytes": 3 << 30,
        "videoBytes": 300 << 20,
        "warningCount": 1,
        "legalHold": False,
        "uploadedAt": iso(NOW - timedelta(minutes=20)),
        "expiresAt": iso(NOW + timedelta(days=13)),
        **more,
    }


def history(chance: random.Random, *, failing: bool) -> list[dict[str, Any]]:
    """Return a day of three tasks, hour by hour."""
    begin = NOW.replace(minute=0, second=0) - timedelta(hours=23)
    made = []
    for queue_name, task, per_hour, seconds in (
        ("core", "check-nodes", 60, 0.18),
        ("core", "update-secrets-lists", 60, 0.02),
        ("statistics", "update-statistics", 12, 1.8),
    ):
        buckets = []
        for hour in range(24):
            failed = chance.choice([0, 0, 0, 0, 1, 3]) if failing and hour > 5 else 0
            buckets.append(
                {
                    "start": iso(begin + timedelta(hours=hour)),
                    "succeeded": per_hour - failed,
                    "failed": failed,
                    "p50Seconds": None if hour == 4 else seconds * chance.uniform(0.8, 1.6),
                }
            )
        made.append({"namespace": "b3lb", "queue": queue_name, "task": task, "buckets": buckets})
    return made
