"""The rendering of recordings: who may write a video's row, what it says, and what that makes of the record set.

A row of ``records`` names the run that may write it; whoever has another run ID is obsolete and changes nothing. Every
change locks the record set first, so that of two profiles that end at once the second one sees the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.callbacks import announce_recording
from b3lb.db.node_states import notify
from b3lb.db.statements import dump
from b3lb.db.tables import record_profiles, record_sets, records, task_runs
from b3lb.db.task_runs import stored_error
from b3lb.recordings.hold import RecordSetState


class RecordState(StrEnum):
    """The states of a video."""

    PENDING = "PENDING"
    RENDERING = "RENDERING"
    RENDERED = "RENDERED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


UNFINISHED = (RecordState.PENDING, RecordState.RENDERING)
"""States in which somebody is still to work on a video."""

CANCELLED = "Cancelled"
"""The reason of a record set none of whose videos was wanted any more."""

WORKER_LOST = "WorkerLost"
"""The reason of a video whose run ended without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderWork:
    """What an attempt is to render.

    Attributes:
        id: Of the video's row.
        record_set_id: Of the record set.
        namespace: Whose it is.
        record_id: BBB's internal meeting ID.
        profile: Name of the BBBRecordProfile.
        spec: The profile's, None if there is no such profile.
        archive_key: Of the archive in the storage, None if it was deleted.
        archive_bytes: Its size, 0 if that is not known.
        archive_sha256: Its checksum, hexadecimal, if that is known.
        nonce: The video's public name from an earlier rendering, if there was one.
        last_reason: Why the attempt before failed, None if it did not or was the first one.
    """

    id: UUID
    record_set_id: UUID
    namespace: str
    record_id: str
    profile: str
    spec: Mapping[str, Any] | None
    archive_key: str | None
    archive_bytes: int
    archive_sha256: str | None
    nonce: str | None = field(repr=False)
    last_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """A video that is in the storage; ``sha256`` is hexadecimal, sizes are bytes and pixels."""

    key: str
    poster_key: str | None
    size: int
    sha256: str
    content_type: str
    nonce: str = field(repr=False)
    duration_milliseconds: int
    width: int
    height: int


_R, _S, _T = records.c, record_sets.c, task_runs.c
_run_id = sa.bindparam("run", type_=sa.Uuid)
_unfinished = _R.state.in_([state.value for state in UNFINISHED])
_reason: sa.BindParameter[str] = sa.bindparam("why", type_=sa.Text)
_message: sa.BindParameter[str] = sa.bindparam("words", type_=sa.Text)
_losses = sa.cast(sa.bindparam("losses", type_=sa.Text), postgresql.JSONB)
_now = sa.func.clock_timestamp()

_LOCK_RUNS_SET = (
    sa.select(_S.id)
    .where(_S.id == sa.select(_R.record_set_id).where(_R.run_id == _run_id).scalar_subquery())
    .with_for_update()
)
_LOCK_SET = sa.select(_S.id).where(_S.id == sa.bindparam("set_id", type_=sa.Uuid)).with_for_update()
attempt_goes_on = ~sa.exists().where(
    _T.id == _run_id, sa.or_(_T.finished_at.is_not(None), _T.attempts > sa.bindparam("attempt"))
)
"""The condition that a run is not over and at no later attempt than ``attempt``."""
_before = records.alias("before")
_BEGIN = (
    sa.update(records)
    .where(
        _R.record_set_id == sa.bindparam("set_id", type_=sa.Uuid),
        _R.profile == sa.bindparam("of_profile", type_=sa.Text),
        _R.run_id == _run_id,
        _unfinished,
        _R.record_set_id == _S.id,
        _S.state != RecordSetState.DELETING.value,
        _before.c.id == _R.id,
        attempt_goes_on,
    )
    .values(
        state=RecordState.RENDERING.value,
        attempts=_R.attempts + 1,
        started_at=_now,
        finished_at=sa.null(),
        progress_percent=0.0,
        progress_message=sa.null(),
        progress_at=_now,
        reason=sa.null(),
        message=sa.null(),
    )
    .returning(
        *(_R.id, _R.profile, _R.nonce, _before.c.reason.label("last_reason")),
        _S.id.label("record_set_id"),
        *(_S.namespace, _S.record_id, _S.archive_key, _S.archive_bytes, _S.archive_sha256),
    )
)
_BEGIN_SET = (
    sa.update(record_sets)
    .where(_S.id == sa.bindparam("set_id", type_=sa.Uuid), _S.state != RecordSetState.RENDERING.value)
    .values(state=RecordSetState.RENDERING.value, rendering_at=_now, reason=sa.null(), message=sa.null())
)
_SPEC = sa.select(record_profiles.c.spec).where(
    record_profiles.c.namespace == sa.bindparam("namespace", type_=sa.Text),
    record_profiles.c.name == sa.bindparam("of_profile", type_=sa.Text),
)


def begin_render(
    connection: sa.Connection, *, run_id: UUID, attempt: int, record_set: UUID, profile: str
) -> RenderWork | None:
    """Let a video be RENDERING, its record set as well, and return what is to be done.

    Returns:
        None, without a change, if there is nothing to do for this attempt: the video is RENDERED, FAILED or CANCELLED,
        another run's, its record set is being deleted, or the run is over or at a later attempt.
    """
    connection.execute(_LOCK_SET, {"set_id": record_set})
    parameters = {"run": run_id, "attempt": attempt, "set_id": record_set, "of_profile": profile}
    row = connection.execute(_BEGIN, parameters).one_or_none()
    if row is None:
        return None
    connection.execute(_BEGIN_SET, {"set_id": record_set})
    named = {"namespace": row.namespace, "of_profile": profile}
    spec = connection.execute(_SPEC, named).scalar_one_or_none()
    notify(connection, row.namespace)
    return RenderWork(
        id=row.id,
        record_set_id=row.record_set_id,
        namespace=row.namespace,
        record_id=row.record_id,
        profile=row.profile,
        spec=spec,
        archive_key=row.archive_key,
        archive_bytes=row.archive_bytes,
        archive_sha256=row.archive_sha256,
        nonce=row.nonce,
        last_reason=row.last_reason,
    )


_mine = sa.and_(_R.run_id == _run_id, _unfinished)
_rendering = sa.and_(_R.run_id == _run_id, _R.state == RecordState.RENDERING.value)
_FINISH = (
    sa.update(records)
    .where(_rendering)
    .values(
        state=RecordState.RENDERED.value,
        finished_at=_now,
        progress_percent=100.0,
        progress_message=sa.null(),
        progress_at=_now,
        nonce=sa.bindparam("public_name", type_=sa.Text),
        file_key=sa.bindparam("key", type_=sa.Text),
        poster_key=sa.bindparam("poster", type_=sa.Text),
        file_bytes=sa.bindparam("size", type_=sa.BigInteger),
        file_sha256=sa.bindparam("checksum", type_=sa.Text),
        content_type=sa.bindparam("kind", type_=sa.Text),
        duration_milliseconds=sa.bindparam("length", type_=sa.BigInteger),
        width=sa.bindparam("across", type_=sa.Integer),
        height=sa.bindparam("down", type_=sa.Integer),
        reason=sa.null(),
        message=sa.null(),
        warnings=_losses,
    )
    .returning(_R.record_set_id)
)


def finish_render(
    connection: sa.Connection,
    *,
    run_id: UUID,
    file: RenderedFile,
    warnings: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Let a video be RENDERED with its file, which from now on is public, and settle its record set.

    Args:
        connection: Within a transaction.
        run_id: The run that rendered it.
        file: What is in the storage.
        warnings: What could not be shown: objects with ``code``, ``count`` and ``message``.

    Returns:
        False, without a change, if the video is not RENDERING or another run's.
    """
    parameters = {
        "run": run_id,
        "public_name": file.nonce,
        "key": file.key,
        "poster": file.poster_key,
        "size": file.size,
        "checksum": file.sha256,
        "kind": file.content_type,
        "length": file.duration_milliseconds,
        "across": file.width,
        "down": file.height,
        "losses": dump(list(warnings)),
    }
    return _end(connection, _FINISH, parameters)


_FAIL = (
    sa.update(records)
    .where(_mine)
    .values(
        state=RecordState.FAILED.value,
        finished_at=_now,
        progress_message=sa.null(),
        reason=sa.func.coalesce(_reason, _R.reason, WORKER_LOST),
        message=sa.func.coalesce(_message, _R.message),
        warnings=_losses,
    )
    .returning(_R.record_set_id)
)


def fail_render(
    connection: sa.Connection,
    *,
    run_id: UUID,
    reason: str | None,
    message: str | None,
    warnings: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Let a video that is PENDING or RENDERING be FAILED, and settle its record set.

    Args:
        connection: Within a transaction.
        run_id: The run that it belongs to.
        reason: Why, as conditions have it, e.g. ``ArchiveCorrupt``; None: as the last attempt noted it, else
            ``WorkerLost``.
        message: One for people; it is redacted and capped. None: as the last attempt noted it.
        warnings: What could not be shown, as far as that is known.

    Returns:
        False, without a change, if the video is neither, or another run's.
    """
    words = stored_error(message)
    parameters = {"run": run_id, "why": reason, "words": words, "losses": dump(list(warnings))}
    return _end(connection, _FAIL, parameters)


_CANCEL = (
    sa.update(records)
    .where(_mine)
    .values(state=RecordState.CANCELLED.value, finished_at=_now, progress_message=sa.null(), reason=CANCELLED)
    .returning(_R.record_set_id)
)


def cancel_render(connection: sa.Connection, run_id: UUID) -> bool:
    """Let a video that is PENDING or RENDERING be CANCELLED, and settle its record set; False if it is neither."""
    return _end(connection, _CANCEL, {"run": run_id})


_RETRY = (
    sa.update(records)
    .where(_rendering)
    .values(state=RecordState.PENDING.value, reason=_reason, message=_message, progress_message=sa.null())
    .returning(_R.record_set_id)
)


def retry_render(connection: sa.Connection, *, run_id: UUID, reason: str, message: str) -> bool:
    """Let a video that is RENDERING be PENDING again until its run's next attempt, and note why; False if it is not."""
    parameters = {"run": run_id, "why": reason, "words": stored_error(message)}
    return _end(connection, _RETRY, parameters)


_attempt: sa.BindParameter[int] = sa.bindparam("attempt", type_=sa.Integer)
_STEP = (
    sa.update(records)
    .where(_mine, sa.or_(_R.memory_steps == 0, _R.memory_attempt == _attempt))
    .values(memory_steps=1, memory_attempt=_attempt)
    .returning(_R.record_set_id)
)


def step_memory(connection: sa.Connection, *, run_id: UUID, attempt: int) -> bool:
    """Let a video that ran out of memory have more of it at the next attempt; False if this attempt had more already.

    It can be repeated: whoever asks for the same attempt is told the same, though it is done but once.
    """
    return _end(connection, _STEP, {"run": run_id, "attempt": attempt})


def _end(connection: sa.Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> bool:
    connection.execute(_LOCK_RUNS_SET, {"run": parameters["run"]})
    record_set = connection.execute(statement, parameters).scalar_one_or_none()
    if record_set is None:
        return False
    settle_record_set(connection, record_set)
    return True


_SET = sa.select(_S.namespace, _S.state).where(_S.id == sa.bindparam("set_id", type_=sa.Uuid)).with_for_update()
_VIDEOS = (
    sa.select(_R.profile, _R.state, _R.reason, _R.message)
    .where(_R.record_set_id == sa.bindparam("set_id", type_=sa.Uuid))
    .order_by(_R.finished_at, _R.profile)
)
_SETTLE = sa.update(record_sets).where(_S.id == sa.bindparam("set_id", type_=sa.Uuid))
_RENDERED = _SETTLE.values(state=RecordSetState.RENDERED.value, rendered_at=_now, reason=sa.null(), message=sa.null())
_FAILED = _SETTLE.values(state=RecordSetState.FAILED.value, failed_at=_now, reason=_reason, message=_message)


def settle_record_set(connection: sa.Connection, record_set: UUID) -> str | None:
    """Say what the videos' ends make of their record set, once each of them has ended, and tell whoever listens.

    With at least one video and no failed one it is RENDERED, and its callback is put into the outbox; else it is
    FAILED for the reason of the first one that failed. The good videos stay.

    Returns:
        The record set's new state; None if it keeps that which it has: a video is not finished, there is none at all,
        or the record set is being deleted.
    """
    row = connection.execute(_SET, {"set_id": record_set}).one_or_none()
    if row is None:
        return None
    notify(connection, row.namespace)
    videos = connection.execute(_VIDEOS, {"set_id": record_set}).all()
    outcome = outcome_of([video.state for video in videos])
    if outcome is None or row.state in {RecordSetState.DELETING, outcome}:
        return None
    if outcome is RecordSetState.RENDERED:
        connection.execute(_RENDERED, {"set_id": record_set})
        announce_recording(connection, row.namespace, record_set)
    else:
        reason, message = first_failure(videos)
        connection.execute(_FAILED, {"set_id": record_set, "why": reason, "words": message})
    return outcome.value


def outcome_of(states: Collection[str]) -> RecordSetState | None:
    """Return what its videos' states make of a record set: RENDERED, FAILED, or None while that is open."""
    if not states or any(state in UNFINISHED for state in states):
        return None
    is_good = RecordState.RENDERED in states and RecordState.FAILED not in states
    return RecordSetState.RENDERED if is_good else RecordSetState.FAILED


def first_failure(videos: Iterable[Sequence[Any]]) -> tuple[str | None, str | None]:
    """Return reason and message of a record set that is FAILED.

    Args:
        videos: Profile, state, reason and message of each, in the order in which they ended.
    """
    for profile, state, reason, message in videos:
        if state == RecordState.FAILED:
            return reason, f"{profile}: {message or reason}"
    return CANCELLED, None
