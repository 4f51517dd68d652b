"""Small documents of an operator, as its read-only end point answers with them."""

from typing import Any

AS_OF = "2026-11-02T12:00:00+00:00"
RUN_ID = "7b1c0a52-8f0e-4c55-9f0c-0d2f6c1f6f0a"
FAILED_ID = "11111111-8f0e-4c55-9f0c-0d2f6c1f6f0a"


def listing(kind: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "asOf": AS_OF, "databaseUp": True, **more, "items": list(items)}


def queue(name: str, *tasks: str, **more: Any) -> dict[str, Any]:
    return {
        "namespace": "b3lb",
        "name": name,
        "tasks": list(tasks),
        "schedule": "* * * * *",
        "timeZone": "UTC",
        "tickSeconds": 15,
        "suspended": False,
        "up": True,
        "ready": "True",
        "reason": "Scheduled",
        "message": "",
        "depth": 0,
        "waiting": 0,
        "missedSlots": 0,
        "active": 1,
        "oldestWaitingSeconds": 0.0,
        "lastSchedule": "2026-11-02T12:00:00+00:00",
        "lastSuccess": "2026-11-02T11:59:50+00:00",
        "nextRun": "2026-11-02T12:01:00+00:00",
        "concurrency": 1,
        "replicas": 1,
        "rateLimit": None,
        "priority": 5,
        "succeeded1h": 240,
        "failed1h": 0,
        "succeeded24h": 5760,
        "failed24h": 2,
        **more,
    }


def run(run_id: str = RUN_ID, **more: Any) -> dict[str, Any]:
    return {
        "id": run_id,
        "namespace": "b3lb",
        "queue": "record",
        "task": "render",
        "state": "SUCCESS",
        "enqueued": True,
        "priority": 9,
        "attempts": 1,
        "pod": "b3lb-run-7b1c0a52-1-x2x4x",
        "arguments": {"meeting": "private words"},
        "result": {"videos": 2},
        "error": None,
        "traceback": None,
        "createdAt": "2026-11-02T11:50:00+00:00",
        "notBefore": None,
        "paused": False,
        "startedAt": "2026-11-02T11:51:00+00:00",
        "finishedAt": "2026-11-02T11:52:30+00:00",
        **more,
    }


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "namespace": "b3lb",
        "name": name,
        "cluster": "default",
        "host": f"{name}.example.org",
        "state": "active",
        "ready": "True",
        "readyReason": "Healthy",
        "readyMessage": "",
        "schedulable": "True",
        "schedulableReason": "Ready",
        "load": 1250,
        "cpuPercent": 35,
        "meetings": 4,
        "attendees": 61,
        "lastGoodPollSeconds": 6.2,
        "transitionTime": "2026-11-01T12:00:00+00:00",
        "safeToTerminate": False,
        **more,
    }


PING = {
    "kind": "Ping",
    "version": "0.1.0",
    "live": True,
    "ready": True,
    "leads": True,
    "databaseUp": True,
    "loopLagSeconds": 0.002,
    "namespaces": ["b3lb"],
    "problems": [],
    "queues": [
        {"namespace": "b3lb", "name": "core", "up": True, "lastSuccess": "2026-11-02T11:59:50+00:00"},
        {"namespace": "b3lb", "name": "record", "up": None, "lastSuccess": None},
    ],
}

QUEUES = listing(
    "QueueList",
    queue("core", "check-nodes", "update-secrets-lists"),
    queue(
        "record",
        "render",
        schedule=None,
        nextRun=None,
        up=None,
        lastSuccess=None,
        depth=12,
        active=3,
        concurrency=10,
        replicas=3,
        oldestWaitingSeconds=754.1,
        succeeded1h=None,
        failed1h=None,
        succeeded24h=None,
        failed24h=None,
    ),
    queue("statistics", "update-statistics", schedule="*/5 * * * *", suspended=True, active=0, up=False),
)

NODES = listing(
    "NodeList",
    node("bbb1"),
    node("bbb2", schedulable="False", schedulableReason="Cordoned", load=None, cpuPercent=None),
    node(
        "bbb3",
        ready="False",
        readyReason="ChecksumRejected",
        readyMessage="the server refuses the checksum: is the secret right?",
        load=None,
        cpuPercent=None,
        meetings=0,
        attendees=0,
        lastGoodPollSeconds=None,
    ),
)

DOCUMENTS: dict[str, dict[str, Any]] = {
    "/ping": PING,
    "/queues": QUEUES,
    "/nodes": NODES,
    "/active": listing(
        "ActiveList",
        {
            "id": RUN_ID,
            "namespace": "b3lb",
            "queue": "record",
            "task": "render",
            "pod": "b3lb-run-7b1c0a52-1-x2x4x",
            "job": "b3lb-run-7b1c0a52-1",
            "attempt": 1,
            "startedAt": "2026-11-02T11:51:00+00:00",
            "seconds": 540.0,
            "enqueued": True,
        },
    ),
    "/scheduled": listing(
        "ScheduledList",
        {
            "namespace": "b3lb",
            "queue": "record",
            "tasks": ["render"],
            "id": RUN_ID,
            "at": "2026-11-02T12:00:20+00:00",
            "kind": "retry",
            "priority": 9,
        },
        {
            "namespace": "b3lb",
            "queue": "core",
            "tasks": ["check-nodes", "update-secrets-lists"],
            "id": None,
            "at": "2026-11-02T12:01:00+00:00",
            "kind": "slot",
            "priority": None,
        },
    ),
    "/registered": listing(
        "RegisteredList",
        {
            "task": "check-nodes",
            "queue": "core",
            "routedTo": [{"namespace": "b3lb", "queue": "core"}],
            "runs": "every tick",
            "description": "Polls every node.",
        },
        {"task": "render", "queue": None, "routedTo": [], "runs": "when enqueued", "description": "Renders."},
    ),
    "/stats": listing(
        "StatsList",
        {
            "namespace": "b3lb",
            "queue": "core",
            "task": "check-nodes",
            "pending": 0,
            "started": 1,
            "success": 5760,
            "failure": 2,
            "retry": 0,
            "revoked": 0,
            "succeeded1h": 240,
            "failed1h": 0,
            "succeeded24h": 5758,
            "failed24h": 2,
            "p50Seconds": 0.127,
            "p95Seconds": 2.51,
            "lastFinishedAt": "2026-11-02T11:59:50+00:00",
        },
    ),
    "/active-queues": listing(
        "ActiveQueueList",
        {
            "namespace": "b3lb",
            "queue": "core",
            "tasks": ["check-nodes", "update-secrets-lists"],
            "consumers": 1,
            "concurrency": 1,
            "suspended": False,
        },
    ),
    "/clusters": listing(
        "ClusterList",
        {
            "namespace": "b3lb",
            "name": "default",
            "nodes": 3,
            "nodesReady": 2,
            "nodesSchedulable": 1,
            "meetings": 8,
            "attendees": 122,
            "headroomAttendees": 400,
            "recommendedNodes": 2,
            "massFailure": False,
        },
    ),
    "/tenants": listing(
        "TenantList",
        {
            "namespace": "b3lb",
            "name": "uni",
            "slug": "UNI",
            "enabled": True,
            "accepted": "True",
            "reason": "Accepted",
            "meetings": 8,
            "attendees": 122,
            "attendeeLimit": 500,
            "meetingLimit": None,
            "limitReached": False,
            "secrets": 3,
            "lastUsed": "2026-11-02T11:00:00+00:00",
        },
    ),
    "/runs": listing(
        "TaskRunList",
        run(),
        run(
            FAILED_ID,
            state="FAILURE",
            priority=None,
            error="the disk\x1b[31m is full",
            traceback="Traceback (most recent call last):\n  …\nOSError: no space left",
        ),
    ),
    f"/runs/{RUN_ID}": run(),
    "/tenants/uni/metrics": {"kind": "TenantMetrics", "slug": "UNI", "text": 'b3lb_attendees{secret="UNI"} 122.0\n'},
    "/accounting": listing(
        "AccountingList",
        {
            "month": "2026-11",
            "tenant": "UNI",
            "timeZone": "Europe/Berlin",
            "participantMinutes": 60118.2,
            "meetingMinutes": 2410.7,
            "participantMilliseconds": 3607092000,
            "meetingMilliseconds": 144642000,
            "peakAttendees": 290,
            "peakMeetings": 17,
            "recordingBytes": None,
            "startedAt": "2026-10-31T23:00:00+00:00",
            "closedAt": None,
            "asOf": "2026-11-02T11:55:00+00:00",
        },
    ),
    "/meetings": {
        "namespace": "b3lb",
        "secret": "uni-001",
        "version": 3,
        "digest": "01fe",
        "reason": None,
        "asOf": "2026-11-02T11:59:54+00:00",
        "ageSeconds": 6.0,
        "totals": {"meetings": 1, "attendees": 12},
        "meetings": [
            {
                "meetingID": "67oWUGXuBLoG6FkWIqYDqt40",
                "internalMeetingID": "f00-1",
                "name": "Ελληνική Φιλοσοφία",
                "node": "bbb1",
                "isBreakout": False,
                "createdAt": "2026-11-02T11:00:00+00:00",
                "ageSeconds": 3600.0,
                "attendees": 12,
                "listeners": 3,
                "voices": 9,
                "videos": 4,
                "moderators": 1,
                "origin": "Moodle",
                "originServerName": "lms.example.org",
            }
        ],
    },
}
