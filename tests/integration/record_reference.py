"""A recording of which every pixel is known, and its video composed by plain arithmetic, without the renderer.

All edges lie on whole, even pixels of the video, so that neither scaling nor the colours' lower resolution blurs them.
The video has 400 by 240 pixels and 10 frames a second: slides in the left 320, webcams of 80 by 60 at the upper right.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dev.recordings.pictures import corner_colours, png

Rgb = tuple[int, int, int]
RATE, SECONDS = 10, 5
FRAMES = RATE * SECONDS
WIDTH, HEIGHT, STAGE, CAMERA = 400, 240, 320, 80
CAMERA_HEIGHT = 60
SLIDE = (640, 480)
BACKDROP: Rgb = (16, 32, 64)
PROFILE: dict[str, Any] = {
    "width": WIDTH,
    "height": HEIGHT,
    "backdrop": "#102040",
    "webcam": {"sizePercent": 20},
    "video": {"framesPerSecond": RATE, "preset": "ultrafast", "crf": 0},
}
_PAPER: Rgb = (250, 250, 245)
_RED: Rgb = (255, 0, 0)
_SHARE_HEIGHT = 180
# Frames: [begin, end) of what is on the stage.
SLIDE_2, SHARE, SLIDE_2_AGAIN = 15, 25, 35
ZOOM, ZOOM_END = 40, 46
ZOOMED = (80, 60, 320, 240)
FILLED, FILLED_END = 3, 10
BAR, LONGER_BAR = 5, 8
# First frame, frame after the last, place in the video.
POINTERS = ((2, 9, 160.0, 180.0), (42, 46, 120.0, 150.0), (46, 48, 100.0, 105.0))
TONE, TONE_END = 1.0, 2.0
_POINTER_RADIUS = 3.0
_SAMPLES = 4


def write_reference(root: Path) -> None:
    """Write the recording; webcams and screen share are without loss."""
    (root / "presentation/p").mkdir(parents=True)
    for page in range(2):
        (root / f"presentation/p/slide-{page + 1}.png").write_bytes(png(page, *SLIDE))
    (root / "metadata.xml").write_text(
        "<recording><id>r</id><meeting id='r' externalId='m'/>"
        f"<playback><duration>{SECONDS * 1000}</duration></playback></recording>"
    )
    (root / "shapes.svg").write_text(_shapes())
    (root / "panzooms.xml").write_text(_panzooms())
    (root / "cursor.xml").write_text(_cursor())
    (root / "deskshare.xml").write_text(
        f'<recording><event start_timestamp="{SHARE / RATE}" stop_timestamp="{SLIDE_2_AGAIN / RATE}"/></recording>'
    )
    tone = f"sine=frequency=440:sample_rate=48000:duration={SECONDS},volume='between(t,{TONE},{TONE_END})':eval=frame"
    webcams = b"".join(_webcam(frame) for frame in range(FRAMES))
    lossless = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-c:a", "aac")
    _encode(root / "video/webcams.mp4", webcams, (CAMERA, CAMERA_HEIGHT, RATE), "-f", "lavfi", "-i", tone, *lossless)
    share = b"".join(bytes(share_colour(frame * 2)) * (STAGE * _SHARE_HEIGHT) for frame in range(FRAMES // 2))
    _encode(root / "deskshare/deskshare.mp4", share, (STAGE, _SHARE_HEIGHT, RATE // 2), *lossless[:6])


def _encode(target: Path, pictures: bytes, form: tuple[int, int, int], *arguments: str) -> None:
    target.parent.mkdir()
    width, height, rate = form
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:0")
    colour = ("-vf", "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p")
    command = ["ffmpeg", "-v", "error", "-y", *source, *arguments, *colour, str(target)]
    subprocess.run(command, input=pictures, check=True)


def _shapes() -> str:
    def slide(number: int, begin: int, end: int, href: str) -> str:
        return (
            f'<image id="image{number}" class="slide" in="{begin / RATE}" out="{end / RATE}" '
            f'xlink:href="presentation/{href}" width="{SLIDE[0]}" height="{SLIDE[1]}"/>'
        )

    def shape(name: str, begin: int, undo: float, path: str, style: str) -> str:
        return (
            f'<g id="image1-draw{begin}" class="shape" timestamp="{begin / RATE}" undo="{undo}" shape="image1-{name}" '
            f'style="visibility:hidden;{style}"><path d="{path}"/></g>'
        )

    filled = "M96 96 L224 96 L224 160 L96 160 Z"
    bar = "stroke:#0000ff;stroke-width:16;fill:none"
    drawn = (
        shape("rectangle1", FILLED, FILLED_END / RATE, filled, "fill:#00aa00;stroke:none")
        + shape("line1", BAR, -1, "M96 232 L288 232", bar)
        + shape("line1", LONGER_BAR, -1, "M96 232 L416 232", bar)
    )
    return (
        '<svg id="svgfile" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        + slide(1, 0, SLIDE_2, "p/slide-1.png")
        + f'<g class="canvas" id="canvas1" image="image1">{drawn}</g>'
        + slide(2, SLIDE_2, SHARE, "p/slide-2.png")
        + slide(3, SHARE, SLIDE_2_AGAIN, "deskshare.png")
        + slide(4, SLIDE_2_AGAIN, FRAMES, "p/slide-2.png")
        + "</svg>"
    )


def _panzooms() -> str:
    whole = f"0 0 {SLIDE[0]} {SLIDE[1]}"
    views = {0: whole, SLIDE_2: whole, SLIDE_2_AGAIN: whole, ZOOM: " ".join(map(str, ZOOMED)), ZOOM_END: whole}
    events = "".join(f'<event timestamp="{at / RATE}"><viewBox>{box}</viewBox></event>' for at, box in views.items())
    return f"<recording>{events}</recording>"


def _cursor() -> str:
    # Shares of the slide; at frame 46 the view becomes the whole slide again and the dot moves with the slide.
    moves = {0.2: "0.5 0.75", 0.9: "-1.0 -1.0", 4.2: "0.3125 0.4375", 4.8: "-1.0 -1.0"}
    events = "".join(f'<event timestamp="{at}"><cursor>{place}</cursor></event>' for at, place in moves.items())
    return f"<recording>{events}</recording>"


def webcam_colours(frame: int) -> tuple[Rgb, Rgb]:
    """Return the colours of the webcams' upper and lower half: others every half second."""
    step = frame // 5
    return (40 + step * 17, 90, 200 - step * 13), (200 - step * 11, 60 + step * 9, 80)


def share_colour(frame: int) -> Rgb:
    """Return the colour of the shared screen: another every second."""
    return (60, 120 + frame // RATE * 20, 180 - frame // RATE * 20)


def _webcam(frame: int) -> bytes:
    upper, lower = webcam_colours(frame)
    half = CAMERA * CAMERA_HEIGHT // 2
    return bytes(upper) * half + bytes(lower) * half


def reference_frame(frame: int) -> bytes:
    """Return a frame of the video as RGB."""
    upper, lower = webcam_colours(frame)
    stage = _stage(_stage_key(frame))
    rows = []
    for y in range(HEIGHT):
        side = BACKDROP if y >= CAMERA_HEIGHT else upper if y < CAMERA_HEIGHT // 2 else lower
        rows.append(stage[y * STAGE * 3 : (y + 1) * STAGE * 3] + bytes(side) * CAMERA)
    return b"".join(rows)


def _stage_key(frame: int) -> tuple[int | None, bool, bool, int, tuple[float, float] | None, Rgb | None]:
    """Return all that the stage depends on: page, filled, zoomed, length of the bar, cursor, shared screen."""
    place = next(((x, y) for begin, end, x, y in POINTERS if begin <= frame < end), None)
    if frame < SLIDE_2:
        bar = 0 if frame < BAR else 288 if frame < LONGER_BAR else 416
        return 0, FILLED <= frame < FILLED_END, False, bar, place, None
    if SHARE <= frame < SLIDE_2_AGAIN:
        return None, False, False, 0, None, share_colour(frame // 2 * 2)
    return 1, False, ZOOM <= frame < ZOOM_END, 0, place, None


@cache
def _stage(key: tuple[int | None, bool, bool, int, tuple[float, float] | None, Rgb | None]) -> bytes:
    page, is_filled, is_zoomed, bar, pointer, shared = key
    canvas = bytearray()
    for y in range(HEIGHT):
        for x in range(STAGE):
            canvas += bytes(_ground(x, y, page, shared, is_zoomed=is_zoomed))
    if is_filled:
        _cover(canvas, (0, 170, 0), lambda x, y: 48 <= x < 112 and 48 <= y < 80)
    if bar:
        # Round ends of half the line's width.
        _cover(canvas, (0, 0, 255), lambda x, y: _distance(x, y, (48, bar / 2), 116) <= 4)
    if pointer is not None:
        px, py = pointer
        _cover(canvas, _RED, lambda x, y: (x - px) ** 2 + (y - py) ** 2 <= _POINTER_RADIUS**2)
    return bytes(canvas)


def _ground(x: int, y: int, page: int | None, shared: Rgb | None, *, is_zoomed: bool) -> Rgb:
    if shared is not None:
        return shared if y < _SHARE_HEIGHT else BACKDROP
    if page is None:
        return BACKDROP
    left, top, width, _ = ZOOMED if is_zoomed else (0, 0, *SLIDE)
    slide_x, slide_y = left + x * width / STAGE, top + y * width / STAGE
    in_left, in_right = slide_x < SLIDE[0] / 8, slide_x >= SLIDE[0] * 7 / 8
    in_top, in_bottom = slide_y < SLIDE[1] / 8, slide_y >= SLIDE[1] * 7 / 8
    if not (in_left or in_right) or not (in_top or in_bottom):
        return _PAPER
    return corner_colours(page)[2 * in_bottom + in_right]


def _distance(x: float, y: float, span: tuple[float, float], line: float) -> float:
    near = min(max(x, span[0]), span[1])
    return float(((x - near) ** 2 + (y - line) ** 2) ** 0.5)


def _cover(canvas: bytearray, colour: Rgb, holds: Callable[[float, float], bool]) -> None:
    """Paint where a figure is; pixels on its edge by the share that it covers."""
    offsets = [(index + 0.5) / _SAMPLES for index in range(_SAMPLES)]
    for y in range(HEIGHT):
        for x in range(STAGE):
            corners = [holds(x + dx, y + dy) for dx in (0.0, 1.0) for dy in (0.0, 1.0)]
            if not any(corners):
                continue
            share = 1.0
            if not all(corners):
                share = sum(holds(x + dx, y + dy) for dx in offsets for dy in offsets) / _SAMPLES**2
            at = (y * STAGE + x) * 3
            for part in range(3):
                canvas[at + part] = round(canvas[at + part] * (1 - share) + colour[part] * share)


def lowest_similarity(video: Path, frames: Iterator[bytes]) -> tuple[float, int]:
    """Return the lowest SSIM of a video's frames against these, and how many were compared.

    All three planes together, as FFmpeg's filter ``ssim`` weighs them.
    """
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "pipe:0"]
    graph = "[0:v]scale=out_color_matrix=bt709:out_range=tv,format=yuv420p[r];[1:v]format=yuv420p[v];[v][r]ssim=f=-"
    command = ["ffmpeg", "-v", "error", *source, "-i", str(video), "-filter_complex", graph, "-f", "null", "/dev/null"]
    done = subprocess.run(command, input=b"".join(frames), check=True, capture_output=True)
    found = [float(value) for value in re.findall(rb" All:([\d.]+|inf)", done.stdout)]
    return min(found), len(found)


def decoded(video: Path) -> list[bytes]:
    """Return a video's frames as RGB."""
    chain = "scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int,format=rgb24"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(video), "-vf", chain, "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    size = WIDTH * HEIGHT * 3
    return [data[start : start + size] for start in range(0, len(data), size)]


def loudness(video: Path, *, pieces_per_second: int) -> list[float]:
    """Return the mean magnitude of the sound, 0 to 1, of each piece of a video."""
    rate = 8_000
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(video), "-ac", "1", "-ar", str(rate), "-f", "s16le", "-"]
    samples = memoryview(subprocess.run(command, check=True, capture_output=True).stdout).cast("h")
    step = rate // pieces_per_second
    return [
        sum(abs(value) for value in samples[start : start + step]) / step / 32_768
        for start in range(0, len(samples) - step + 1, step)
    ]
