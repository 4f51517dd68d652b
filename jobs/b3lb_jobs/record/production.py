"""From the archive in the storage to a video on the disk that is as planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from b3lb.db.renders import RenderWork
from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb.storage.interface import Storage
from b3lb_jobs.record.failures import FailureCode, RecordError, RecordWarning
from b3lb_jobs.record.fetch import fetch
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.media import probe
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.recording import read_recording
from b3lb_jobs.record.verify import verify, write_poster
from b3lb_jobs.record.watch import Stage, Watch, deadline_seconds

VERIFIED_SHARE = 0.3
"""Of the last part of the work: so much is done when the video is verified, the rest is storing it."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video and its first frame on the disk; ``seconds`` is its length."""

    path: Path
    poster: Path
    seconds: float
    plan: Plan
    profile: BBBRecordProfileSpec
    warnings: tuple[RecordWarning, ...]


def produce(
    work: RenderWork, storage: Storage, folder: Path, *, watch: Watch, seconds_left: Callable[[], float]
) -> Video:
    """Make the video.

    Args:
        work: Which recording, and how.
        storage: Where the archive is.
        folder: An empty one; it holds the unpacked recording and the video, and nothing that is larger than these.
        watch: Is told how far it is, and may end it.
        seconds_left: Returns how long the run may last.

    Raises:
        RecordError: Any of the known ends but those of the storage.
        StorageError: The storage failed.
        OSError: The disk failed.
    """
    if work.spec is None:
        raise RecordError(FailureCode.PROFILE_INVALID, f"there is no BBBRecordProfile {work.profile}")
    profile = parse_profile(work.spec)
    recording, scratch, target = folder / "recording", folder / "work", folder / f"video.{profile.container.value}"
    recording.mkdir()
    scratch.mkdir()
    watch.enter(Stage.FETCH)
    fetch(storage, work, recording, on_share=watch.share, check=watch.check)
    watch.enter(Stage.PLAN)
    plan = make_plan(read_recording(recording, lambda path: probe(recording, path)), profile)
    watch.enter(Stage.RENDER)
    # It needs a library of the system that only the images for rendering have.
    from b3lb_jobs.record.render import render  # noqa: PLC0415 - see above

    with watch.encoding(deadline_seconds(plan.seconds, seconds_left())):
        losses = render(
            plan,
            profile,
            recording=recording,
            work=scratch,
            target=target,
            on_progress=watch.share,
            on_start=watch.started,
        )
    watch.enter(Stage.PUBLISH)
    seconds = verify(target, plan, profile)
    poster = folder / "poster.png"
    write_poster(target, poster)
    watch.share(VERIFIED_SHARE)
    return Video(target, poster, seconds, plan, profile, (*plan.warnings, *losses))
