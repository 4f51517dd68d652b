"""Numbers, colours and paths of recordings are read so that nothing odd gets any further."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_jobs.record.drawings import BLACK, Colour, Command, Matrix, Outline, TextBlock, parse_colour, transformed
from b3lb_jobs.record.paths import PathError, arc_through, ellipse, parse_path, polygon, smooth
from b3lb_jobs.record.tldraw.figures import FIGURES, arrowhead
from b3lb_jobs.record.values import LARGEST, number, numbers, picture_path


def points(path: tuple[Command, ...]) -> list[tuple[float, float]]:
    return [(step.points[i], step.points[i + 1]) for step in path for i in range(0, len(step.points), 2)]


def on_curve(path: tuple[Command, ...], share: float = 0.5) -> list[tuple[float, float]]:
    """Return a point of each cubic piece."""
    found, last = [], (0.0, 0.0)
    for step in path:
        if step.name == "C":
            a, b, c, d = last, step.points[0:2], step.points[2:4], step.points[4:6]
            r = 1 - share
            weights = (r**3, 3 * r * r * share, 3 * r * share * share, share**3)
            found.append(
                (
                    sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                    sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
                )
            )
        if step.points:
            last = (step.points[-2], step.points[-1])
    return found


@pytest.mark.parametrize(
    "value",
    [
        "nan",
        "inf",
        "-inf",
        "1e9",
        "0x10",
        "1_000",
        "",
        " ",
        "1 2",
        "٣",
        None,
        True,
        [],
        {},
        float("nan"),
        math.inf,
        "1" * 90,
    ],
)
def test_what_is_no_finite_number_of_bearable_size_is_none(value: object) -> None:
    assert number(value) is None


def test_numbers_are_read_as_bbb_writes_them() -> None:
    assert [number(text) for text in ("1", "-0.5", "+2.", ".5", "1e3", " 7 ")] == [1, -0.5, 2, 0.5, 1000, 7]
    assert numbers("1, 2 3", 3) == (1, 2, 3)
    assert [numbers(text, 3) for text in ("1 2", "1 2 x")] == [None] * 2


@given(st.one_of(st.text(max_size=70), st.floats(), st.integers(), st.from_regex(r"[-+0-9.eE]{1,20}", fullmatch=True)))
def test_a_number_is_finite_whatever_was_written(value: object) -> None:
    found = number(value)
    assert found is None or abs(found) <= LARGEST


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd",
        "presentation/../x.png",
        "http://a/b.png",
        "presentation//x.png",
        "presentation/%2e%2e/x",
        "presentation/a\0b",
        "",
    ],
)
def test_pictures_outside_of_the_recording_are_never_opened(text: str) -> None:
    assert picture_path(text) is None


def test_pictures_are_named_by_their_path_in_the_recording() -> None:
    assert picture_path("presentation/abc-1/slide-1.png") == "presentation/abc-1/slide-1.png"
    assert picture_path("./presentation/abc-1/svgs/slide1.svg?x=1") == "presentation/abc-1/svgs/slide1.svg"


def test_colours_are_read_as_css_writes_them() -> None:
    assert parse_colour("#FF8000") == parse_colour(" rgb(255, 128, 0) ") == Colour(255, 128, 0)
    assert parse_colour("#f80") == Colour(255, 136, 0)
    assert [parse_colour(text) for text in ("none", "url(#x)", "")] == [None] * 3


def test_absolute_commands_become_moves_lines_and_cubic_curves() -> None:
    path = parse_path("M10 20 L30,40 50 60 H0 V5 Q0 0 6 6 C1 2 3 4 5 6Z")
    assert [step.name for step in path] == ["M", "L", "L", "L", "L", "C", "C", "Z"]
    assert [step.points[-2:] for step in path[3:6]] == [(0, 60), (0, 5), (6, 6)]


def test_pairs_after_a_move_are_lines() -> None:
    assert parse_path("M1 1 2 2") == (Command("M", (1, 1)), Command("L", (2, 2)))


@pytest.mark.parametrize(
    "text", ["L1 1", "M1", "M1 1 l2 2", "M1 1 L2", "M1 1 X", "M nan 1", "1 1", "M1e9 1", "M1 1 Z 3 3"]
)
def test_anything_else_is_no_path(text: str) -> None:
    with pytest.raises(PathError):
        parse_path(text)


def test_arcs_lie_on_their_circle() -> None:
    path = parse_path("M0 0 A50 50 0 0 1 100 0 A50 50 0 0 1 0 0 Z")
    for x, y in on_curve(path):
        assert math.hypot(x - 50, y) == pytest.approx(50, abs=0.02)
    # With the sweep flag the way from left to right leads over the top.
    assert min(y for _, y in on_curve(path[:3])) < -30


def test_arcs_that_are_too_small_grow_and_flat_ones_are_lines() -> None:
    assert parse_path("M0 0 A1 1 0 0 1 100 0")[-1].points[-2:] == pytest.approx((100, 0))
    assert parse_path("M0 0 A0 1 0 0 1 100 0")[-1].name == "L"


@given(st.text(alphabet="MLQCAZHV0123456789.,- e", max_size=60))
def test_any_path_is_read_or_refused_and_its_points_are_finite(text: str) -> None:
    try:
        path = parse_path(text)
    except PathError:
        return
    assert all(math.isfinite(x) and math.isfinite(y) for x, y in points(path))


@pytest.mark.parametrize("bend", [40.0, -40.0, 70.0, -70.0])
def test_an_arc_through_a_bend_has_its_middle_there_and_its_directions(bend: float) -> None:
    path, leaving, arriving = arc_through((0, 0), (100, 0), bend)
    highest = max((y for share in (0.0, 0.25, 0.5, 0.75, 1.0) for _, y in on_curve(path, share)), key=abs)
    assert highest == pytest.approx(bend, rel=0.03)
    assert path[-1].points[-2:] == pytest.approx((100, 0))
    assert math.copysign(1, math.sin(leaving)) == math.copysign(1, bend)
    assert math.sin(arriving) == pytest.approx(-math.sin(leaving))


def test_an_arc_without_bend_is_a_line() -> None:
    assert arc_through((0, 0), (0, 9), 0)[0] == polygon([(0, 0), (0, 9)], closed=False)


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("size", [(200.0, 120.0), (80.0, 160.0), (100.0, 100.0)])
def test_figures_fill_their_box(name: str, size: tuple[float, float]) -> None:
    path = FIGURES[name](*size)
    assert path[0].name == "M"
    seen = [step.points[-2:] for step in path if step.points] + on_curve(path) + on_curve(path, 0.25)
    for axis in (0, 1):
        low, high = min(p[axis] for p in seen), max(p[axis] for p in seen)
        slack = 0.12 * size[axis] if name == "cloud" else 0.51
        assert low == pytest.approx(0, abs=slack)
        assert high == pytest.approx(size[axis], abs=slack)


@pytest.mark.parametrize("kind", ["arrow", "triangle", "dot", "bar", "diamond", "inverted"])
def test_heads_are_drawn_behind_the_tip(kind: str) -> None:
    head = arrowhead(kind, (100.0, 50.0), 0.0, length=10, colour=BLACK, width=2)
    assert head is not None
    assert all(x <= 100.01 for x, _ in points(head.path))
    assert arrowhead("none", (0, 0), 0, length=10, colour=BLACK, width=2) is None


def test_a_pencil_with_few_points_is_a_dot_or_a_line() -> None:
    assert smooth([(1, 1)]) == (Command("M", (1, 1)), Command("L", (1, 1)))
    assert smooth([(1, 1), (2, 2)])[-1].points == (2, 2)
    assert smooth([(1, 1), (2, 2), (3, 1)])[-1].points == (3, 1)
    assert smooth([]) == ()


def test_drawings_move_turn_and_grow_as_a_whole() -> None:
    matrix = Matrix.moved(10, 20).after(Matrix.turned(math.pi / 2)).after(Matrix.scaled(2))
    outline, text = transformed(
        (Outline(polygon([(0, 0), (3, 0)], closed=False), BLACK, 2, dash=(1, 2)), TextBlock("x", 3, 0, 5, 6, 7)), matrix
    )
    assert isinstance(outline, Outline)
    assert outline.path[1].points == pytest.approx((10, 26))
    assert (outline.width, outline.dash) == (4.0, (2.0, 4.0))
    assert isinstance(text, TextBlock)
    assert (text.x, text.y, text.width, text.size) == pytest.approx((10, 26, 10, 14))
    assert text.rotation == pytest.approx(math.pi / 2)


def test_turning_around_a_point_leaves_it_where_it_is() -> None:
    assert Matrix.turned(1.0, around=(7, 8)).apply(7, 8) == pytest.approx((7, 8))
    assert ellipse(5, 5, 2, 3)[0].points == (7, 5)
