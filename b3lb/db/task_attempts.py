"""One attempt of an enqueued run: its beginning by a pod, and its end by that pod or, if it died, by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.node_states import notify
from b3lb.db.tables import task_runs
from b3lb.db.task_runs import TaskState, capped_json, stored_error, stored_result, stored_traceback
from b3lb.tasks import RENDER_RECORD


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that a pod may work on."""

    id: UUID
    namespace: str
    queue: str
    task: str
    attempt: int
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended.

    ``retry_seconds`` belongs to the state RETRY: the run waits that long and is then released again. The states
    SUCCESS, FAILURE and REVOKED end the run. Error and traceback are redacted and capped, a result of more than 64 KiB
    or of too many levels is replaced by a remark.
    """

    state: TaskState
    retry_seconds: float | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None


_T = task_runs.c
_this_attempt = sa.and_(
    _T.id == sa.bindparam("run_id", type_=sa.Uuid),
    _T.enqueued,
    _T.in_flight,
    _T.attempts == sa.bindparam("attempt"),
    _T.finished_at.is_(None),
)
_pod = sa.bindparam("by_pod", type_=sa.Text)
_SUFFIX = 6
"""Kubernetes calls the pods of a Job by its name, a hyphen and five random characters."""

_job_of_pod = sa.func.left(_pod, -_SUFFIX)
# A drain took the former pod away: of the Jobs of renders, and of no other ones, Kubernetes replaces such a pod, and
# only when it has ended (podReplacementPolicy: Failed).
_succeeds = sa.and_(
    _T.task == RENDER_RECORD, _job_of_pod != "", sa.func.left(_T.pod, -_SUFFIX) == _job_of_pod, _T.steps.is_(None)
)
_BEGIN = (
    sa.update(task_runs)
    # The same pod again: the answer to its first claim was lost.
    .where(_this_attempt, sa.or_(_T.state != TaskState.STARTED.value, _T.pod == _pod, _succeeds))
    .values(
        state=TaskState.STARTED.value,
        pod=_pod,
        started_at=sa.func.clock_timestamp(),
        error=sa.null(),
        traceback=sa.null(),
        progress_percent=sa.null(),
        progress_message=sa.null(),
    )
    .returning(_T.id, _T.namespace, _T.queue, _T.task, _T.attempts, _T.arguments)
)


def begin_attempt(connection: sa.Connection, run_id: UUID, *, attempt: int, pod: str) -> ClaimedRun | None:
    """Note that ``pod`` works on an attempt; None if it must not: revoked, over, another attempt or another pod's.

    A render is taken over from the former pod of its Job, which may not speak for it any more.
    """
    found = connection.execute(_BEGIN, {"run_id": run_id, "attempt": attempt, "by_pod": pod}).one_or_none()
    if found is None:
        return None
    return ClaimedRun(found.id, found.namespace, found.queue, found.task, found.attempts, found.arguments)


_result = sa.bindparam("final_result", type_=sa.Text)
_speaker: sa.BindParameter[str] = sa.bindparam("by_speaker", type_=sa.Text)
_may_speak = sa.or_(_speaker.is_(None), _T.pod == _speaker)
_common: dict[str, Any] = {
    "state": sa.bindparam("final_state"),
    "in_flight": sa.false(),
    "error": sa.bindparam("final_error", type_=sa.Text),
    "traceback": sa.bindparam("final_traceback", type_=sa.Text),
    "result": sa.case((_result.is_(None), sa.null()), else_=capped_json("final_result")),
}
_pause = sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.bindparam("pause", type_=sa.Double))
_FINISH = (
    sa.update(task_runs)
    .where(_this_attempt, _may_speak)
    .values({**_common, "finished_at": sa.func.clock_timestamp()})
    .returning(_T.namespace)
)
_RETRY = (
    sa.update(task_runs)
    .where(_this_attempt, _may_speak)
    .values({**_common, "not_before": sa.func.clock_timestamp() + _pause})
    .returning(_T.namespace)
)


def end_attempt(
    connection: sa.Connection, run_id: UUID, *, attempt: int, end: AttemptEnd, pod: str | None = None
) -> bool:
    """Note how an attempt ended; return False, with nothing written, if it is over already or not ``pod``'s.

    Without ``pod`` it ends whosever it is. A revoked run stays as it is: its place in the queue is free when its Job is
    gone.
    """
    parameters = {
        "run_id": run_id,
        "attempt": attempt,
        "by_speaker": pod,
        "final_state": end.state.value,
        "final_result": stored_result(end.result),
        "final_error": stored_error(end.error),
        "final_traceback": stored_traceback(end.traceback),
    }
    if end.retry_seconds is None:
        namespace = connection.execute(_FINISH, parameters).scalar_one_or_none()
    else:
        namespace = connection.execute(_RETRY, {**parameters, "pause": end.retry_seconds}).scalar_one_or_none()
    if namespace is None:
        return False
    notify(connection, namespace)
    return True


_PROGRESS = (
    sa.update(task_runs)
    .where(_T.id == sa.bindparam("run_id", type_=sa.Uuid), _T.finished_at.is_(None))
    .values(
        progress_percent=sa.bindparam("percent", type_=sa.Double),
        progress_message=sa.bindparam("message", type_=sa.Text),
    )
)


def record_progress(connection: sa.Connection, run_id: UUID, *, percent: float, message: str) -> None:
    """Note how far a run has come, for people; nothing happens after its end. The message is redacted and capped."""
    connection.execute(_PROGRESS, {"run_id": run_id, "percent": percent, "message": stored_error(message)})
