"""The plan of a video: plain data that says what each frame shows and where the sound comes from.

Pure: what was read of a recording and a profile in, a plan out. Seconds only where a file has to be searched; the rest
is counted in frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb_jobs.record.documents import ScreenShare
from b3lb_jobs.record.drawings import Colour, Drawing, parse_colour
from b3lb_jobs.record.failures import FailureCode, RecordError, RecordWarning, WarningCode, WarningLog
from b3lb_jobs.record.layout import Box, WebcamBox, fit, stage_size, webcam_box
from b3lb_jobs.record.pointer import PointerSpan, pointer_spans
from b3lb_jobs.record.recording import Recording
from b3lb_jobs.record.slides import Slide
from b3lb_jobs.record.stage import Segment, StageState, first_frame, segments, stage
from b3lb_jobs.record.tldraw.document import page_scale

MAXIMUM_SECONDS = 24 * 3600.0
_BLACK = Colour(0, 0, 0)


@dataclass(frozen=True, slots=True)
class PlannedSlide:
    """A slide's picture within the recording, None for a white one, and its size in its own pixels."""

    href: str | None
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A file of the recording, the colour matrix it is in, if the file says so, and the second that it begins with."""

    path: str
    colour_space: str | None
    start: float


@dataclass(frozen=True, slots=True)
class WebcamVideo:
    """The webcams' file and its place in the picture."""

    file: PlannedVideo
    place: WebcamBox


@dataclass(frozen=True, slots=True)
class ScreenShareVideo:
    """The screen share's file, its place in the picture, and the frames [begin, end) that show it."""

    file: PlannedVideo
    box: Box
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sound:
    """The file that is heard, and its codec as FFmpeg names it."""

    path: str
    codec: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a video is made of.

    ``states`` name slides and drawings by their indexes. The stage is at the upper left of the picture; around it and
    the webcams there is ``backdrop``.
    """

    seconds: float
    frames: int
    rate: int
    width: int
    height: int
    stage_width: int
    stage_height: int
    backdrop: Colour
    slides: tuple[PlannedSlide, ...]
    drawings: tuple[Drawing, ...]
    states: tuple[StageState, ...]
    pointer: tuple[PointerSpan, ...]
    webcams: WebcamVideo | None
    screen_share: ScreenShareVideo | None
    sound: Sound | None
    warnings: tuple[RecordWarning, ...]

    def visible(self) -> Iterator[tuple[StageState, tuple[int, ...]]]:
        """Yield each state with all drawings that are seen in it, in the order of drawing."""
        seen: set[int] = set()
        for state in self.states:
            seen.difference_update(state.vanish)
            seen.update(state.appear)
            yield state, tuple(sorted(seen))

    def document(self) -> dict[str, Any]:
        """Return the plan as what JSON can hold."""
        return dataclasses.asdict(self)


def make_plan(recording: Recording, profile: BBBRecordProfileSpec) -> Plan:
    """Return the plan of a recording's video.

    Raises:
        RecordError: ``NOTHING_TO_RENDER``: no time passes in it, or there is neither picture nor sound.
    """
    log = WarningLog()
    seconds = _length(recording, log)
    rate = profile.video.frames_per_second
    frames = max(1, round(seconds * rate))
    webcams = recording.webcams.video if recording.webcams else None
    width, height = stage_size(profile, webcams)
    shares = _share_spans(recording, frames, rate, log)
    parts = segments(recording.slides, frames, rate)
    camera = _camera(recording)
    panzooms = recording.panzooms
    scenery = stage(
        parts,
        panzooms.events,
        rate,
        camera=camera if panzooms.is_tldraw else None,
        annotations=profile.annotations,
    )
    states, slides = _numbered(scenery.states, parts, recording, log)
    pointer: Sequence[PointerSpan] = ()
    if profile.annotations:
        pointer = pointer_spans(
            recording.cursor,
            states=scenery.states,
            parts=parts,
            frames=frames,
            rate=rate,
            stage=(width, height),
            camera=camera,
            hidden=shares,
        )
    return Plan(
        seconds=seconds,
        frames=frames,
        rate=rate,
        width=profile.width,
        height=profile.height,
        stage_width=width,
        stage_height=height,
        backdrop=parse_colour(profile.backdrop) or _BLACK,
        slides=slides,
        drawings=scenery.drawings,
        states=states,
        pointer=tuple(pointer),
        webcams=_webcam_video(recording, profile),
        screen_share=_share_video(recording, shares, width, height),
        sound=_sound(recording),
        warnings=(*recording.warnings, *log),
    )


def _length(recording: Recording, log: WarningLog) -> float:
    media = [one.duration for one in (recording.webcams, recording.audio) if one and one.duration]
    last = max((slide.end for slide in recording.slides), default=0.0)
    if not recording.slides and not media and recording.screen_share is None:
        raise RecordError(FailureCode.NOTHING_TO_RENDER, "the recording has neither slides nor sound nor video")
    seconds = max(media) if media else (recording.metadata.duration_milliseconds or 0) / 1000 or last
    if seconds <= 0:
        raise RecordError(FailureCode.NOTHING_TO_RENDER, "no time passes in the recording")
    if seconds > MAXIMUM_SECONDS:
        log.add(WarningCode.MEDIA_TRUNCATED, "longer than 24 hours")
    return min(seconds, MAXIMUM_SECONDS)


def _camera(recording: Recording) -> Callable[[Slide], float]:
    return lambda slide: page_scale(recording.version, (slide.width, slide.height))


def _share_spans(recording: Recording, frames: int, rate: int, log: WarningLog) -> tuple[tuple[int, int], ...]:
    """Return the frames that show the screen share: sorted, apart from each other, within file and video."""
    media, shares = recording.screen_share, recording.screen_shares
    if media is None:
        if any(slide.is_screen_share for slide in recording.slides):
            log.add(WarningCode.SCREEN_SHARE_MISSING, "its video is missing")
        return ()
    if shares is None:
        # The slides tell as well: while the screen is shared, a picture keeps the place.
        shares = tuple(ScreenShare(slide.begin, slide.end) for slide in recording.slides if slide.is_screen_share)
    limit = frames if media.duration is None else min(frames, int(media.duration * rate))
    spans: list[tuple[int, int]] = []
    for share in sorted(shares, key=lambda share: share.begin):
        begin, end = first_frame(share.begin, rate), min(first_frame(share.end, rate), limit)
        if spans and begin <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        elif begin < end:
            spans.append((begin, end))
    return tuple(spans)


def _share_video(
    recording: Recording, spans: tuple[tuple[int, int], ...], width: int, height: int
) -> ScreenShareVideo | None:
    media = recording.screen_share
    if media is None or media.video is None or not spans:
        return None
    fitted = fit(media.video.width, media.video.height, width, height)
    return ScreenShareVideo(PlannedVideo(media.path, media.video.colour_space, media.start), Box(0, 0, *fitted), spans)


def _webcam_video(recording: Recording, profile: BBBRecordProfileSpec) -> WebcamVideo | None:
    media = recording.webcams
    place = webcam_box(profile, media.video if media else None)
    if media is None or media.video is None or place is None:
        return None
    return WebcamVideo(PlannedVideo(media.path, media.video.colour_space, media.start), place)


def _sound(recording: Recording) -> Sound | None:
    audio = recording.audio
    return Sound(audio.path, audio.audio_codec) if audio and audio.audio_codec else None


def _numbered(
    states: Sequence[StageState], parts: Sequence[Segment], recording: Recording, log: WarningLog
) -> tuple[tuple[StageState, ...], tuple[PlannedSlide, ...]]:
    """Give each picture one number, however often it is shown."""
    numbers: dict[PlannedSlide, int] = {}
    numbered = []
    for state in states:
        slide = None if state.slide is None else parts[state.slide].slide
        if slide is None:
            numbered.append(state)
            continue
        href = slide.href if slide.href in recording.pictures else None
        planned = PlannedSlide(href, slide.width, slide.height)
        if planned not in numbers and href is None:
            log.add(WarningCode.SLIDE_MISSING, slide.href or "a picture outside of the recording")
        numbered.append(dataclasses.replace(state, slide=numbers.setdefault(planned, len(numbers))))
    return tuple(numbered), tuple(numbers)
