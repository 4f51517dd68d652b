"""What a whole farm serves at ``/metrics``, every family with a series: a real page over a store and a fake look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from b3lb.db.counters import SecretCounters
from b3lb.db.farm_metrics import FarmMetrics, NodeNumbers
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.histograms import POLL_BOUNDS, RUNTIME_BOUNDS, bucket_counts
from b3lb.metrics.nodes import ClusterSample, PollTimes
from b3lb.metrics.queues import EnqueuedRuns, TaskTicks, TaskTotal
from b3lb.metrics.recordings import (
    Backlog,
    Callbacks,
    DeletionTotal,
    RecordingMetrics,
    RecordSets,
    RenderTotal,
    StoredBytes,
)
from b3lb.metrics.tenants import SecretMetrics
from b3lb.resources.conditions import format_time
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import CRON_JOB, NODE, QUEUE, Manifest
from b3lb_operator.metrics import Look, MetricsPage
from b3lb_operator.store import Store
from tests.unit.test_operator_metrics import FakeDatabase

FARM = "farm"
_STATES = ("PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED")
_ROUTES = (("check-nodes", "core"), ("statistics", "statistics"), ("render", "record"))


async def full_exposition() -> str:
    """Return the page of an operator that leads: two nodes, three queues, two tenants, one of them at its limit."""
    now = datetime.now(UTC)
    database = FakeDatabase()
    database.look = _look(now)
    store = Store(lambda _change: None)
    for name, reason in (("bbb1", "Responding"), ("bbb2", "Timeout")):
        store.observe(NODE, None, _node(name, reason))
    for _, queue in _ROUTES:
        store.observe(QUEUE, None, _object(queue, spec={"tasks": ["check-nodes"], "schedule": "* * * * *"}))
    status = {key: format_time(now - timedelta(seconds=30)) for key in ("lastSuccessfulTime", "lastScheduleTime")}
    store.observe(CRON_JOB, None, _object("b3lb-core", spec={}, status=status))
    instruments = Instruments()
    instruments.observe(loop_lag_seconds=lambda: 0.01, live=lambda: 1, ready=lambda: 1, leads=lambda: 1)
    instruments.count_request("get", "200")
    page = MetricsPage(
        store=store,
        database=database,  # type: ignore[arg-type]  # only its method call is used
        namespaces=(FARM,),
        instruments=instruments,
    )
    return (await page.text()).decode()


def _look(now: datetime) -> Look:
    at = now.timestamp()
    ticks = bucket_counts([0.2] * 90 + [7.0] * 10, RUNTIME_BOUNDS)
    numbers = NodeNumbers(load=10.0, cpu=5000, meetings=1, attendees=12, polled_at=at, meetings_known=1)
    farms = FarmMetrics(
        now=now,
        nodes={(FARM, "bbb1"): numbers},
        clusters=[ClusterSample(FARM, "default")],
        enqueued={(FARM, "record"): EnqueuedRuns(waiting=3, oldest_at=at - 60)},
        totals=[TaskTotal(FARM, task, queue, state, 5) for task, queue in _ROUTES for state in _STATES],
        ticks=[TaskTicks(FARM, task, queue, ticks, 88.0, at) for task, queue in _ROUTES],
        polls=[PollTimes(FARM, bucket_counts([0.02, 0.3], POLL_BOUNDS), 0.32)],
    )
    secrets = [_secret("UNI", 0, 95), _secret("UNI", 1, 95), _secret("FH", 1, 3)]
    return Look(farms, {FARM: secrets}, _recordings(at))


def _recordings(at: float) -> RecordingMetrics:
    return RecordingMetrics(
        now=at,
        sets=[RecordSets(FARM, "RENDERED", 12), RecordSets(FARM, "UPLOADED", 1)],
        backlogs=[Backlog(FARM, 1, at - 120)],
        stored=[StoredBytes(FARM, "UNI", kind, 2 << 30) for kind in ("archive", "video")],
        renders=[
            RenderTotal(FARM, "full-hd", "RENDERED", "", 12, 1_200_000, 7_200_000),
            RenderTotal(FARM, "full-hd", "FAILED", "ArchiveCorrupt", 1, 0, 0),
        ],
        callbacks=[Callbacks(FARM, "PENDING", 1, at - 30)],
        deletions=[DeletionTotal(FARM, "record-set", "PastHold", 3, 1 << 30)],
    )


def _secret(slug: str, sub_id: int, attendees: int) -> SecretMetrics:
    return SecretMetrics(
        slug=slug,
        sub_id=sub_id,
        totals=SecretTotals(meetings=1, attendees=attendees, listeners=1, voices=1, videos=1),
        counters=SecretCounters(attendees_joined=9, meetings=2, duration_count=2, duration_milliseconds=7000),
        meeting_limit=10,
        attendee_limit=100,
        tenant_meeting_limit=20,
        tenant_attendee_limit=100,
    )


def _node(name: str, reason: str) -> Manifest:
    ready = "True" if reason == "Responding" else "False"
    conditions = [
        {"type": type_, "status": ready, "reason": reason, "lastTransitionTime": "2026-03-01T12:00:00Z"}
        for type_ in ("Ready", "Schedulable")
    ]
    return _object(name, spec={"maxMeetings": 20, "maxAttendees": 100}, status={"conditions": conditions})


def _object(name: str, **content: Any) -> Manifest:
    metadata = {"namespace": FARM, "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    return {"metadata": {**metadata, "creationTimestamp": "2026-03-01T12:00:00Z"}, **content}
