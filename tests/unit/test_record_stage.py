"""The stage shows at each frame what a player would show at that time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3lb_jobs.record.documents import Cursor, CursorMove, PanZoom
from b3lb_jobs.record.drawings import BLACK, Drawing, Outline, ShapeVersion
from b3lb_jobs.record.pointer import PointerSpan, pointer_spans
from b3lb_jobs.record.slides import Slide
from b3lb_jobs.record.stage import Stage, View, newest_visible, segments, stage, view_of

RATE = 10


def slide(
    begin: float, end: float, number: int = 1, shapes: tuple[ShapeVersion, ...] = (), href: str = "presentation/a/1.png"
) -> Slide:
    return Slide(number, begin, end, href, 400, 300, shapes)


def version(shape: str, begin: float, end: float | None, mark: float) -> ShapeVersion:
    return ShapeVersion(shape, begin, end, (Outline((), BLACK, mark),))


def mark(drawing: Drawing) -> float:
    assert isinstance(drawing[0], Outline)
    return drawing[0].width


def frames_of(found: Stage, frames: int) -> list[tuple[int | None, tuple[float, ...]]]:
    """Return slide and marks of the visible drawings for every frame."""
    shown: list[tuple[int | None, tuple[float, ...]]] = []
    seen: set[int] = set()
    states = {state.frame: state for state in found.states}
    current: int | None = None
    for frame in range(frames):
        if frame in states:
            state = states[frame]
            assert seen.issuperset(state.vanish)
            seen = (seen - set(state.vanish)) | set(state.appear)
            current = state.slide
        shown.append((current, tuple(mark(found.drawings[index]) for index in sorted(seen))))
    return shown


def test_each_slide_stays_until_the_next_one_and_the_last_until_the_end() -> None:
    parts = segments([slide(1, 2), slide(3, 4), slide(4, 5, href="presentation/deskshare.png")], 80, RATE)
    assert [(part.begin, part.end, part.slide is not None) for part in parts] == [
        (0, 10, False),
        (10, 30, True),
        (30, 40, True),
        (40, 80, False),
    ]


def test_slides_beyond_the_end_are_never_shown() -> None:
    assert [(part.begin, part.end) for part in segments([slide(0, 2), slide(9, 12)], 50, RATE)] == [(0, 50)]


def test_without_slides_the_stage_is_empty() -> None:
    (state,) = stage(segments([], 50, RATE), [], RATE).states
    assert (state.frame, state.slide, state.view) == (0, None, None)


def test_a_version_hides_the_older_one_and_undo_hides_the_shape() -> None:
    shapes = (version("a", 1, 3, 1), version("a", 2, 3, 2), version("b", 0, None, 3))
    found = frames_of(stage(segments([slide(0, 5, shapes=shapes)], 50, RATE), [], RATE), 50)
    # The first shape of the document is drawn first.
    assert [found[frame][1] for frame in (0, 10, 20, 29, 30, 49)] == [(3,), (1, 3), (2, 3), (2, 3), (3,), (3,)]


def test_shapes_are_hidden_when_they_are_not_wanted() -> None:
    parts = segments([slide(0, 5, shapes=(version("a", 0, None, 1),))], 50, RATE)
    assert stage(parts, [], RATE, annotations=False).drawings == ()


def test_a_shape_that_is_undone_before_it_is_seen_is_not_drawn_at_all() -> None:
    shapes = (version("a", 3, 2, 1), version("b", 0, 1, 1), version("c", 2.5, 2.5, 1))
    assert stage(segments([slide(2, 5, shapes=shapes)], 50, RATE), [], RATE).drawings == ()


_TIMES = st.integers(0, 60).map(lambda tenth: tenth / 10)
_VERSIONS = st.lists(st.tuples(st.sampled_from("abc"), _TIMES, st.one_of(st.none(), _TIMES)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_TIMES, _VERSIONS), min_size=1, max_size=3))
def test_every_frame_shows_the_newest_visible_version_of_every_shape(
    drawn: list[tuple[float, list[tuple[str, float, float | None]]]],
) -> None:
    marks = iter(range(1_000))
    slides = [
        slide(begin, begin + 1, shapes=tuple(version(*fields, next(marks)) for fields in versions))
        for begin, versions in sorted(drawn, key=lambda one: one[0])
    ]
    parts = segments(slides, 60, RATE)
    found = frames_of(stage(parts, [], RATE), 60)
    for frame in range(60):
        (index,) = [index for index, part in enumerate(parts) if part.begin <= frame < part.end]
        shown = parts[index].slide
        newest: dict[str, ShapeVersion] = {}
        for one in shown.shapes if shown else ():
            if round(one.begin * 10) <= frame and (one.end is None or frame < round(one.end * 10)):
                older = newest.get(one.shape)
                if older is None or one.begin >= older.begin:
                    newest[one.shape] = one
        slide_index, marks_seen = found[frame]
        assert slide_index == (None if shown is None else index)
        assert sorted(marks_seen) == sorted(mark(one.drawing) for one in newest.values())


def test_the_newest_version_gives_way_when_it_is_undone() -> None:
    assert list(newest_visible([(0, 10), (2, 5)])) == [(0, 0, 2), (1, 2, 5), (0, 5, 10)]
    assert list(newest_visible([])) == []


@pytest.mark.parametrize(
    ("event", "view"),
    [
        ((0, 10, 20, 100, 75), View(10, 20, 100, 75)),
        ((0, 0, 0, 0, 300), View(0, 0, 400, 300)),
        ((0, 0, 0, -5, 300), View(0, 0, 400, 300)),
        ((0, 5, 5, 1600, 1200), View(0, 0, 400, 300)),
        ((0, 5, 5, 0.01, 0.01), View(5, 5, 4, 3)),
        ((0, 1e6, -1e6, 40, 30), View(400, -300, 40, 30)),
    ],
)
def test_views_that_make_no_sense_show_the_whole_slide(event: tuple[float, ...], view: View) -> None:
    assert view_of(PanZoom(*event), slide(0, 1), None) == view


def test_a_camera_looks_the_other_way_and_in_units_of_the_page() -> None:
    assert view_of(PanZoom(0, -36, -18, 100, 75), slide(0, 1), lambda _slide: 3.6) == View(10, 5, 100, 75)


def test_zooms_count_for_their_slide_only() -> None:
    zooms = [PanZoom(0.95, 1, 1, 40, 30), PanZoom(2, 2, 2, 40, 30), PanZoom(2, 3, 3, 40, 30)]
    found = stage(segments([slide(0, 1), slide(1, 4), slide(4, 5)], 50, RATE), zooms, RATE)
    # One that comes a tenth of a second early is meant for the slide that follows; of two at once the last one counts.
    assert [(state.frame, state.view.x if state.view else None) for state in found.states] == [
        (0, 0),
        (10, 1),
        (20, 3),
        (40, 0),
    ]


def test_states_are_never_more_than_frames() -> None:
    shapes = tuple(version(f"s{index}", index / 1000, None, 1) for index in range(5_000))
    found = stage(segments([slide(0, 5, shapes=shapes)], 50, RATE), [], RATE)
    assert len(found.states) == 50
    assert len(found.drawings) == 4_901


def spans(
    moves: list[CursorMove], zooms: list[PanZoom], *, hidden: list[tuple[int, int]] | None = None, tldraw: bool = False
) -> list[PointerSpan]:
    parts = segments([slide(0, 5), slide(5, 6, href="presentation/deskshare.png")], 60, RATE)
    return pointer_spans(
        Cursor(tuple(moves), tldraw),
        states=stage(parts, zooms, RATE).states,
        parts=parts,
        frames=60,
        rate=RATE,
        stage=(800, 600),
        camera=lambda _slide: 3.6,
        hidden=hidden or [],
    )


def test_the_cursor_stays_on_its_place_of_the_slide_whatever_the_view() -> None:
    found = spans([CursorMove(1, (0.5, 0.5))], [PanZoom(2, 100, 75, 200, 150), PanZoom(3, 300, 0, 100, 75)])
    # Half of the slide; in the middle of the view as well; out of sight; and nowhere on the shared screen.
    assert found == [PointerSpan(10, 30, 400, 300)]


def test_the_cursor_is_hidden_when_it_says_so_and_on_the_shared_screen() -> None:
    found = spans([CursorMove(0, (0.5, 0.5)), CursorMove(4, None)], [], hidden=[(10, 20)])
    assert found == [PointerSpan(0, 10, 400, 300), PointerSpan(20, 40, 400, 300)]


def test_old_and_new_versions_count_the_cursors_place_in_other_units() -> None:
    assert spans([CursorMove(0, (400, 300))], [])[0].x == 400
    assert spans([CursorMove(0, (360, 540))], [], tldraw=True)[0] == PointerSpan(0, 50, 200, 300)
