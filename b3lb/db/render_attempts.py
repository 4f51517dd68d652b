"""What an attempt at a rendering says and asks while it works: how far it is, and whether it is still wanted."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.renders import UNFINISHED, RecordState, attempt_goes_on
from b3lb.db.tables import record_sets, records
from b3lb.db.task_runs import stored_error

_R, _S = records.c, record_sets.c
_run_id = sa.bindparam("run", type_=sa.Uuid)
_mine = sa.and_(_R.run_id == _run_id, _R.state.in_([state.value for state in UNFINISHED]))
_message: sa.BindParameter[str] = sa.bindparam("words", type_=sa.Text)
_PROGRESS = (
    sa.update(records)
    .where(_R.run_id == _run_id, _R.state == RecordState.RENDERING.value, attempt_goes_on)
    .values(
        progress_percent=sa.func.greatest(_R.progress_percent, sa.bindparam("percent", type_=sa.Double)),
        progress_message=_message,
        progress_at=sa.func.clock_timestamp(),
    )
    .returning(_R.id)
)


def note_progress(connection: sa.Connection, *, run_id: UUID, attempt: int, percent: float, message: str) -> bool:
    """Note how far an attempt has come, never less than before: one statement.

    Returns:
        False if the attempt is to stop: the video was cancelled or belongs to another run, or the run was revoked or
        is at a later attempt.
    """
    parameters = {"run": run_id, "attempt": attempt, "percent": percent, "words": stored_error(message)}
    return connection.execute(_PROGRESS, parameters).scalar_one_or_none() is not None


_IS_WANTED = sa.select(_R.id).where(_mine, attempt_goes_on)


def is_wanted(connection: sa.Connection, *, run_id: UUID, attempt: int) -> bool:
    """Whether a video is still to be rendered by this attempt of its run."""
    return connection.execute(_IS_WANTED, {"run": run_id, "attempt": attempt}).first() is not None


@dataclass(frozen=True, slots=True)
class RenderedVideo:
    """A video that is RENDERED: its row's ID, whose it is, BBB's internal meeting ID, and its objects."""

    id: UUID
    namespace: str
    record_id: str
    key: str
    poster_key: str | None


_VIDEO = sa.select(_R.id, _S.namespace, _S.record_id, _R.file_key, _R.poster_key).where(
    _R.record_set_id == sa.bindparam("set_id", type_=sa.Uuid),
    _R.record_set_id == _S.id,
    _R.profile == sa.bindparam("of_profile", type_=sa.Text),
    _R.run_id == _run_id,
    _R.state == RecordState.RENDERED.value,
)


def read_rendered(connection: sa.Connection, *, run_id: UUID, record_set: UUID, profile: str) -> RenderedVideo | None:
    """Return the video that this run rendered; None if it did not, or is obsolete."""
    parameters = {"run": run_id, "set_id": record_set, "of_profile": profile}
    row = connection.execute(_VIDEO, parameters).one_or_none()
    return None if row is None else RenderedVideo(*row)
