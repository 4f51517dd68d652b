"""A plan says what each frame shows, and whatever is broken in a recording costs no more than that part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from b3lb.recordings.metadata import RecordingMetadata
from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb_jobs.record.documents import ScreenShare
from b3lb_jobs.record.failures import FailureCode, RecordError, WarningCode
from b3lb_jobs.record.layout import Box, fit, parse_profile, webcam_box
from b3lb_jobs.record.media import Media, Video, parse_probe
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.recording import Recording, read_recording
from b3lb_jobs.record.slides import Slide
from dev.recordings.options import Generation, Options, share_times, slide_times
from dev.recordings.writing import write_recording

VIDEO = Video("vp9", 640, 480, 15.0, None)
SCREEN = Video("vp9", 1280, 720, 5.0, None)
WEBCAMS = Media("video/webcams.webm", 12.0, VIDEO, "opus")
SHARE = Media("deskshare/deskshare.webm", 12.0, SCREEN, None)
METADATA = RecordingMetadata(record_id="r", meeting_id="m", duration_milliseconds=12_000)
SLIDE = Slide(1, 0, 12, "presentation/a/slide-1.png", 1600, 1200)


def profile(**fields: Any) -> BBBRecordProfileSpec:
    return parse_profile({"video": {"framesPerSecond": 15}} | fields)


def recording(**fields: Any) -> Recording:
    values: dict[str, Any] = {
        "metadata": METADATA,
        "slides": (SLIDE,),
        "webcams": WEBCAMS,
        "audio": WEBCAMS,
        "screen_shares": (),
        "pictures": frozenset({"presentation/a/slide-1.png"}),
    }
    return Recording(**(values | fields))


def codes(plan: Plan) -> set[WarningCode]:
    return {warning.code for warning in plan.warnings}


@pytest.mark.parametrize("generation", list(Generation))
def test_recordings_of_every_generation_are_planned_without_a_loss(generation: Generation, tmp_path: Path) -> None:
    options = Options(generation=generation, seconds=30, shapes=60, width=160, height=120)
    write_recording(tmp_path, options, media=False)
    for name, media in (("video", WEBCAMS), ("deskshare", SHARE)):
        (tmp_path / name).mkdir()
        (tmp_path / media.path).touch()
    found = {media.path: replace(media, duration=30.0) for media in (WEBCAMS, SHARE)}
    plan = make_plan(read_recording(tmp_path, found.__getitem__), profile())
    assert plan.warnings == ()
    assert plan.frames == 450
    assert len(plan.slides) == options.slides
    shown = [state.slide for state in plan.states]
    assert shown.count(None) == len(share_times(options))
    assert {round(time.begin * 15) for time in slide_times(options)} <= {state.frame for state in plan.states}
    assert len(plan.drawings) >= options.shapes * 0.7
    assert plan.pointer
    assert plan.screen_share is not None
    assert plan.screen_share.spans == tuple(
        (round(a * 15 + 0.49), round(b * 15 + 0.49)) for a, b in share_times(options)
    )
    assert json.loads(json.dumps(plan.document()))["frames"] == 450
    last_visible = [visible for _, visible in plan.visible()][-1]
    assert set(last_visible) <= set(range(len(plan.drawings)))


def test_the_length_is_that_of_the_media_then_of_the_metadata_then_of_the_slides() -> None:
    assert make_plan(recording(), profile()).frames == 180
    assert (
        make_plan(recording(webcams=None, audio=Media("audio/audio.ogg", 9.5, None, "vorbis")), profile()).seconds
        == 9.5
    )
    assert make_plan(recording(webcams=None, audio=None), profile()).seconds == 12.0
    no_metadata = replace(METADATA, duration_milliseconds=None)
    slides = (replace(SLIDE, end=7.0),)
    assert make_plan(recording(webcams=None, audio=None, metadata=no_metadata, slides=slides), profile()).seconds == 7.0


def test_without_length_or_content_there_is_nothing_to_render() -> None:
    empty = recording(webcams=None, audio=None, slides=())
    with pytest.raises(RecordError) as caught:
        make_plan(empty, profile())
    assert caught.value.code is FailureCode.NOTHING_TO_RENDER


def test_days_of_recording_are_cut() -> None:
    plan = make_plan(recording(webcams=replace(WEBCAMS, duration=1e6), audio=None), profile())
    assert plan.seconds == 86_400
    assert codes(plan) == {WarningCode.MEDIA_TRUNCATED}


def test_slides_have_the_whole_width_without_webcams() -> None:
    assert make_plan(recording(), profile()).stage_width == 1440
    assert make_plan(recording(webcams=None), profile()).stage_width == 1920
    hidden = make_plan(recording(), profile(webcam={"sizePercent": 0}))
    assert (hidden.stage_width, hidden.webcams) == (1920, None)
    # They are hidden, yet heard.
    assert hidden.sound is not None


@pytest.mark.parametrize(
    ("webcam", "box", "crop"),
    [
        ({}, Box(1440, 0, 480, 360), False),
        ({"crop": True}, Box(1440, 0, 480, 270), True),
        ({"stretch": True}, Box(1440, 0, 480, 270), False),
        ({"sizePercent": 90}, Box(480, 0, 1440, 1080), False),
    ],
)
def test_webcams_are_at_the_upper_right(webcam: dict[str, Any], box: Box, crop: bool) -> None:
    found = webcam_box(profile(webcam=webcam), VIDEO)
    assert found is not None
    assert (found.box, found.crop) == (box, crop)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (4096, 1), (1, 4096), (640, 480)])
def test_sizes_are_even_and_within_their_box(size: tuple[int, int]) -> None:
    width, height = fit(*size, 480, 270)
    assert width % 2 == height % 2 == 0
    assert 2 <= width <= 480
    assert 2 <= height <= 270


@pytest.mark.parametrize(
    "document", [{"width": 1281}, {"webcam": {"sizePercent": 91}}, {"width": 9_000}, {"container": "avi"}]
)
def test_a_profile_that_cannot_be_rendered_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        parse_profile(document)
    assert caught.value.code is FailureCode.PROFILE_INVALID


def share_spans(shares: tuple[ScreenShare, ...] | None, **fields: Any) -> tuple[tuple[int, int], ...]:
    plan = make_plan(recording(screen_share=SHARE, screen_shares=shares, **fields), profile())
    return plan.screen_share.spans if plan.screen_share else ()


def test_screen_shares_are_joined_and_cut_at_the_end_of_their_file() -> None:
    assert share_spans((ScreenShare(1, 3), ScreenShare(2, 4), ScreenShare(10, 99))) == ((15, 60), (150, 180))
    assert share_spans((ScreenShare(20, 30),)) == ()
    assert share_spans(()) == ()


def test_without_a_document_the_slides_tell_when_the_screen_was_shared() -> None:
    held = Slide(2, 4, 6, "presentation/deskshare.png", 1280, 720)
    assert share_spans(None, slides=(SLIDE, held)) == ((60, 90),)


def test_a_missing_video_of_the_shared_screen_is_a_warning() -> None:
    held = Slide(2, 4, 6, "presentation/deskshare.png", 1280, 720)
    assert codes(make_plan(recording(slides=(SLIDE, held)), profile())) == {WarningCode.SCREEN_SHARE_MISSING}


def test_a_missing_picture_is_a_white_slide_and_one_warning() -> None:
    again = replace(SLIDE, number=2, begin=6)
    plan = make_plan(recording(slides=(SLIDE, again), pictures=frozenset()), profile())
    assert [slide.href for slide in plan.slides] == [None]
    assert [(warning.code, warning.count) for warning in plan.warnings] == [(WarningCode.SLIDE_MISSING, 1)]


def test_the_backdrop_is_the_profiles() -> None:
    assert make_plan(recording(), profile(backdrop="#102030")).backdrop[:3] == (16, 32, 48)


def broken(path: str) -> Media:
    raise RecordError(FailureCode.MEDIA_CORRUPT, f"{path}: no")


def written(folder: Path, *media: str) -> Path:
    write_recording(folder, Options(width=64, height=48), media=False)
    for path in media:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    return folder


def test_webcams_that_cannot_be_read_are_the_end_unless_there_is_other_sound(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        read_recording(written(tmp_path / "a", "video/webcams.webm"), broken)
    assert caught.value.code is FailureCode.MEDIA_CORRUPT
    audio = Media("audio/audio.ogg", 12.0, None, "vorbis")
    found = read_recording(
        written(tmp_path / "b", "video/webcams.webm", "audio/audio.ogg"),
        lambda path: audio if path == audio.path else broken(path),
    )
    assert found.audio == audio
    assert {warning.code for warning in found.warnings} >= {WarningCode.MEDIA_TRUNCATED, WarningCode.NO_WEBCAMS}


def test_broken_slides_are_a_warning_only_where_there_is_another_picture(tmp_path: Path) -> None:
    folder = written(tmp_path, "video/webcams.webm")
    (folder / "shapes.svg").write_text("<svg><image></svg>")
    found = read_recording(folder, lambda _path: WEBCAMS)
    assert WarningCode.SLIDE_MISSING in {warning.code for warning in found.warnings}
    with pytest.raises(RecordError) as caught:
        read_recording(folder, lambda _path: replace(WEBCAMS, video=None))
    assert caught.value.code is FailureCode.XML_INVALID


def test_a_recording_of_nothing_but_slides_says_what_it_lacks(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for name in ("panzooms.xml", "cursor.xml", "deskshare.xml"):
        (folder / name).unlink()
    found = read_recording(folder, broken)
    plan = make_plan(found, profile())
    assert codes(plan) == {
        WarningCode.NO_WEBCAMS,
        WarningCode.NO_AUDIO,
        WarningCode.PANZOOM_MISSING,
        WarningCode.CURSOR_MISSING,
        WarningCode.SCREEN_SHARE_MISSING,
    }


def test_ffprobes_answer_is_read() -> None:
    answer = {
        "format": {"duration": "12.5"},
        "streams": [
            {"codec_type": "audio", "codec_name": "opus"},
            {"codec_type": "video", "codec_name": "vp9", "width": 640, "height": 480, "avg_frame_rate": "15/1",
             "color_space": "unknown"},
        ],
    }  # fmt: skip
    assert parse_probe(json.dumps(answer).encode(), "x") == Media("x", 12.5, VIDEO, "opus")


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"streams": [1]}', b'{"streams": [{"codec_type": "video"}]}'])
def test_a_file_without_audio_or_video_is_corrupt(answer: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        parse_probe(answer, "x")
    assert caught.value.code is FailureCode.MEDIA_CORRUPT
