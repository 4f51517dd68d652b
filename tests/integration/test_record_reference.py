"""Every frame of a rendered video is what plain arithmetic makes of the same recording."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.media import probe
from b3lb_jobs.record.plan import make_plan
from b3lb_jobs.record.recording import read_recording
from b3lb_jobs.record.render import render
from dev.debian import debian_program
from tests.integration.record_reference import (
    BACKDROP,
    CAMERA,
    CAMERA_HEIGHT,
    FRAMES,
    HEIGHT,
    PROFILE,
    RATE,
    STAGE,
    TONE,
    TONE_END,
    WIDTH,
    decoded,
    loudness,
    lowest_similarity,
    reference_frame,
    webcam_colours,
    write_reference,
)

pytestmark = pytest.mark.integration
# Chroma is stored for two by two pixels, and its filters reach a little farther.
_MARGIN = 4
# Heights are even.
CAMERA_CUT = CAMERA * 9 // 16 // 2 * 2


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    debian_program("ffmpeg", "ffmpeg")
    root = tmp_path_factory.mktemp("reference")
    write_reference(root)
    return root


@pytest.fixture(scope="module")
def lossless(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(recording, tmp_path_factory.mktemp("lossless"), PROFILE)


def rendered(recording: Path, folder: Path, profile: dict[str, Any]) -> Path:
    parsed = parse_profile(profile)
    plan = make_plan(read_recording(recording, lambda path: probe(recording, path)), parsed)
    target = folder / f"video.{parsed.container.value}"
    assert (*plan.warnings, *render(plan, parsed, recording=recording, work=folder, target=target)) == ()
    return target


def pixel(frame: bytes, x: int, y: int) -> tuple[int, int, int]:
    at = (y * WIDTH + x) * 3
    return frame[at], frame[at + 1], frame[at + 2]


def is_flat(frame: bytes, x: int, y: int) -> bool:
    """Whether all around the pixel has its colour, so that no filter can have changed it."""
    row = frame[(y * WIDTH + x - _MARGIN) * 3 : (y * WIDTH + x + _MARGIN + 1) * 3]
    column = [pixel(frame, x, y + step) for step in range(-_MARGIN, _MARGIN + 1)]
    corners = [pixel(frame, x + dx, y + dy) for dx in (-_MARGIN, _MARGIN) for dy in (-_MARGIN, _MARGIN)]
    return row == row[:3] * (2 * _MARGIN + 1) and {*column, *corners} == {pixel(frame, x, y)}


def is_like(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(found, expected, strict=True))


def test_every_flat_pixel_of_every_frame_has_its_colour(lossless: Path) -> None:
    """Slides, drawings, zoom, screen share, webcams and backdrop, each from its first frame to its last."""
    frames = decoded(lossless)
    assert len(frames) == FRAMES
    compared = 0
    for number, frame in enumerate(frames):
        expected = reference_frame(number)
        for y in range(_MARGIN, HEIGHT - _MARGIN, 8):
            for x in range(_MARGIN, WIDTH - _MARGIN, 8):
                if is_flat(expected, x, y):
                    compared += 1
                    found, wanted = pixel(frame, x, y), pixel(expected, x, y)
                    assert is_like(found, wanted), f"frame {number} at {x}, {y}: {found}, not {wanted}"
    assert compared > FRAMES * 400


# Frame at which it changes, place in the video.
BORDERS = {
    "slide": (15, 8, 8),
    "shape": (3, 80, 64),
    "undo": (10, 80, 64),
    "second shape": (5, 100, 116),
    "its next version": (8, 180, 116),
    "screen share": (25, 128, 100),
    "screen share's end": (35, 128, 100),
    "below the screen share": (25, 128, 210),
    "zoom": (40, 8, 8),
    "zoom's end": (46, 8, 8),
    "cursor": (2, 160, 180),
    "cursor's end": (9, 160, 180),
    "cursor within the zoom": (42, 120, 150),
    "cursor moves with the view": (46, 100, 105),
    "webcams": (5, 350, 12),
}


@pytest.mark.parametrize(("frame", "x", "y"), BORDERS.values(), ids=BORDERS)
def test_a_change_is_seen_at_its_frame_and_not_one_before(frame: int, x: int, y: int, lossless: Path) -> None:
    for number in (frame - 1, frame, frame + 1):
        found, wanted = pixel(decoded_once(lossless)[number], x, y), pixel(reference_frame(number), x, y)
        # The cursor is a few pixels wide: its colour is blurred, what is beneath it is not red at all.
        tolerance = 60 if wanted == (255, 0, 0) else 6
        assert all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True)), f"frame {number}"
    before, after = (pixel(reference_frame(number), x, y) for number in (frame - 1, frame))
    assert before != after


_DECODED: dict[Path, list[bytes]] = {}


def decoded_once(video: Path) -> list[bytes]:
    if video not in _DECODED:
        _DECODED[video] = decoded(video)
    return _DECODED[video]


def test_without_loss_every_frame_is_like_the_reference(lossless: Path) -> None:
    lowest, count = lowest_similarity(lossless, (reference_frame(number) for number in range(FRAMES)))
    assert count == FRAMES
    assert lowest >= 0.99


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_at_the_default_quality_every_frame_is_like_the_reference(
    container: str, recording: Path, tmp_path: Path
) -> None:
    video = rendered(recording, tmp_path, PROFILE | {"container": container, "video": {"framesPerSecond": RATE}})
    lowest, count = lowest_similarity(video, (reference_frame(number) for number in range(FRAMES)))
    assert count == FRAMES
    assert lowest >= 0.95
    assert difference_of_lengths(video) < 1 / RATE
    check_tone(video)


def test_sound_begins_and_ends_when_it_does_in_the_recording(lossless: Path) -> None:
    check_tone(lossless)
    assert difference_of_lengths(lossless) < 1 / RATE


def check_tone(video: Path) -> None:
    per_second = 20
    pieces = loudness(video, pieces_per_second=per_second)
    loud = [index for index, value in enumerate(pieces) if value > 0.01]
    # A piece of 50 ms at each border may be half loud.
    assert abs(loud[0] - TONE * per_second) <= 1
    assert abs(loud[-1] + 1 - TONE_END * per_second) <= 1
    assert len(loud) == loud[-1] - loud[0] + 1


def test_the_video_says_what_its_colours_are(lossless: Path) -> None:
    entries = ("color_space", "color_primaries", "color_transfer", "color_range")
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-of", "json", "-show_entries"]
    command += [f"stream={','.join(entries)}", str(lossless)]
    (stream,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["streams"]
    assert [stream.get(entry) for entry in entries] == ["bt709", "bt709", "bt709", "tv"]


def difference_of_lengths(video: Path) -> float:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "packet=pts_time,duration_time,stream_index"]
    packets = json.loads(subprocess.run([*command, str(video)], check=True, capture_output=True).stdout)["packets"]
    ends = {0: 0.0, 1: 0.0}
    for packet in packets:
        end = float(packet["pts_time"]) + float(packet.get("duration_time") or 0)
        ends[packet["stream_index"]] = max(ends[packet["stream_index"]], end)
    return abs(ends[0] - ends[1])


@pytest.mark.parametrize(
    ("webcam", "box", "cut"),
    [
        ({"sizePercent": 20}, (CAMERA, CAMERA_HEIGHT), False),
        ({"sizePercent": 40}, (2 * CAMERA, 2 * CAMERA_HEIGHT), False),
        ({"sizePercent": 20, "crop": True}, (CAMERA, CAMERA_CUT), True),
        ({"sizePercent": 20, "stretch": True}, (CAMERA, CAMERA_CUT), False),
        ({"sizePercent": 0}, (0, 0), False),
    ],
    ids=["a fifth", "two fifths", "cut", "stretched", "hidden"],
)
def test_webcams_have_their_size_at_the_upper_right(
    webcam: dict[str, Any], box: tuple[int, int], cut: bool, recording: Path, tmp_path: Path
) -> None:
    frame = decoded(rendered(recording, tmp_path, PROFILE | {"webcam": webcam}))[0]
    width, height = box
    if not width:
        # The slide has all of the height, and the middle of what is left of the width is free.
        assert is_like(pixel(frame, WIDTH - 8, 8), BACKDROP)
        assert is_like(pixel(frame, 8, 8), pixel(reference_frame(0), 8, 8))
        return
    upper, lower = webcam_colours(0)
    left = WIDTH - width
    assert is_like(pixel(frame, left + 4, 4), upper)
    assert is_like(pixel(frame, WIDTH - 5, height // 2 - 5), upper)
    assert is_like(pixel(frame, left + 4, height // 2 + 4), lower)
    assert is_like(pixel(frame, WIDTH - 5, height - 5), lower)
    assert is_like(pixel(frame, WIDTH - 5, height + 4), BACKDROP)
    assert not is_like(pixel(frame, left - 5, 4), upper)
    assert (height < width * 3 / 4) == (cut or "stretch" in webcam)
    assert left >= STAGE - CAMERA
