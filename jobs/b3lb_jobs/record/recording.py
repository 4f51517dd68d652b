"""An unpacked recording, read as far as it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from b3lb.recordings.metadata import RecordingMetadata
from b3lb_jobs.record.documents import (
    Cursor,
    PanZooms,
    ScreenShare,
    read_cursor,
    read_metadata,
    read_panzooms,
    read_screen_shares,
)
from b3lb_jobs.record.failures import FailureCode, RecordError, RecordWarning, WarningCode, WarningLog
from b3lb_jobs.record.media import Media
from b3lb_jobs.record.slides import Slide, read_slides
from b3lb_jobs.record.tldraw.document import read_tldraw

Probe = Callable[[str], Media]
_WEBCAMS = ("video/webcams.webm", "video/webcams.mp4")
_AUDIO = ("audio/audio.webm", "audio/audio.ogg")
_SCREEN_SHARE = ("deskshare/deskshare.webm", "deskshare/deskshare.mp4")


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that a plan is made of.

    ``screen_shares`` is None where no document tells when the screen share is shown. ``version`` is that of BBB, if
    the recording says so. ``pictures`` are the paths of all files below ``presentation/``.
    """

    metadata: RecordingMetadata
    slides: tuple[Slide, ...] = ()
    panzooms: PanZooms = field(default_factory=PanZooms)
    cursor: Cursor = field(default_factory=Cursor)
    screen_shares: tuple[ScreenShare, ...] | None = None
    webcams: Media | None = None
    audio: Media | None = None
    screen_share: Media | None = None
    version: tuple[int, int, int] | None = None
    pictures: frozenset[str] = frozenset()
    warnings: tuple[RecordWarning, ...] = ()


def read_recording(root: Path, probe: Probe) -> Recording:
    """Return what is in the folder; ``probe`` looks into a media file by its path within the recording.

    Raises:
        RecordError: ``XML_INVALID``: metadata.xml, or shapes.svg while there is no picture but the slides';
            ``MEDIA_CORRUPT``: the only file with audio cannot be read.
        OSError: a file cannot be read.
    """
    log = WarningLog()
    metadata = read_metadata(root / "metadata.xml")
    webcams, audio = _sound(root, probe, log)
    screen_share = _optional(root, _SCREEN_SHARE, probe, log)
    has_pictures = any(media is not None and media.video is not None for media in (webcams, screen_share))
    slides = _slides(root / "shapes.svg", log, required=not has_pictures)
    version = None
    if (root / "tldraw.json").exists():
        sizes = {slide.number: (slide.width, slide.height) for slide in slides}
        drawn, version = read_tldraw(root / "tldraw.json", sizes, log)
        slides = tuple(replace(slide, shapes=slide.shapes + drawn.get(slide.number, ())) for slide in slides)
    folder = root / "presentation"
    return Recording(
        metadata=metadata,
        slides=slides,
        panzooms=read_panzooms(root / "panzooms.xml", log),
        cursor=read_cursor(root / "cursor.xml", log),
        # A recording without a screen share need not say when there was one.
        screen_shares=read_screen_shares(root / "deskshare.xml", log) if screen_share else (),
        webcams=webcams,
        audio=audio,
        screen_share=screen_share,
        version=version,
        pictures=frozenset(file.relative_to(root).as_posix() for file in folder.rglob("*") if file.is_file()),
        warnings=tuple(log),
    )


def _sound(root: Path, probe: Probe, log: WarningLog) -> tuple[Media | None, Media | None]:
    """Return the webcams and what is heard: the webcams' file carries all audio where there is one."""
    faults: list[RecordError] = []
    webcams = _first(root, _WEBCAMS, probe, faults)
    audio = webcams if webcams and webcams.audio_codec else _first(root, _AUDIO, probe, faults)
    if audio is not None and audio.audio_codec is None:
        audio = None
    if webcams is None and audio is None and faults:
        raise faults[0]
    for fault in faults:
        log.add(WarningCode.MEDIA_TRUNCATED, str(fault))
    if webcams is None or webcams.video is None:
        log.add(WarningCode.NO_WEBCAMS)
    if audio is None:
        log.add(WarningCode.NO_AUDIO)
    return webcams, audio


def _optional(root: Path, paths: tuple[str, ...], probe: Probe, log: WarningLog) -> Media | None:
    faults: list[RecordError] = []
    media = _first(root, paths, probe, faults)
    for fault in faults:
        log.add(WarningCode.SCREEN_SHARE_MISSING, str(fault))
    return media if media and media.video else None


def _first(root: Path, paths: tuple[str, ...], probe: Probe, faults: list[RecordError]) -> Media | None:
    """Return the first of the files that exists and can be read."""
    for path in paths:
        if not (root / path).is_file():
            continue
        try:
            return probe(path)
        except RecordError as error:
            faults.append(error)
    return None


def _slides(path: Path, log: WarningLog, *, required: bool) -> tuple[Slide, ...]:
    try:
        return read_slides(path, log)
    except FileNotFoundError:
        log.add(WarningCode.SLIDE_MISSING, "shapes.svg is missing")
    except RecordError as error:
        if required and error.code is FailureCode.XML_INVALID:
            raise
        log.add(WarningCode.SLIDE_MISSING, str(error))
    return ()
