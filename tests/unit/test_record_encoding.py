"""FFmpeg is told exactly what the plan says."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from b3lb.recordings.metadata import RecordingMetadata
from b3lb_jobs.record.documents import ScreenShare
from b3lb_jobs.record.encoding import ffmpeg_command, filter_graph, share_script
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.matroska import PictureStream
from b3lb_jobs.record.media import INPUT_GUARD, Media, Video
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.pointer import PointerSpan
from b3lb_jobs.record.pointer_script import pointer_script
from b3lb_jobs.record.program import ffmpeg_version, parse_version
from b3lb_jobs.record.recording import Recording
from b3lb_jobs.record.slides import Slide

WEBCAMS = Media("video/webcams.webm", 10.0, Video("vp9", 640, 480, 15.0, None), "opus")
AUDIO = Media("audio/audio.ogg", 10.0, None, "vorbis")
SHARE = Media("deskshare/deskshare.webm", 10.0, Video("vp9", 1280, 720, 5.0, "bt709"), None)
RECORDING = Recording(
    RecordingMetadata(record_id="r", meeting_id="m", duration_milliseconds=10_000),
    (Slide(1, 0, 10, None, 1600, 1200),),
    webcams=WEBCAMS,
    audio=WEBCAMS,
    screen_share=SHARE,
    screen_shares=(ScreenShare(2, 4), ScreenShare(6, 7)),
)


def plan(profile: dict[str, Any] | None = None, **fields: Any) -> Plan:
    return make_plan(replace(RECORDING, **fields), parse_profile({"video": {"framesPerSecond": 15}} | (profile or {})))


def command(profile: dict[str, Any] | None = None, *, version: tuple[int, int] = (5, 1), **fields: Any) -> list[str]:
    parsed = parse_profile({"video": {"framesPerSecond": 15}} | (profile or {}))
    planned = make_plan(replace(RECORDING, **fields), parsed)
    return ffmpeg_command(planned, parsed, recording=Path("/r"), target=Path("/t/v"), version=version)


def inputs(arguments: list[str]) -> list[str]:
    return [arguments[index + 1] for index, argument in enumerate(arguments) if argument == "-i"]


def test_the_shared_screen_is_one_input_that_is_read_span_by_span() -> None:
    planned = plan()
    assert planned.screen_share is not None
    name = "file 'file:/it'\\''s/deskshare/deskshare.webm'"
    # Two spans that are close to each other are read as one.
    close = [name, "duration 7", "inpoint 0.000000", "outpoint 7.000000"]
    assert share_script(planned.screen_share, 15, Path("/it's")).splitlines() == ["ffconcat version 1.0", *close]
    late = replace(
        planned.screen_share, spans=((75, 90), (1_500, 1_515)), file=replace(planned.screen_share.file, start=0.5)
    )
    first = [name, "duration 95", "inpoint 3.500000", "outpoint 6.500000"]
    second = [name, "duration 3", "inpoint 98.500000", "outpoint 101.500000"]
    assert share_script(late, 15, Path("/it's")).splitlines() == ["ffconcat version 1.0", *first, *second]
    assert "(gte(t,3)*lt(t,6.000000)+gte(t,98)*lt(t,101.000000))" in filter_graph(replace(planned, screen_share=late))
    graph = filter_graph(planned)
    assert "[1:v]setpts=PTS+0/TB,select=" in graph
    arguments = command()
    assert inputs(arguments)[:2] == ["pipe:0", "file:share.ffconcat"]
    # The list is the program's own; what it names is as guarded as every input.
    assert arguments[arguments.index("-format_whitelist") + 1] == f"{INPUT_GUARD[-1]},concat"
    # What is in the video's colour matrix already is not converted.
    assert "scale=1440:810,setsar=1,format=yuv420p[d]" in graph
    # One overlay for both: a second one would have FFmpeg 7 copy frames in advance.
    assert "enable='gte(t,1.966667)*lt(t,3.966667)+gte(t,5.966667)*lt(t,6.966667)'" in graph


def test_webcams_are_read_once_for_the_picture_and_once_for_the_sound() -> None:
    arguments = command()
    assert inputs(arguments)[2:] == ["file:/r/video/webcams.webm"] * 2
    pictures, sound = [index for index, argument in enumerate(arguments) if argument == "file:/r/video/webcams.webm"]
    assert "-an" in arguments[pictures - 6 : pictures]
    assert "-vn" in arguments[sound - 6 : sound]
    assert "3:a:0" in arguments
    graph = filter_graph(plan())
    assert "[2:v]scale=480:360,setsar=1,format=yuv420p,colorspace=ispace=smpte170m" in graph
    assert "overlay=1440:0:eof_action=pass" in graph


def test_no_input_but_the_containers_of_bbb_is_opened() -> None:
    arguments = command()
    for index, argument in enumerate(arguments):
        if argument == "-i" and arguments[index + 1].startswith("file:"):
            assert "-format_whitelist" in arguments[index - 4 : index]


def test_sound_without_webcams_comes_from_its_own_file_and_silence_from_nowhere() -> None:
    assert inputs(command(webcams=None, audio=AUDIO, screen_share=None)) == ["pipe:0", "file:/r/audio/audio.ogg"]
    assert inputs(command(webcams=None, audio=None, screen_share=None))[1].startswith("anullsrc")
    hidden = command({"webcam": {"sizePercent": 0}}, screen_share=None)
    assert inputs(hidden) == ["pipe:0", "file:/r/video/webcams.webm"]
    assert "1:a:0" in hidden


def test_the_encoder_gets_what_the_profile_says() -> None:
    mp4 = " ".join(command({"video": {"preset": "faster", "crf": 20, "framesPerSecond": 25}}))
    assert "-c:v libx264 -preset faster -crf 20 -profile:v high -g 250" in mp4
    assert "-c:a aac" in mp4
    assert "-t 10.000000" in mp4
    assert "trim=end_frame=250," in filter_graph(plan({"video": {"framesPerSecond": 25}}))
    webm = " ".join(command({"container": "webm"}))
    assert "-c:v libvpx-vp9" in webm
    assert "-crf 36 -b:v 0" in webm
    assert "-c:a copy" in webm
    assert "-c:a libopus" in " ".join(command({"container": "webm"}, audio=AUDIO))
    lossless = {"crf": 0, "framesPerSecond": 15}
    assert "-profile:v" not in command({"video": lossless})
    assert "-crf 0 -lossless 1" in " ".join(command({"video": lossless, "container": "webm"}))


@pytest.mark.parametrize(
    ("version", "graph", "timing"),
    [
        ((4, 4), "-filter_complex_script", "-vsync"),
        ((5, 1), "-filter_complex_script", "-fps_mode"),
        ((7, 1), "-/filter_complex", "-fps_mode"),
        ((8, 0), "-/filter_complex", "-fps_mode"),
    ],
)
def test_options_have_the_names_of_the_installed_version(version: tuple[int, int], graph: str, timing: str) -> None:
    arguments = command(version=version)
    assert arguments[arguments.index(graph) + 1] == "graph.txt"
    assert arguments[arguments.index(timing) + 1] == "passthrough"
    assert len({"-filter_complex_script", "-/filter_complex"} & set(arguments)) == 1


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (b"ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2025 the FFmpeg developers\nbuilt", (5, 1)),
        (b"ffmpeg version 7.1.2-0+deb13u1 Copyright", (7, 1)),
        (b"ffmpeg version n8.0 Copyright", (8, 0)),
        (b"ffmpeg version N-118000-gabcdef Copyright", (99, 0)),
        (b"", (99, 0)),
    ],
)
def test_ffmpegs_version_is_read_from_its_first_line(output: bytes, version: tuple[int, int]) -> None:
    assert parse_version(output) == version


def test_without_ffmpeg_the_encoder_has_failed() -> None:
    with pytest.raises(RecordError) as caught:
        ffmpeg_version("ffmpeg-that-is-not-there")
    assert caught.value.code is FailureCode.ENCODER_FAILED


def test_webcams_are_cut_when_the_profile_says_so() -> None:
    assert "[2:v]crop=iw:iw*9/16,scale=480:270" in filter_graph(plan({"webcam": {"crop": True}}))
    assert "crop=" not in filter_graph(plan())


def test_the_backdrop_fills_what_is_left() -> None:
    assert "pad=1920:1080:0:0:color=0x102030" in filter_graph(plan({"backdrop": "#102030"}))


def test_the_cursors_script_is_there_only_for_a_cursor() -> None:
    assert "ass=" not in filter_graph(plan())
    with_pointer = replace(plan(), pointer=(PointerSpan(0, 15, 100, 50.5), PointerSpan(54_000, 54_015, 7, 7)))
    assert "ass=pointer.ass" in filter_graph(with_pointer)
    script = pointer_script(with_pointer)
    assert "PlayResX: 1920" in script
    events = re.findall(r"Dialogue: 0,(\S+?),(\S+?),Dot,", script)
    # Borders lie half a frame before the first frame and before the first one that is without.
    assert events == [("0:00:00.00", "0:00:00.97"), ("0:59:59.97", "1:00:00.97")]


def test_the_stream_holds_each_picture_with_its_time() -> None:
    stream = io.BytesIO()
    pictures = PictureStream(stream, 2, 2)
    pictures.write(0, bytes(16))
    pictures.write(70_000, b"\1" * 16)
    data = stream.getvalue()
    assert data.startswith(b"\x1aE\xdf\xa3")
    assert b"V_UNCOMPRESSED" in data
    assert data.count(struct.pack(">I", 0x1F43B675)) == 2
    assert data.endswith(b"\x81\0\0\x80" + b"\1" * 16)
    with pytest.raises(ValueError, match="15 bytes"):
        pictures.write(1, bytes(15))
