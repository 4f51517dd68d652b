"""The stage is drawn as the plan says, pixel by pixel."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from b3lb.recordings.metadata import RecordingMetadata
from b3lb_jobs.record import fonts
from b3lb_jobs.record.documents import Cursor, PanZoom, PanZooms
from b3lb_jobs.record.drawings import BLACK, Colour, Drawing, Font, Outline, Picture, ShapeVersion, TextBlock
from b3lb_jobs.record.failures import RecordWarning, WarningCode, WarningLog
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.paths import polygon
from b3lb_jobs.record.plan import make_plan
from b3lb_jobs.record.recording import Recording
from b3lb_jobs.record.slides import Slide
from dev.debian import debian_program
from dev.recordings.pictures import corner_colours, png

pytest.importorskip("cairocffi")

RED = Colour(255, 0, 0)
HREF = "presentation/a/slide-1.png"
PROFILE = parse_profile({"width": 320, "height": 240, "backdrop": "#0000ff", "video": {"framesPerSecond": 10}})


class Shown:
    """One picture: its first frame and its pixels."""

    def __init__(self, frame: int, pixels: memoryview) -> None:
        self.frame, self.data = frame, bytes(pixels)

    def at(self, x: int, y: int) -> tuple[int, ...]:
        place = (y * 320 + x) * 4
        return tuple(self.data[place : place + 3][::-1])

    def is_like(self, x: int, y: int, colour: tuple[int, ...]) -> bool:
        return all(abs(a - b) <= 3 for a, b in zip(self.at(x, y), colour, strict=True))


def drawn(
    folder: Path, *shapes: ShapeVersion, zooms: tuple[PanZoom, ...] = (), picture: bytes | None = None, **fields: Any
) -> tuple[list[Shown], list[RecordWarning]]:
    from b3lb_jobs.record.raster import Rasteriser  # noqa: PLC0415 - cairo is not everywhere

    path = folder / HREF
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(1, 160, 120) if picture is None else picture)
    slide = Slide(1, 1, 10, HREF, 160, 120, shapes)
    values: dict[str, Any] = {"slides": (slide,), "pictures": frozenset({HREF})}
    recording = Recording(
        RecordingMetadata(record_id="r", meeting_id="m", duration_milliseconds=10_000),
        panzooms=PanZooms(zooms),
        cursor=Cursor(),
        **(values | fields),
    )
    plan = make_plan(recording, PROFILE)
    log = WarningLog()
    rasteriser = Rasteriser(plan, folder, log)
    return [Shown(frame, pixels) for frame, pixels in rasteriser.pictures()], list(log)


def line(y: float, width: float = 10.0, colour: Colour = RED) -> Drawing:
    return (Outline(polygon([(20, y), (140, y)], closed=False), colour, width),)


def test_slides_fill_the_stage_and_the_backdrop_is_seen_before_the_first(tmp_path: Path) -> None:
    (empty, slide), warnings = drawn(tmp_path)
    assert (empty.frame, slide.frame) == (0, 10)
    assert empty.at(5, 5) == (0, 0, 255)
    for place, colour in zip([(5, 5), (314, 5), (5, 234), (314, 234)], corner_colours(1), strict=True):
        assert slide.is_like(*place, colour)
    assert slide.is_like(160, 120, (250, 250, 245))
    assert not warnings


def test_a_view_shows_its_part_of_the_slide_and_shapes_stay_sharp(tmp_path: Path) -> None:
    shown, _ = drawn(tmp_path, ShapeVersion("s", 0, None, line(60)), zooms=(PanZoom(5, 80, 60, 80, 60),))
    zoomed = shown[-1]
    assert zoomed.frame == 50
    assert zoomed.is_like(314, 234, corner_colours(1)[3])
    # Five of the line's ten pixels are in the view, each four times as large.
    assert zoomed.is_like(100, 17, RED[:3])
    assert zoomed.is_like(100, 23, (250, 250, 245))


def test_shapes_appear_and_vanish_and_the_later_lies_on_top(tmp_path: Path) -> None:
    shown, _ = drawn(
        tmp_path,
        ShapeVersion("a", 2, None, line(60)),
        ShapeVersion("b", 3, 5, line(60, colour=BLACK)),
    )
    assert [(one.frame, one.at(160, 120)) for one in shown[1:]] == [
        (10, (250, 250, 245)),
        (20, (255, 0, 0)),
        (30, (0, 0, 0)),
        (50, (255, 0, 0)),
    ]


def test_a_shape_without_line_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    box = Outline(polygon([(60, 50), (100, 50), (100, 70), (60, 70)]), fill=Colour(0, 255, 0))
    shown, _ = drawn(tmp_path, ShapeVersion("a", 2, None, (box, *line(100))))
    assert shown[-1].is_like(120, 100, (0, 255, 0))
    assert shown[-1].is_like(122, 120, (0, 255, 0))


def test_texts_are_drawn_within_their_box(tmp_path: Path) -> None:
    text = TextBlock("MMMM MMMM", 40, 40, 50, 40, 16, BLACK)
    shown, _ = drawn(tmp_path, ShapeVersion("t", 2, None, (text,)))
    dark = [(x, y) for x in range(320) for y in range(240) if sum(shown[-1].at(x, y)) < 60 and 50 < y < 190]
    assert min(x for x, _ in dark) >= 80
    assert max(x for x, _ in dark) <= 182
    # Two lines, for the box is too narrow for one.
    assert {y // 38 for _, y in dark} >= {2, 3}


def test_a_character_that_no_font_has_is_a_warning_and_one_of_another_font_is_drawn(tmp_path: Path) -> None:
    text = TextBlock("M\ue123\u200b\u0007M", 40, 40, 0, 40, 16, BLACK)
    _, warnings = drawn(tmp_path, ShapeVersion("t", 2, None, (text,)), ShapeVersion("u", 3, None, (text,)))
    (warning,) = warnings
    assert (warning.code, warning.count) == (WarningCode.FONT_SUBSTITUTED, 1)
    assert warning.details == ("no font has U+E123",)


def test_pieces_of_a_text_are_drawn_with_fonts_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(letter: str) -> str | None:
        return "Liberation Mono" if letter == "A" else None

    fonts.family_of.cache_clear()
    monkeypatch.setattr(fonts, "_asked", asked)
    monkeypatch.setattr(fonts, "_other_families", {})
    monkeypatch.setattr(fonts, "_has", lambda family, letter: letter == "a" or (letter, family[-4:]) == ("A", "Mono"))
    try:
        assert list(fonts.runs("aaAAa\ue123", Font.SANS)) == [
            ("Liberation Sans", "aa"),
            ("Liberation Mono", "AA"),
            ("Liberation Sans", "a\ue123"),
        ]
        assert fonts.missing("aA\ue123", Font.SANS) == {"\ue123"}
    finally:
        fonts.family_of.cache_clear()


def test_a_jpeg_is_drawn_whatever_its_name_says(tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "color=c=0x2060a0:s=160x120", "-frames:v", "1", "-pix_fmt", "yuvj420p"]
    jpeg = subprocess.run(
        [debian_program("ffmpeg", "ffmpeg"), "-v", "error", *source, "-f", "mjpeg", "-"],
        check=True,
        capture_output=True,
    ).stdout
    shown, warnings = drawn(tmp_path, picture=jpeg)
    assert not warnings
    assert all(abs(a - b) <= 3 for a, b in zip(shown[-1].at(160, 120), (0x20, 0x60, 0xA0), strict=True))
    # Its size stands behind the mark of the frame: one that lies is not decoded.
    at = jpeg.index(b"\xff\xc0") + 5
    shown, warnings = drawn(tmp_path, picture=jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :])
    assert [warning.code for warning in warnings] == [WarningCode.SLIDE_MISSING]


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        b"no PNG" * 10,
        png(1, 160, 120)[:60],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x02\0\0\0" + zlib.compress(bytes(100)),
    ],
)
def test_a_picture_that_is_broken_or_too_large_is_a_white_slide_and_a_warning(picture: bytes, tmp_path: Path) -> None:
    shown, warnings = drawn(tmp_path, picture=picture)
    assert shown[-1].at(5, 5) == (255, 255, 255)
    assert [warning.code for warning in warnings] == [WarningCode.SLIDE_MISSING]


def test_a_missing_picture_of_a_poll_leaves_the_rest(tmp_path: Path) -> None:
    poll = Picture("presentation/a/poll_result1.svg", 10, 10, 50, 50)
    shown, warnings = drawn(tmp_path, ShapeVersion("p", 2, None, (poll, *line(60))))
    assert shown[-1].at(160, 120) == (255, 0, 0)
    assert [warning.code for warning in warnings] == [WarningCode.SLIDE_MISSING]


def test_numbers_beyond_all_measure_break_nothing(tmp_path: Path) -> None:
    wild = Outline(polygon([(-1e7, -1e7), (1e7, 1e7), (9e6, -9e6)]), RED, 1e7, RED, (1e-9, 1e7))
    text = TextBlock("x" * 3_000, -1e7, 1e7, 0.001, 1e7, 1e7, RED, rotation=1e6)
    drawn(tmp_path, ShapeVersion("w", 2, None, (wild, text)), ShapeVersion("n", 3, None, line(60)))


def test_words_are_wrapped_and_too_long_ones_broken() -> None:
    from b3lb_jobs.record.text import wrap  # noqa: PLC0415 - cairo is not everywhere

    assert wrap("aa bb cc\ndd", 5, len) == ["aa bb", "cc", "dd"]
    assert wrap("a abcdefgh b", 3, len) == ["a", "abc", "def", "gh", "b"]
    assert wrap("abc", 0.5, len) == ["a", "b", "c"]
    assert wrap("long text", 0, len) == ["long text"]
    assert len(wrap("x " * 2_000, 1, len)) == 500
