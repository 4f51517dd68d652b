"""shapes.svg tells which slide is shown when, and what is drawn on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from b3lb_jobs.record.drawings import Colour, Outline, Picture, TextBlock
from b3lb_jobs.record.failures import WarningCode, WarningLog
from b3lb_jobs.record.legacy_shapes import parse_style
from b3lb_jobs.record.slides import Slide, read_slides


def read(folder: Path, content: str) -> tuple[tuple[Slide, ...], dict[WarningCode, int]]:
    path = folder / "shapes.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">' + content + "</svg>"
    )
    log = WarningLog()
    return read_slides(path, log), {warning.code: warning.count for warning in log}


def image(number: int, begin: object, end: object, href: str = "presentation/a/slide-1.png", size: object = 100) -> str:
    return f'<image id="image{number}" in="{begin}" out="{end}" xlink:href="{href}" width="{size}" height="{size}"/>'


def shape(content: str, style: str = "stroke:#ff0000;stroke-width:4", times: str = 'timestamp="1" undo="-1"') -> str:
    return (
        f'{image(1, 0, 9)}<g class="canvas" id="canvas1" image="image1">'
        f'<g id="image1-draw1" class="shape" shape="image1-x" {times} style="{style}">{content}</g></g>'
    )


def test_slides_are_sorted_and_those_that_take_no_time_skipped(tmp_path: Path) -> None:
    slides, warnings = read(tmp_path, image(2, 5, 9) + image(1, 0, 5) + image(3, 7, 7) + image(4, 9, 8))
    assert [(slide.number, slide.begin, slide.end) for slide in slides] == [(1, 0, 5), (2, 5, 9)]
    assert not warnings


def test_a_slide_without_numbers_is_counted_and_a_picture_from_elsewhere_is_none(tmp_path: Path) -> None:
    slides, warnings = read(
        tmp_path, image(1, "x", 5) + image(2, 0, 5, "http://127.0.0.1:1/x.png") + image(3, 0, 5, size=0)
    )
    assert [(slide.number, slide.href) for slide in slides] == [(2, None)]
    assert warnings == {WarningCode.SLIDE_MISSING: 2}


def test_the_placeholder_of_the_screen_share_is_known(tmp_path: Path) -> None:
    slides, _ = read(tmp_path, image(1, 0, 5, "presentation/deskshare.png"))
    assert slides[0].is_screen_share


@pytest.mark.parametrize(
    ("content", "steps"),
    [
        ('<path d="M1 1 L2 2 Z"/>', "MLZ"),
        ('<line x1="1" y1="1" x2="2" y2="2"/>', "ML"),
        ('<circle cx="5" cy="5" r="2"/>', "MCCCCZ"),
        ('<ellipse cx="5" cy="5" rx="2" ry="1"/>', "MCCCCZ"),
        ('<rect x="1" y="1" width="5" height="5"/>', "MLLLZ"),
        ('<polyline points="1,1 2,2 3,1"/>', "MLL"),
        ('<polygon points="1,1 2,2 3,1"/>', "MLLZ"),
    ],
)
def test_each_kind_of_shape_is_an_outline_in_its_colour(content: str, steps: str, tmp_path: Path) -> None:
    slides, warnings = read(tmp_path, shape(content))
    (version,) = slides[0].shapes
    (outline,) = version.drawing
    assert isinstance(outline, Outline)
    assert "".join(step.name for step in outline.path) == steps
    assert (outline.stroke, outline.width, outline.fill) == (Colour(255, 0, 0), 4.0, None)
    assert (version.shape, version.begin, version.end) == ("image1-x", 1.0, None)
    assert not warnings


def test_text_keeps_its_lines_its_box_and_its_colour(tmp_path: Path) -> None:
    text = (
        '<switch><foreignObject x="10" y="20" width="30" height="40"><p xmlns="http://www.w3.org/1999/xhtml">'
        "a &lt; b<br/>second</p></foreignObject></switch>"
    )
    # A server that forgets a semicolon is understood.
    slides, _ = read(tmp_path, shape(text, "color:#0088ffstroke-width:5px;font-size:18px"))
    (block,) = slides[0].shapes[0].drawing
    assert block == TextBlock("a < b\nsecond", 10, 20, 30, 40, 18, Colour(0, 136, 255))


def test_a_poll_is_a_picture_of_the_recording(tmp_path: Path) -> None:
    poll = '<image xlink:href="presentation/a/poll_result1.svg" x="1" y="2" width="3" height="4"/>'
    slides, _ = read(tmp_path, shape("<rect x='1' y='2' width='3' height='4'/>" + poll))
    assert slides[0].shapes[0].drawing[1] == Picture("presentation/a/poll_result1.svg", 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("content", "times"),
    [
        ("", 'timestamp="1" undo="-1"'),
        ("<script/>", 'timestamp="1" undo="-1"'),
        ('<path d="m1 1"/>', 'timestamp="1" undo="-1"'),
        ('<path d=""/>', 'timestamp="1" undo="-1"'),
        ('<circle cx="nan" cy="1" r="1"/>', 'timestamp="1" undo="-1"'),
        ('<polyline points="1 2 3"/>', 'timestamp="1" undo="-1"'),
        ('<image xlink:href="file:///etc/passwd" x="1" y="1" width="1" height="1"/>', 'timestamp="1" undo="-1"'),
        ("<switch/>", 'timestamp="1" undo="-1"'),
        (
            '<switch><foreignObject x="1" y="1" width="0" height="0"><p> </p></foreignObject></switch>',
            'timestamp="1" undo="-1"',
        ),
        ('<line x1="1" y1="1" x2="2" y2="2"/>', 'timestamp="x" undo="-1"'),
    ],
)
def test_a_shape_that_cannot_be_drawn_is_counted(content: str, times: str, tmp_path: Path) -> None:
    slides, warnings = read(tmp_path, shape(content, times=times))
    assert slides[0].shapes == ()
    assert warnings == {WarningCode.SHAPE_SKIPPED: 1}


def test_shapes_are_counted_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b3lb_jobs.record.slides.MAXIMUM_SHAPES", 3)
    one = '<g shape="s" timestamp="0" undo="-1"><circle cx="1" cy="1" r="1"/></g>'
    slides, warnings = read(tmp_path, image(1, 0, 9) + '<g class="canvas" image="image1">' + one * 5 + "</g>")
    assert len(slides[0].shapes) == 3
    assert warnings == {WarningCode.SHAPE_SKIPPED: 2}


def test_styles_are_read_in_spite_of_junk() -> None:
    assert parse_style("stroke:#fff; stroke-width:3;visibility:hidden;unknown:1") == {
        "stroke": "#fff",
        "stroke-width": "3",
        "visibility": "hidden",
    }
    assert parse_style("") == parse_style("nothing here") == {}
