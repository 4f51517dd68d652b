"""How long a recording is held, and which are past it: pure functions.

The time counts from the end of the meeting, not from the upload: what a tenant promises to delete after 14 days is
deleted then, however late a node pushed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

KEEP = 0
"""The hold time, in days, of what is kept for ever."""


class RecordSetState(StrEnum):
    """The states of a record set: the archive of one meeting and the videos made of it."""

    UPLOADED = "UPLOADED"
    RENDERING = "RENDERING"
    RENDERED = "RENDERED"
    FAILED = "FAILED"
    DELETING = "DELETING"


SETTLED = frozenset({RecordSetState.RENDERED, RecordSetState.FAILED})
"""States in which no work is waiting or under way: only then a record set expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRecordSet:
    """What decides whether a record set is held.

    The days are those of its tenant and of its API secret, 0 where there is none. ``legal_hold`` keeps it whatever they
    say. ``ended_at`` is the meeting's end; None if the archive does not tell: then it is never past its hold.
    """

    id: UUID
    state: RecordSetState
    ended_at: datetime | None
    tenant_days: int = KEEP
    secret_days: int = KEEP
    legal_hold: bool = False


def hold_days(tenant_days: int, secret_days: int) -> int:
    """Return the hold time that counts: the smaller of the two that is not 0, or 0 (for ever) if both are.

    Raises:
        ValueError: One of them is negative.
    """
    if min(tenant_days, secret_days) < 0:
        raise ValueError("a hold time is not negative; 0 keeps for ever")
    return min((days for days in (tenant_days, secret_days) if days != KEEP), default=KEEP)


def expires_at(record_set: HeldRecordSet) -> datetime | None:
    """Return when the record set is past its hold, None if it is kept for ever or its end is not known.

    A legal hold does not move the moment; it keeps the record set beyond it (`is_past_hold`).
    """
    days = hold_days(record_set.tenant_days, record_set.secret_days)
    if days == KEEP or record_set.ended_at is None:
        return None
    try:
        return record_set.ended_at + timedelta(days=days)
    except OverflowError:
        return None


def is_past_hold(record_set: HeldRecordSet, now: datetime) -> bool:
    """Whether the record set is to be deleted: settled, past its hold, and under no legal hold."""
    if record_set.legal_hold or record_set.state not in SETTLED:
        return False
    expires = expires_at(record_set)
    return expires is not None and expires < now


def past_hold(record_sets: Iterable[HeldRecordSet], now: datetime) -> list[UUID]:
    """Return the record sets that are to be deleted, the longest expired first."""
    expired = [(expires_at(item), item.id) for item in record_sets if is_past_hold(item, now)]
    return [record_set for _, record_set in sorted((expires or now, record_set) for expires, record_set in expired)]


class DeletionRefusal(StrEnum):
    """Why a record set is not deleted although somebody asked for it."""

    LEGAL_HOLD = "LegalHold"
    RENDERING = "Rendering"


def deletion_refusal(state: RecordSetState, *, legal_hold: bool) -> DeletionRefusal | None:
    """Return why a record set must not be deleted at once, None if it may be.

    Somebody who asks may delete what still waits to be rendered. What is being rendered is cancelled first: else its
    pod would publish a video of a record set that is gone.
    """
    if legal_hold:
        return DeletionRefusal.LEGAL_HOLD
    return DeletionRefusal.RENDERING if state is RecordSetState.RENDERING else None
