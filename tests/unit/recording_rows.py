"""Recordings as the database has them, for tests of what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from b3lb.callbacks.outbox import CallbackState, Delivery
from b3lb.db.callbacks import ShownCallback
from b3lb.db.legal_hold import AuditLine
from b3lb.db.recordings import Recording, RecordSet, Video

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
RECORD_ID = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1762076400000"
RUN_ID = UUID("7b1c0a52-8f0e-4c55-9f0c-0d2f6c1f6f0a")


def record_set(**fields: Any) -> RecordSet:
    values: dict[str, Any] = {
        **dict.fromkeys(RecordSet.__dataclass_fields__),
        "id": UUID(int=1),
        "namespace": "farm",
        "record_id": RECORD_ID,
        "meeting_id": "UNI-001-algebra",
        "meeting_name": "Algebra",
        "tenant_slug": "UNI",
        "sub_id": 1,
        "cluster_name": "default",
        "node_name": "bbb1",
        "state": "RENDERING",
        "uploaded_at": NOW - timedelta(minutes=20),
        "rendering_at": NOW - timedelta(minutes=10),
        "archive_key": "recordsets/farm/x/archive.tar",
        "archive_bytes": 300 << 20,
        "started_at": NOW - timedelta(hours=2),
        "ended_at": NOW - timedelta(hours=1),
        "duration_milliseconds": 3_600_000,
        "participants": 42,
        "legal_hold": False,
        "paused": False,
        "tenant_days": 14,
        "secret_days": 0,
    }
    return RecordSet(**{**values, **fields})


def video(profile: str = "full-hd", **fields: Any) -> Video:
    values: dict[str, Any] = {
        **dict.fromkeys(Video.__dataclass_fields__),
        "id": UUID(int=2),
        "profile": profile,
        "state": "RENDERING",
        "run_id": RUN_ID,
        "attempts": 1,
        "memory_steps": 0,
        "progress_percent": 40.0,
        "progress_message": "rendering",
        "warning_count": 0,
        "warnings": [],
    }
    return Video(**{**values, **fields})


def callback(url: str = "https://lms.example.org/ready?token=geheim", **fields: Any) -> ShownCallback:
    delivery = Delivery(created_at=NOW, next_attempt_at=NOW + timedelta(seconds=30), **fields)
    return ShownCallback("farm", "recording-ready", RECORD_ID, url, delivery)


def delivered() -> ShownCallback:
    return callback(state=CallbackState.DELIVERED, attempts=1, finished_at=NOW, last_attempt_at=NOW, status_code=200)


def audit_line(**fields: Any) -> AuditLine:
    values: dict[str, Any] = {
        "id": 7,
        "namespace": "farm",
        "at": NOW,
        "action": "delete",
        "kind": "record-set",
        "subject": RECORD_ID,
        "tenant_slug": "UNI",
        "actor": "housekeeping",
        "reason": "PastHold",
        "objects": 3,
        "bytes": 1 << 30,
        "details": {},
    }
    return AuditLine(**{**values, **fields})


def recording(*videos: Video, callbacks: tuple[ShownCallback, ...] = (), **fields: Any) -> Recording:
    return Recording(record_set(**fields), videos, callbacks)
