"""The task ``render-record``: one recording with one profile becomes a video that people can see, or a reason why not.

Every step before the publication leaves nothing that is seen, and the publication is one transaction: a pod may be
ended at any point. Whoever comes after begins with the archive, or goes on after the publication.
"""

from __future__ import annotations

import platform
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from b3lb.callbacks.delivery import CallbackClient
from b3lb.db.render_attempts import is_wanted, note_progress
from b3lb.db.renders import (
    RenderedFile,
    RenderWork,
    begin_render,
    fail_render,
    retry_render,
    step_memory,
)
from b3lb.logs import get_logger
from b3lb.storage.interface import Storage, StorageError
from b3lb_jobs.enqueued import patiently
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.housekeeping.storage_work import configured_storage
from b3lb_jobs.on_demand import OnDemandTask, RunContext
from b3lb_jobs.record.endings import (
    INTERNAL_ERROR,
    STORAGE_NOT_CONFIGURED,
    exit_code_of,
    is_tried_again,
    message_of,
    reason_of,
    record_error_of,
    warning_rows,
)
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.production import VERIFIED_SHARE, Video, produce
from b3lb_jobs.record.publish import Publication, Target, announce, store, withdraw
from b3lb_jobs.record.watch import Watch

NO_STORAGE = "recordings are to be rendered, but no storage is configured: set B3LB_STORAGE_DIRECTORY or B3LB_S3_BUCKET"
NONCE_BYTES = 24

_NOTE_SECONDS = 2.0
_CGROUP_PEAKS = (Path("/sys/fs/cgroup/memory.peak"), Path("/sys/fs/cgroup/memory/memory.max_usage_in_bytes"))

_log = get_logger(__name__)


class RenderRecordArguments(BaseModel):
    """Which record set, and the name of the BBBRecordProfile."""

    model_config = ConfigDict(extra="forbid")

    record_set: UUID
    profile: str = Field(min_length=1, max_length=253)


def render_record(
    context: RunContext,
    arguments: RenderRecordArguments,
    *,
    open_storage: Callable[[], Storage | None] = configured_storage,
    client: CallbackClient | None = None,
) -> Mapping[str, Any]:
    """Render and publish a video.

    Args:
        context: Of the run.
        arguments: What is rendered.
        open_storage: Returns the storage.
        client: Sends the callback.

    Returns:
        What came of it; ``rendered`` is false where there was nothing to do, or it is no longer wanted.

    Raises:
        PermanentError: The recording cannot be rendered; the video is FAILED with the reason.
        TransientError: It may be possible later; the video is PENDING until then, or the database is away.
    """
    try:
        return _public(context, arguments, open_storage=open_storage, client=client)
    except MemoryError as error:
        # Where nothing else has caught it, as while the storage's library is loaded.
        raise _end(context, RecordError(FailureCode.OUT_OF_MEMORY, "out of memory"), "out of memory") from error


def _public(
    context: RunContext,
    arguments: RenderRecordArguments,
    *,
    open_storage: Callable[[], Storage | None],
    client: CallbackClient | None,
) -> Mapping[str, Any]:
    """Do what :func:`render_record` promises, but for a lack of memory outside of the rendering."""
    storage = _opened(context, open_storage)
    run_id, record_set, profile = context.run_id, arguments.record_set, arguments.profile
    place = Publication(context.database, storage, run_id, record_set, profile)
    with context.database.transaction() as connection:
        work = begin_render(connection, run_id=run_id, attempt=context.attempt, record_set=record_set, profile=profile)
    result: dict[str, Any] = {"profile": profile, "rendered": False}
    if work is not None:
        figures = _rendered(context, work, place)
        if figures is None:
            _check_given_up(context)
            _log.info("the video is no longer wanted", record_set=str(record_set), profile=profile)
            return result
        result |= figures
    found = place.rendered()
    if found is None:
        return result
    # Also for whoever comes after an attempt that ended just behind its publication.
    try:
        place.conclude()
    except StorageError as error:
        raise TransientError(f"the video is public, but what follows is not done: {error}") from error
    announce(context.database, namespace=found.namespace, record_id=found.record_id, keys=context.keys, client=client)
    return result | {"rendered": True}


def _opened(context: RunContext, open_storage: Callable[[], Storage | None]) -> Storage:
    try:
        storage = open_storage()
    except PermanentError as error:
        storage, fault = None, error
    else:
        fault = PermanentError(NO_STORAGE, exit_code=ExitCode.CONFIGURATION)
    if storage is not None:
        return storage
    run_id, reason, message = context.run_id, STORAGE_NOT_CONFIGURED, str(fault)
    _write(context, lambda connection: fail_render(connection, run_id=run_id, reason=reason, message=message))
    raise fault


def _rendered(context: RunContext, work: RenderWork, place: Publication) -> Mapping[str, Any] | None:
    """Render and publish; return figures for the run's result, None if the video is not wanted any more."""
    with tempfile.TemporaryDirectory(prefix="b3lb-render-") as folder:
        try:
            with _watch(context) as watch:
                video = produce(work, place.storage, Path(folder), watch=watch, seconds_left=context.seconds_left)
                target = place.target(work, context.attempt, video.profile.container)
                file = _stored(place.storage, target, video, watch, nonce=work.nonce)
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 - each fault becomes the video's reason; what is unknown is raised again
            _fail(context, work, place, error=error, folder=folder)
            return None
    if not place.publish(file, warning_rows(video.warnings)):
        withdraw(place.storage, target)
        return None
    context.progress(100.0, "published")
    return _figures(video, file)


def _check_given_up(context: RunContext) -> None:
    """Make sure that a video that this attempt stops to render is not left to nobody.

    Raises:
        TransientError: A pod of the same attempt, believed dead, meanwhile noted its own failure.
    """
    with context.database.transaction() as connection:
        if is_wanted(connection, run_id=context.run_id, attempt=context.attempt):
            raise TransientError("another pod noted an end of this attempt; it is tried again")


def _watch(context: RunContext) -> Watch:
    def note(percent: float, message: str) -> bool:
        with context.database.transaction(seconds=_NOTE_SECONDS) as connection:
            return note_progress(
                connection, run_id=context.run_id, attempt=context.attempt, percent=percent, message=message
            )

    return Watch(note, on_progress=context.progress)


def _stored(storage: Storage, target: Target, video: Video, watch: Watch, *, nonce: str | None) -> RenderedFile:
    def share(stored: float) -> None:
        watch.check()
        watch.share(VERIFIED_SHARE + (1 - VERIFIED_SHARE) * stored)

    try:
        store(storage, video.poster, target.poster_key, content_type=target.poster_type, on_share=lambda _share: None)
        upload = store(storage, video.path, target.video_key, content_type=target.content_type, on_share=share)
        watch.check()
    except Exception:
        withdraw(storage, target)
        raise
    return RenderedFile(
        key=target.video_key,
        poster_key=target.poster_key,
        size=upload.size,
        sha256=upload.sha256,
        content_type=target.content_type,
        # A video that is rendered anew keeps its address.
        nonce=nonce or secrets.token_urlsafe(NONCE_BYTES),
        duration_milliseconds=round(video.seconds * 1000),
        width=video.plan.width,
        height=video.plan.height,
    )


def _fail(context: RunContext, work: RenderWork, place: Publication, *, error: Exception, folder: str) -> None:
    """Note why an attempt failed; return only if the video is not wanted any more.

    Raises:
        PermanentError: It is FAILED.
        TransientError: It is tried again.
        Exception: The fault, if it is the program's own; the video is FAILED.
    """
    fault = record_error_of(error)
    run_id = context.run_id
    if fault is None:
        words = f"{type(error).__name__}: {error}".replace(folder, "")
        _write(context, lambda connection: fail_render(connection, run_id=run_id, reason=INTERNAL_ERROR, message=words))
        place.note_failure()
        raise error
    if fault.code is FailureCode.CANCELLED:
        return
    ended = _end(context, fault, message_of(fault, folder), last_reason=work.last_reason)
    if isinstance(ended, PermanentError) and fault.code not in (FailureCode.STORAGE_UNAVAILABLE, FailureCode.TIMEOUT):
        place.note_failure()
    raise ended from error


def _end(
    context: RunContext, fault: RecordError, message: str, *, last_reason: str | None = None
) -> PermanentError | TransientError:
    """Note in the video's row what an attempt ended by; return the error by which its run says the same."""
    reason = reason_of(fault.code)

    def write(connection: sa.Connection) -> bool:
        if _is_tried_again(connection, context, fault.code, last_reason):
            retry_render(connection, run_id=context.run_id, reason=reason, message=message)
            return True
        fail_render(connection, run_id=context.run_id, reason=reason, message=message)
        return False

    line = f"{reason}: {fault}"
    if not _write(context, write):
        return PermanentError(line, exit_code=exit_code_of(fault.code))
    if fault.code is FailureCode.OUT_OF_MEMORY:
        # As after a pod that the kernel ended: once, however many attempts there were.
        return TransientError(line, countdown=0.0, exit_code=ExitCode.OUT_OF_MEMORY, granted=True)
    return TransientError(line)


def _is_tried_again(connection: sa.Connection, context: RunContext, code: FailureCode, last_reason: str | None) -> bool:
    if code is FailureCode.OUT_OF_MEMORY:
        return step_memory(connection, run_id=context.run_id, attempt=context.attempt)
    return is_tried_again(code, last_reason=last_reason, last_attempt=context.last_attempt)


def _write(context: RunContext, write: Callable[[sa.Connection], bool]) -> bool:
    def once() -> bool:
        with context.database.transaction() as connection:
            return write(connection)

    return patiently(once)


def _figures(video: Video, file: RenderedFile) -> dict[str, Any]:
    """Return what is worth knowing of a rendering afterwards."""
    return {
        "frames": video.plan.frames,
        "seconds": video.seconds,
        "bytes": file.size,
        "warnings": len(video.warnings),
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}",
        "memory_peak_bytes": memory_peak(),
    }


def memory_peak(files: Iterable[Path] = _CGROUP_PEAKS) -> int | None:
    """Return the most memory that the pod had so far, in bytes; None where the kernel does not tell.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.peak), and on older nodes
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.max_usage_in_bytes).
    """
    for file in files:
        with suppress(OSError, ValueError):
            return int(file.read_text())
    return None


TASK = OnDemandTask(render_record, RenderRecordArguments)
