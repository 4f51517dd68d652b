"""What is to be done about recordings now: pure functions from what is stored and wished to what is written.

Everything follows from the rows and the wishes alone, so that deciding again after the writes finds nothing more to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.profiles import NO_PROFILE
from b3lb.release import is_held

MOST_ENDED = 100
"""So many videos are ended at a time; the rest follows at once."""

IN_WORK = frozenset({RecordSetState.UPLOADED, RecordSetState.RENDERING})
_UNFINISHED = frozenset({"PENDING", "RENDERING"})
_RUN_IDS = UUID("6f1c9a52-0c7e-5d0e-9b83-6d7a1f0c2b11")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRun:
    """The task run of a video."""

    state: str
    over: bool
    in_flight: bool
    queue: str
    priority: int | None = None
    enqueued_at: datetime
    not_before: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video of a recording; ``run`` is None while it has none, or that run is not known any more.

    ``crowded`` while another run for the same video, an obsolete one, still has its Job.
    """

    id: UUID
    profile: str
    state: str
    run_id: UUID | None = None
    renders: int = 0
    attempts: int = 0
    progress_percent: float | None = None
    progress_message: str | None = None
    reason: str | None = None
    message: str | None = None
    warnings: int = 0
    run: RenderRun | None = None
    crowded: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether somebody is still to work on it."""
        return self.state in _UNFINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A record set with its videos; ``name`` is that of its BBBRecording, ``references`` its API secret's profiles."""

    id: UUID
    name: str
    record_id: str
    state: RecordSetState
    uploaded_at: datetime
    tenant_slug: str | None = None
    rendered_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    legal_hold: bool = False
    expires_at: datetime | None = None
    references: tuple[str, ...] = ()
    priority: int | None = None
    paused: bool = False
    retry: int = 0
    object_uid: str | None = None
    dismissed: bool = False
    videos: tuple[Video, ...] = ()

    @property
    def is_in_work(self) -> bool:
        """Whether videos are to be made of it."""
        return self.state in IN_WORK

    @property
    def is_shown(self) -> bool:
        """Whether it should have a BBBRecording."""
        held = self.legal_hold or self.state is RecordSetState.FAILED
        return self.is_in_work or (held and not self.dismissed and self.state is not RecordSetState.DELETING)

    @property
    def waits_for_profiles(self) -> bool:
        """Whether its videos are to be planned: it is new, or there was no profile for it."""
        new = self.state is RecordSetState.UPLOADED and not self.videos
        return new or (self.state is RecordSetState.FAILED and self.reason == NO_PROFILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the BBBRecording with this uid asks for."""

    uid: str
    priority: int | None = None
    paused: bool = False
    retry: int = 0
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run that is over although its video is not; cancelled, or failed for a reason.

    Without a reason it is the one that the last attempt noted.
    """

    run_id: UUID
    cancelled: bool
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be enqueued for a video, in place of ``old``; held from the beginning."""

    id: UUID
    old: UUID | None
    video: UUID
    record_set: UUID
    profile: str
    tenant: str | None
    priority: int | None


@dataclass(slots=True)
class Changes:
    """What is to be written: record sets, and runs, by their IDs.

    ``wishes`` are written into the record sets' rows; ``retried`` begin anew with what failed, ``cancelled`` are given
    up, ``dismissed`` besides have lost their BBBRecording. ``unplanned`` wait for their videos. ``lost`` are runs that
    ended without a word, ``stopped`` those that a pause ends. ``enqueued`` are new runs. ``held`` and ``freed`` runs
    wait and wait no more, ``preferred`` get another priority, ``moved`` another queue.
    """

    wishes: dict[UUID, Wish] = field(default_factory=dict)
    retried: list[UUID] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)
    dismissed: list[UUID] = field(default_factory=list)
    unplanned: list[Recording] = field(default_factory=list)
    lost: list[LostRun] = field(default_factory=list)
    stopped: list[UUID] = field(default_factory=list)
    enqueued: list[NewRun] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    freed: list[UUID] = field(default_factory=list)
    preferred: dict[UUID, int | None] = field(default_factory=dict)
    moved: list[UUID] = field(default_factory=list)

    @property
    def record_sets(self) -> list[UUID]:
        """The record sets that are changed, each once."""
        planned = [recording.id for recording in self.unplanned]
        enqueued = [run.record_set for run in self.enqueued]
        return sorted({*self.wishes, *self.retried, *self.cancelled, *self.dismissed, *planned, *enqueued})


def run_id(video: UUID, render: int) -> UUID:
    """Return the ID of a video's run, the ``render``-th from 1 on: planned twice, it is the same run."""
    return uuid5(_RUN_IDS, f"{video}/{render}")


def decide(
    recordings: Iterable[Recording],
    wishes: Mapping[str, Wish],
    *,
    queue: str | None,
    deleted: Collection[str] = (),
) -> Changes:
    """Return what is to be written now.

    Args:
        recordings: All that are in work, or have or should have a BBBRecording.
        wishes: What the live BBBRecordings ask for, by name.
        queue: The BBBQueue that runs the task; None: there is none, and what is planned waits for it.
        deleted: The uids of BBBRecordings that people deleted.
    """
    changes = Changes()
    for recording in recordings:
        given_up = _follow(changes, recording, wishes.get(recording.name), deleted)
        if recording.waits_for_profiles and not given_up:
            changes.unplanned.append(recording)
        for video in recording.videos:
            if video.is_unfinished and recording.state is not RecordSetState.DELETING:
                _look_at(changes, recording, video, queue)
    _bound(changes)
    return changes


def _follow(changes: Changes, recording: Recording, wish: Wish | None, deleted: Collection[str]) -> bool:
    """Note what people want of a recording that is not so yet; return whether they give it up."""
    if recording.object_uid is not None and recording.object_uid in deleted and wish is None:
        changes.dismissed.append(recording.id)
        if recording.is_in_work:
            changes.cancelled.append(recording.id)
        return recording.is_in_work
    if wish is None:
        return False
    followed = (recording.object_uid, recording.priority, recording.paused, recording.retry)
    adopted = recording.object_uid is not None or recording.is_shown or wish.retry != recording.retry
    if adopted and followed != (wish.uid, wish.priority, wish.paused, wish.retry):
        changes.wishes[recording.id] = wish
    if wish.cancel and recording.is_in_work:
        changes.cancelled.append(recording.id)
    elif wish.retry != recording.retry and not wish.cancel and recording.state is not RecordSetState.DELETING:
        changes.retried.append(recording.id)
    return wish.cancel and recording.is_in_work


def _look_at(changes: Changes, recording: Recording, video: Video, queue: str | None) -> None:
    """Note what has to happen to the run of a video that is not finished."""
    run = video.run
    if run is None or video.run_id is None:
        if queue is not None:
            changes.enqueued.append(_new_run(recording, video))
    elif run.over:
        changes.lost.append(lost_run(video.run_id, run))
    elif not run.in_flight:
        _steer(changes, recording, video, run)
        if queue is not None and run.queue != queue:
            changes.moved.append(video.run_id)
    elif recording.paused:
        changes.stopped.append(video.run_id)


def _steer(changes: Changes, recording: Recording, video: Video, run: RenderRun) -> None:
    """Note what has to change about a run that waits."""
    if video.run_id is None:
        return
    held = is_held(run.not_before)
    to_hold = recording.paused or video.crowded
    if to_hold != held:
        (changes.held if to_hold else changes.freed).append(video.run_id)
    if run.priority != recording.priority:
        changes.preferred[video.run_id] = recording.priority


def _new_run(recording: Recording, video: Video) -> NewRun:
    return NewRun(
        id=run_id(video.id, video.renders + 1),
        old=video.run_id,
        video=video.id,
        record_set=recording.id,
        profile=video.profile,
        tenant=recording.tenant_slug,
        priority=recording.priority,
    )


_REASONS = (
    ("the hard time limit", "Timeout"),
    ("OOMKilled", "OutOfMemory"),
    ("out of memory", "OutOfMemory"),
    ("its Job cannot be made", "JobRefused"),
)


def lost_run(identifier: UUID, run: RenderRun) -> LostRun:
    """Return what became of a video whose run ended without saying so."""
    if run.state == "REVOKED":
        return LostRun(identifier, cancelled=True)
    if run.state == "SUCCESS":
        return LostRun(identifier, cancelled=False, reason="WorkerLost", message="the run ended without a video")
    error = run.error or "the run ended without a word"
    reason = next((reason for words, reason in _REASONS if error.startswith(words)), None)
    return LostRun(identifier, cancelled=False, reason=reason, message=error)


def _bound(changes: Changes) -> None:
    """Leave no more than can be done in a transaction of what is done one by one."""
    later = set(changes.cancelled[MOST_ENDED:])
    del changes.lost[MOST_ENDED:], changes.stopped[MOST_ENDED:], changes.cancelled[MOST_ENDED:]
    # That a BBBRecording is gone is noted together with the cancellation, or both later.
    changes.dismissed = [item for item in changes.dismissed if item not in later]


def queue_positions(recordings: Iterable[Recording], default_priority: int) -> dict[UUID, int]:
    """Return how many videos are to begin up to the first one of each recording that waits, as far as can be told.

    Shares of tenants and pauses between attempts are not foreseen. Places beyond ten are rounded up to two digits'
    first, so that one that begins does not change all others.
    """
    waiting = sorted(_waiting(recordings, default_priority))
    positions: dict[UUID, int] = {}
    for place, (_, _, _, recording) in enumerate(waiting, start=1):
        positions.setdefault(recording, rounded_up(place))
    return positions


def _waiting(recordings: Iterable[Recording], default_priority: int) -> Iterator[tuple[int, datetime, UUID, UUID]]:
    for recording in recordings:
        for video in recording.videos:
            run = video.run
            if run is None or video.run_id is None or run.over or run.in_flight or recording.paused:
                continue
            priority = default_priority if run.priority is None else run.priority
            yield -priority, run.enqueued_at, video.run_id, recording.id


def rounded_up(place: int) -> int:
    """Return a place with one significant digit, never a smaller one, e.g. 7, 10, 20 for 17 and 400 for 305."""
    step = int(10 ** (len(str(place)) - 1))
    return -(-place // step) * step


def is_missing(recording: Recording, live: Mapping[str, str]) -> bool:
    """Whether the BBBRecording that a recording had is not there; ``live`` maps names to uids."""
    return recording.object_uid is not None and recording.name not in live


def progress(videos: Sequence[Video]) -> int | None:
    """Return how much of a recording's videos is done, in percent; None if nothing is to be done of it."""
    wanted = [video for video in videos if video.is_unfinished or video.state == "RENDERED"]
    if not wanted:
        return None
    done = sum(100.0 if video.state == "RENDERED" else video.progress_percent or 0.0 for video in wanted)
    return int(done / len(wanted))
