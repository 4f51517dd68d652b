"""Recordings as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from b3lb.dashboard.charts import fill
from b3lb.dashboard.documents import Document, count, flag, items, label, moment, number
from b3lb.dashboard.levels import RANK, Badge, Level

_WHOLE = 100.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording; ``progress_fill`` is the share of its work that is done, ``why`` the reason of its state."""

    namespace: str
    record_id: str
    name: str
    tenant: str
    badge: Badge
    progress: float | None
    progress_fill: float
    videos: int
    videos_done: int
    size: int
    warnings: int
    uploaded_at: datetime | None
    expires_at: datetime | None
    legal_hold: bool
    why: str


def recording(item: Document) -> Recording:
    """Return what the page shows of a recording."""
    videos, progress = items(item, "videos"), number(item, "progressPercent")
    reason, message = label(item, "reason"), label(item, "message")
    return Recording(
        namespace=label(item, "namespace"),
        record_id=label(item, "recordID"),
        name=label(item, "meetingName") or label(item, "recordID"),
        tenant=label(item, "tenant"),
        badge=_badge(item, progress),
        progress=progress,
        progress_fill=fill(progress, _WHOLE),
        videos=len(videos),
        videos_done=sum(label(video, "state") == "RENDERED" for video in videos),
        size=(count(item, "archiveBytes") or 0) + (count(item, "videoBytes") or 0),
        warnings=count(item, "warningCount") or 0,
        uploaded_at=moment(item, "uploadedAt"),
        expires_at=moment(item, "expiresAt"),
        legal_hold=flag(item, "legalHold") is True,
        why=": ".join(part for part in (reason, message) if part),
    )


def recordings_worst_first(documents: Iterable[Document]) -> list[Recording]:
    """Return the recordings: what failed, then what is in work, at last what is done; each the newest first."""
    return sorted(
        map(recording, documents),
        key=lambda found: (RANK[found.badge.level], -found.uploaded_at.timestamp() if found.uploaded_at else 0.0),
    )


def _badge(item: Document, progress: float | None) -> Badge:
    state = label(item, "state")
    if state not in {"RENDERED", "FAILED", "DELETING"} and flag(item, "paused"):
        return Badge(Level.WARNING, "Paused")
    if state == "RENDERING":
        return Badge(Level.BUSY, "Rendering" if progress is None else f"Rendering {progress:.0f} %")
    known = {
        "UPLOADED": Badge(Level.BUSY, "Waiting"),
        "RENDERED": Badge(Level.GOOD, "Rendered"),
        "FAILED": Badge(Level.BAD, "Failed"),
        "DELETING": Badge(Level.IDLE, "Being deleted"),
    }
    return known.get(state, Badge(Level.UNKNOWN, state.capitalize() or "Unknown"))
