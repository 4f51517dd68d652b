"""A recording becomes a video whose frames, colours and sound are those of the plan."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.media import probe
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.recording import read_recording
from dev.debian import debian_program
from dev.recordings.options import Generation, Options, Webcams
from dev.recordings.pictures import corner_colours
from dev.recordings.writing import write_recording

pytestmark = pytest.mark.integration
pytest.importorskip("cairocffi")

WIDTH, HEIGHT, RATE = 640, 360, 10


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    debian_program("ffmpeg", "ffmpeg")
    debian_program("rsvg-convert", "librsvg2-bin")


def rendered(folder: Path, options: Options, **fields: Any) -> tuple[Plan, Path]:
    from b3lb_jobs.record.render import render  # noqa: PLC0415 - cairo is not everywhere

    recording, work, target = folder / "recording", folder / "work", folder / "video"
    work.mkdir()
    write_recording(recording, options)
    document = {"width": WIDTH, "height": HEIGHT, "video": {"framesPerSecond": RATE, "preset": "ultrafast", "crf": 10}}
    profile = parse_profile(document | fields)
    plan = make_plan(read_recording(recording, lambda path: probe(recording, path)), profile)
    progress: list[float] = []
    warnings = render(plan, profile, recording=recording, work=work, target=target, on_progress=progress.append)
    assert warnings == ()
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    return plan, target


def facts(video: Path) -> dict[str, dict[str, Any]]:
    entries = "stream=codec_type,codec_name,width,height,pix_fmt,color_space,duration,nb_read_frames:format=format_name"
    command = ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries", entries, str(video)]
    document = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {stream["codec_type"]: stream for stream in document["streams"]} | {"format": document["format"]}


def pixel(video: Path, frame: int, x: int, y: int) -> tuple[int, ...]:
    """Return the mean colour of 8 by 8 pixels of a frame."""
    chain = f"select=eq(n\\,{frame}),scale=in_color_matrix=bt709,format=rgb24,crop=8:8:{x}:{y},scale=1:1:flags=area"
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-i",
        str(video),
        "-vf",
        chain,
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-",
    ]
    return tuple(subprocess.run(command, check=True, capture_output=True).stdout)


def is_like(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == 3 and all(abs(a - b) <= 6 for a, b in zip(found, expected, strict=True))


def test_an_mp4_has_every_frame_and_the_slides_colours(tmp_path: Path) -> None:
    options = Options(seconds=4, slides=2, shapes=10, zooms=0, moves=0, width=320, height=240)
    plan, video = rendered(tmp_path, options)
    found = facts(video)
    assert "mp4" in found["format"]["format_name"]
    assert {name: found["video"][name] for name in ("codec_name", "width", "height", "pix_fmt", "color_space")} == {
        "codec_name": "h264",
        "width": WIDTH,
        "height": HEIGHT,
        "pix_fmt": "yuv420p",
        "color_space": "bt709",
    }
    assert int(found["video"]["nb_read_frames"]) == plan.frames == 40
    assert found["audio"]["codec_name"] == "aac"
    assert abs(float(found["video"]["duration"]) - float(found["audio"]["duration"])) < 1 / RATE
    assert is_like(pixel(video, 2, 10, 10), corner_colours(0)[0])
    assert is_like(pixel(video, 38, 460, 8), corner_colours(1)[1])
    # Below the webcams there is the backdrop.
    assert is_like(pixel(video, 2, 560, 300), (0, 0, 0))
    assert plan.screen_share is not None
    ((begin, end),) = plan.screen_share.spans
    # The first column of FFmpeg's test picture is white; the slide beneath it is not.
    states = [is_like(pixel(video, frame, 10, 10), corner_colours(0)[0]) for frame in (begin - 1, begin, end - 1)]
    assert states == [True, False, False]


def test_a_webm_holds_vp9_and_the_opus_of_the_recording(tmp_path: Path) -> None:
    options = Options(Generation.V3_0, seconds=3, slides=1, screen_shares=0, width=320, height=240)
    plan, video = rendered(tmp_path, options, container="webm")
    found = facts(video)
    assert "webm" in found["format"]["format_name"]
    assert (found["video"]["codec_name"], found["audio"]["codec_name"]) == ("vp9", "opus")
    assert int(found["video"]["nb_read_frames"]) == plan.frames == 30


def test_a_recording_of_sound_only_shows_its_slides_in_full_width(tmp_path: Path) -> None:
    options = Options(seconds=2, slides=1, webcams=Webcams.NONE, screen_shares=0, zooms=0, shapes=0, moves=0)
    _, video = rendered(tmp_path, options, height=480)
    assert is_like(pixel(video, 10, 620, 10), corner_colours(0)[1])


def test_a_damaged_screen_share_costs_nothing_but_its_own_pictures(tmp_path: Path) -> None:
    from b3lb_jobs.record.render import render  # noqa: PLC0415 - cairo is not everywhere

    write_recording(tmp_path, Options(seconds=4, slides=1, screen_shares=2, width=320, height=240))
    share = tmp_path / "deskshare/deskshare.webm"
    data = bytearray(share.read_bytes())
    noise = random.Random(1)
    for begin in range(len(data) // 3, len(data) - 200, 400):
        data[begin : begin + 200] = noise.randbytes(200)
    share.write_bytes(data)
    profile = parse_profile({"width": WIDTH, "height": HEIGHT, "video": {"framesPerSecond": RATE}})
    plan = make_plan(read_recording(tmp_path, lambda path: probe(tmp_path, path)), profile)
    assert plan.screen_share is not None
    assert len(plan.screen_share.spans) == 2
    render(plan, profile, recording=tmp_path, work=tmp_path, target=tmp_path / "video.mp4")
    assert int(facts(tmp_path / "video.mp4")["video"]["nb_read_frames"]) == plan.frames == 40


def test_what_ffmpeg_says_is_kept_when_it_fails(tmp_path: Path) -> None:
    from b3lb_jobs.record.render import render  # noqa: PLC0415 - cairo is not everywhere

    write_recording(tmp_path, Options(seconds=2, slides=1, screen_shares=0, width=320, height=240))
    profile = parse_profile({"width": WIDTH, "height": HEIGHT})
    plan = make_plan(read_recording(tmp_path, lambda path: probe(tmp_path, path)), profile)
    (tmp_path / "video/webcams.webm").write_bytes(b"no media")
    with pytest.raises(RecordError) as caught:
        render(plan, profile, recording=tmp_path, work=tmp_path, target=tmp_path / "video.mp4")
    assert caught.value.code is FailureCode.ENCODER_FAILED
    assert any("webcams.webm" in line for line in caught.value.stderr)
    assert not any(str(tmp_path) in line for line in caught.value.stderr)


@pytest.mark.parametrize(
    "content",
    [
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/hostname"/></svg>',
        '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9))
        + ']><svg xmlns="http://www.w3.org/2000/svg"><text>&j;</text></svg>',
        "no SVG",
    ],
)
def test_a_hostile_svg_is_drawn_or_refused_in_bounded_time(content: str, tmp_path: Path) -> None:
    from b3lb_jobs.record.pictures import PictureError, load_picture  # noqa: PLC0415 - cairo is not everywhere

    path = tmp_path / "slide1.svg"
    path.write_text(content)
    with contextlib.suppress(PictureError):
        picture = load_picture(path, 100_000)
        assert picture.get_width() <= 4_096
        assert picture.get_height() <= 4_096
