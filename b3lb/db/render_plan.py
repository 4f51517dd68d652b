"""The plan of renders: which recordings are rendered with which profiles, in which runs, and who steers them.

Set-based: how many statements it takes does not grow with recordings, but for those whose pods died without a word and
those that are stopped, of which so many are looked at in a transaction. Everything is decided by
`b3lb.recordings.steering.decide` from the rows, so a plan that is repeated writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.node_states import notify
from b3lb.db.recordings_in_work import RecordingsInWork, read_recordings
from b3lb.db.renders import CANCELLED, UNFINISHED, RecordState, cancel_render, fail_render, settle_record_set
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import record_sets, records, task_runs
from b3lb.db.task_runs import TaskState
from b3lb.db.video_plan import plan_videos
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.profiles import NO_PROFILE
from b3lb.recordings.steering import Changes, LostRun, NewRun, Wish, decide
from b3lb.release import HELD_UNTIL
from b3lb.tasks import RENDER_RECORD

MOST_ROUNDS = 5
"""What is written may call for more, e.g. a new video for its run; what is left then has its turn next time."""

_S, _R, _T = record_sets.c, records.c, task_runs.c
_namespace: sa.BindParameter[str] = sa.bindparam("of_namespace", type_=sa.Text)
_ids = sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid)))
_now = sa.func.clock_timestamp()
_LOCK = sa.select(_S.id).where(_S.id == _ids).order_by(_S.id).with_for_update()


def plan_renders(
    connection: sa.Connection,
    namespace: str,
    *,
    queue: str | None,
    wishes: Mapping[str, Wish],
    deleted: Collection[str] = (),
) -> RecordingsInWork:
    """Bring the rows of a namespace's recordings to what they should be, and return them.

    Args:
        connection: Within a transaction.
        namespace: The namespace.
        queue: The BBBQueue that runs the task render-record; None: what is planned waits for one.
        wishes: What the live BBBRecordings ask for, by name.
        deleted: The uids of BBBRecordings that people deleted: what is left of their work is cancelled.
    """
    seen = read_recordings(connection, namespace, wishes)
    for _ in range(MOST_ROUNDS):
        changes = decide(seen.recordings, wishes, queue=queue, deleted=deleted)
        if not write_changes(connection, namespace, changes, queue=queue):
            break
        seen = read_recordings(connection, namespace, wishes)
    return seen


def write_changes(connection: sa.Connection, namespace: str, changes: Changes, *, queue: str | None) -> int:
    """Write what was decided, and return how many rows that changed; whoever listens is told of them."""
    if changes.record_sets:
        # Before everything else: pods that end a video begin with its record set, too.
        connection.execute(_LOCK, {"ids": changes.record_sets})
    written = _write_wishes(connection, changes.wishes)
    written += _retry(connection, changes.retried)
    written += _cancel(connection, namespace, changes)
    written += sum(_end(connection, lost) for lost in changes.lost)
    written += _stop(connection, namespace, changes.stopped)
    if changes.unplanned:
        written += plan_videos(connection, namespace, changes.unplanned)
    if queue is not None:
        written += _enqueue(connection, namespace, queue, changes.enqueued)
        written += _move(connection, queue, changes.moved)
    written += _hold(connection, changes)
    if written:
        notify(connection, namespace)
    return written


def forget_objects(connection: sa.Connection, ids: Sequence[UUID]) -> None:
    """Note that the BBBRecordings of these record sets are about to be deleted, by the operator itself."""
    connection.execute(_FORGET_OBJECTS, {"ids": list(ids)})


def forget_all_objects(connection: sa.Connection, namespace: str) -> None:
    """Note that all BBBRecordings went with their definition or namespace: nobody wanted to cancel anything."""
    connection.execute(_FORGET_ALL_OBJECTS, {"of_namespace": namespace})


_FORGET_OBJECTS = sa.update(record_sets).where(_S.id == _ids).values(object_uid=None)
_FORGET_ALL_OBJECTS = (
    sa.update(record_sets).where(_S.namespace == _namespace, _S.object_uid.is_not(None)).values(object_uid=None)
)
_wished = recordset("wishes", [_S.id, _S.object_uid, _S.priority, _S.paused, _S.retry])
_WISH = (
    sa.update(record_sets)
    .where(_S.id == _wished.c.id)
    .values({name: _wished.c[name] for name in ("object_uid", "priority", "paused", "retry")})
)


def _write_wishes(connection: sa.Connection, wishes: Mapping[UUID, Wish]) -> int:
    rows = [
        {
            "id": str(record_set),
            "object_uid": wish.uid,
            "priority": wish.priority,
            "paused": wish.paused,
            "retry": wish.retry,
        }
        for record_set, wish in wishes.items()
    ]
    return connection.execute(_WISH, {"wishes": dump(rows)}).rowcount if rows else 0


_RETRY_VIDEOS = (
    sa.update(records)
    .where(
        _R.record_set_id == _ids,
        _R.state.in_([RecordState.FAILED.value, RecordState.CANCELLED.value]),
        # Without a profile there is nothing to run; it heals with its profile.
        _R.reason.is_distinct_from(NO_PROFILE),
    )
    .values(
        state=RecordState.PENDING.value,
        run_id=None,
        memory_steps=0,
        finished_at=None,
        progress_percent=None,
        progress_message=None,
        reason=None,
        message=None,
    )
    .returning(_R.record_set_id)
)
_RETRY_SETS = (
    sa.update(record_sets)
    .where(
        _S.id == _ids,
        _S.state.in_([RecordSetState.FAILED.value, RecordSetState.RENDERED.value]),
        sa.or_(
            sa.and_(_S.state == RecordSetState.FAILED.value, ~sa.exists().where(_R.record_set_id == _S.id)),
            sa.exists().where(_R.record_set_id == _S.id, _R.state == RecordState.PENDING.value),
        ),
    )
    .values(state=RecordSetState.UPLOADED.value, reason=None, message=None, dismissed=False)
)
# Whoever waits for the retry sees that it failed again.
_FAIL_AGAIN = (
    sa.update(record_sets).where(_S.id == _ids, _S.state == RecordSetState.FAILED.value).values(failed_at=_now)
)


def _retry(connection: sa.Connection, ids: Sequence[UUID]) -> int:
    """Let what failed or was cancelled of these record sets begin anew; the videos that are there stay."""
    if not ids:
        return 0
    connection.execute(_RETRY_VIDEOS, {"ids": list(ids)})
    written = connection.execute(_RETRY_SETS, {"ids": list(ids)}).rowcount
    return written + connection.execute(_FAIL_AGAIN, {"ids": list(ids)}).rowcount


_CANCEL_VIDEOS = (
    sa.update(records)
    .where(_R.record_set_id == _ids, _R.state.in_([state.value for state in UNFINISHED]))
    .values(state=RecordState.CANCELLED.value, finished_at=_now, progress_message=None, reason=CANCELLED)
    .returning(_R.record_set_id, _R.run_id)
)
_CANCEL_SETS = (
    sa.update(record_sets)
    .where(
        _S.id == _ids,
        _S.state.in_([RecordSetState.UPLOADED.value, RecordSetState.RENDERING.value]),
        # With good or failed videos it ends as they say.
        ~sa.exists().where(_R.record_set_id == _S.id, _R.state != RecordState.CANCELLED.value),
    )
    .values(state=RecordSetState.FAILED.value, failed_at=_now, reason=CANCELLED, message=None)
    .returning(_S.id)
)
_DISMISS = sa.update(record_sets).where(_S.id == _ids).values(dismissed=True, object_uid=None)
_REVOKE = (
    sa.update(task_runs)
    .where(_T.id == _ids, _T.namespace == _namespace, _T.finished_at.is_(None))
    .values(state=TaskState.REVOKED.value, finished_at=_now, error=sa.bindparam("why", type_=sa.Text))
)


def _cancel(connection: sa.Connection, namespace: str, changes: Changes) -> int:
    """Give up what is not rendered yet, and note whose BBBRecording is gone."""
    written = 0
    if changes.cancelled:
        videos = connection.execute(_CANCEL_VIDEOS, {"ids": changes.cancelled}).all()
        _revoke(connection, namespace, [video.run_id for video in videos], why="its recording was cancelled")
        over = {row.id for row in connection.execute(_CANCEL_SETS, {"ids": changes.cancelled})}
        for record_set in sorted(set(changes.cancelled) - over):
            settle_record_set(connection, record_set)
        written = len(changes.cancelled)
    if changes.dismissed:
        written += connection.execute(_DISMISS, {"ids": changes.dismissed}).rowcount
    return written


def _revoke(connection: sa.Connection, namespace: str, runs: Iterable[UUID | None], *, why: str) -> None:
    """Revoke runs; the Jobs of those in flight are deleted by the operator."""
    ids = [run for run in runs if run is not None]
    if ids:
        connection.execute(_REVOKE, {"ids": ids, "of_namespace": namespace, "why": why})


def _end(connection: sa.Connection, lost: LostRun) -> bool:
    """Note what became of a video whose run ended without saying so."""
    if lost.cancelled:
        return cancel_render(connection, lost.run_id)
    return fail_render(connection, run_id=lost.run_id, reason=lost.reason, message=lost.message)


_STOP = (
    sa.update(records)
    .where(_R.run_id == _ids, _R.state.in_([state.value for state in UNFINISHED]))
    .values(
        state=RecordState.PENDING.value, run_id=None, progress_percent=None, progress_message=None, progress_at=None
    )
    .returning(sa.literal(1))
)
_LOCK_OF_RUNS = (
    sa.select(_S.id)
    .where(_S.id.in_(sa.select(_R.record_set_id).where(_R.run_id == _ids)))
    .order_by(_S.id)
    .with_for_update()
)


def _stop(connection: sa.Connection, namespace: str, runs: Sequence[UUID]) -> int:
    """End runs at work whose recordings are paused; their videos wait for new ones."""
    if not runs:
        return 0
    connection.execute(_LOCK_OF_RUNS, {"ids": list(runs)})
    stopped = len(connection.execute(_STOP, {"ids": list(runs)}).all())
    _revoke(connection, namespace, runs, why="its recording was paused")
    return stopped


_video_id, _old_run = sa.column("video", sa.Uuid), sa.column("old", sa.Uuid)
_new = recordset("runs", [_T.id, _video_id, _old_run, _T.arguments, _T.priority, _T.tenant])
_TAKE = (
    sa.update(records)
    .where(
        _R.id == _new.c.video,
        _R.run_id.is_not_distinct_from(_new.c.old),
        _R.state.in_([state.value for state in UNFINISHED]),
    )
    .values(state=RecordState.PENDING.value, run_id=_new.c.id, renders=_R.renders + 1)
    .returning(_new.c.id, _new.c.arguments, _new.c.priority, _new.c.tenant)
    .cte("taken")
)
# Held from the beginning: the next look lets it go, unless its recording is paused or an obsolete run is in its way.
_ENQUEUE = (
    postgresql.insert(task_runs)
    .from_select(
        [
            *("id", "arguments", "priority", "tenant", "namespace", "queue", "task", "pod", "state", "attempts"),
            *("enqueued", "not_before"),
        ],
        sa.select(
            *(_TAKE.c.id, _TAKE.c.arguments, _TAKE.c.priority, _TAKE.c.tenant),
            *(_namespace, sa.bindparam("in_queue", type_=sa.Text), sa.literal(RENDER_RECORD), sa.literal("")),
            *(sa.literal(TaskState.PENDING.value), sa.literal(0), sa.true()),
            sa.literal(HELD_UNTIL, type_=sa.TIMESTAMP(timezone=True)),
        ),
    )
    .on_conflict_do_nothing(index_elements=[_T.id])
    .returning(_T.id)
)


def _enqueue(connection: sa.Connection, namespace: str, queue: str, runs: Sequence[NewRun]) -> int:
    """Enqueue a run for each of these videos, once."""
    if not runs:
        return 0
    rows = [
        {
            "id": str(run.id),
            "video": str(run.video),
            "old": None if run.old is None else str(run.old),
            "arguments": {"record_set": str(run.record_set), "profile": run.profile},
            "priority": run.priority,
            "tenant": run.tenant,
        }
        for run in runs
    ]
    parameters = {"runs": dump(rows), "of_namespace": namespace, "in_queue": queue}
    return len(connection.execute(_ENQUEUE, parameters).all())


_waits = sa.and_(_T.enqueued, _T.finished_at.is_(None), sa.not_(_T.in_flight))
_MOVE = sa.update(task_runs).where(_T.id == _ids, _waits).values(queue=sa.bindparam("in_queue", type_=sa.Text))
_HOLD = sa.update(task_runs).where(_T.id == _ids, _waits).values(not_before=HELD_UNTIL)
_FREE = sa.update(task_runs).where(_T.id == _ids, _waits).values(not_before=None)
_preferred = recordset("runs", [_T.id, _T.priority])
_PREFER = sa.update(task_runs).where(_T.id == _preferred.c.id, _waits).values(priority=_preferred.c.priority)


def _move(connection: sa.Connection, queue: str, runs: Sequence[UUID]) -> int:
    """Bring runs that wait into the queue that runs their task now."""
    return connection.execute(_MOVE, {"ids": list(runs), "in_queue": queue}).rowcount if runs else 0


def _hold(connection: sa.Connection, changes: Changes) -> int:
    """Let runs that wait be held, free, and of the priority that they should have."""
    written = 0
    for statement, runs in ((_HOLD, changes.held), (_FREE, changes.freed)):
        written += connection.execute(statement, {"ids": runs}).rowcount if runs else 0
    rows = [{"id": str(run), "priority": priority} for run, priority in changes.preferred.items()]
    return written + (connection.execute(_PREFER, {"runs": dump(rows)}).rowcount if rows else 0)
