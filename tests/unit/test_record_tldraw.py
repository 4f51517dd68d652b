"""tldraw.json of all versions becomes drawings in the slide's pixels; what cannot be drawn is counted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3lb_jobs.record.drawings import Align, Drawing, Font, Outline, ShapeVersion, TextBlock
from b3lb_jobs.record.failures import WarningCode, WarningLog
from b3lb_jobs.record.tldraw.document import page_scale, read_tldraw

SLIDE = (1440.0, 1080.0)


def read(folder: Path, document: Any) -> tuple[dict[int, tuple[ShapeVersion, ...]], dict[WarningCode, int]]:
    path = folder / "tldraw.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    log = WarningLog()
    found, _ = read_tldraw(path, {1: SLIDE}, log)
    return found, {warning.code: warning.count for warning in log}


def entry(data: dict[str, Any], timestamp: object = 1.0, undo: object = -1) -> dict[str, Any]:
    return {"id": data.get("id"), "timestamp": timestamp, "undo": undo, "shape_data": data}


def page(*entries: Any, version: str | None = "3.0.0") -> dict[str, Any]:
    document: dict[str, Any] = {"1": {"shapes": list(entries), "timestamp": 0.0}}
    return document if version is None else {"bbb_version": version, **document}


def drawn_1(folder: Path, kind: str, **fields: Any) -> Drawing:
    data = {"id": "s", "type": kind, "point": [100, 50], "style": {"color": "red", "size": "medium"}} | fields
    found, warnings = read(folder, page(entry(data), version="2.7.0"))
    assert not warnings
    return found[1][0].drawing


def drawn_2(folder: Path, kind: str, *, before: tuple[dict[str, Any], ...] = (), **fields: Any) -> Drawing:
    props = {"color": "red", "size": "m"} | fields.pop("props", {})
    data = {"id": "s", "type": kind, "x": 100, "y": 50, "rotation": 0, "opacity": 1, "props": props} | fields
    found, warnings = read(folder, page(*(entry(one) for one in before), entry(data)))
    assert not warnings
    return found[1][-1].drawing


def box(drawing: Drawing) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of all outlines."""
    steps = [step for part in drawing if isinstance(part, Outline) for step in part.path if step.points]
    xs, ys = [x for step in steps for x in step.points[::2]], [y for step in steps for y in step.points[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def texts(drawing: Drawing) -> list[TextBlock]:
    return [part for part in drawing if isinstance(part, TextBlock)]


@pytest.mark.parametrize(
    ("version", "scale"), [((2, 6, 0), 2048 / 2880), ((2, 6, 1), 0.5), ((3, 0, 0), 0.5), (None, 0.5)]
)
def test_slides_are_scaled_into_the_page_of_their_version(version: tuple[int, int, int] | None, scale: float) -> None:
    assert page_scale(version, (2880, 1000)) == pytest.approx(scale)


def test_shapes_of_version_1_stand_where_their_point_is(tmp_path: Path) -> None:
    assert box(drawn_1(tmp_path, "rectangle", size=[200, 120])) == (100, 50, 300, 170)
    assert box(drawn_1(tmp_path, "ellipse", radius=[100, 60])) == pytest.approx((100, 50, 300, 170))
    assert box(drawn_1(tmp_path, "triangle", size=[200, 120])) == (100, 50, 300, 170)
    assert box(drawn_1(tmp_path, "draw", points=[[0, 0, 0.5], [10, 20, 0.5]])) == (100, 50, 110, 70)


def test_shapes_of_version_1_turn_around_their_middle(tmp_path: Path) -> None:
    turned = drawn_1(tmp_path, "rectangle", size=[200, 100], rotation=math.pi / 2)
    assert box(turned) == pytest.approx((150, 0, 250, 200))


def test_an_arrow_of_version_1_bends_through_its_handle(tmp_path: Path) -> None:
    handles = {"start": {"point": [0, 0]}, "end": {"point": [100, 0]}, "bend": {"point": [50, 30]}}
    drawing = drawn_1(tmp_path, "arrow", handles=handles, decorations={"end": "arrow"})
    assert len(drawing) == 2
    assert box(drawing[:1])[3] > 75
    assert len(drawn_1(tmp_path, "line", handles=handles)) == 1


def test_texts_and_notes_of_version_1_are_texts(tmp_path: Path) -> None:
    (text,) = texts(
        drawn_1(tmp_path, "text", text="a\nb", style={"size": "large", "font": "serif", "textAlign": "end"})
    )
    assert (text.text, text.x, text.y, text.size, text.font, text.align) == ("a\nb", 100, 50, 96, Font.SERIF, Align.END)
    sticky = drawn_1(tmp_path, "sticky", text="note", size=[200, 200])
    assert box(sticky) == (100, 50, 300, 250)
    assert texts(sticky)[0].width == 168


def test_a_group_of_version_1_draws_nothing(tmp_path: Path) -> None:
    assert drawn_1(tmp_path, "group", children=[]) == ()


@pytest.mark.parametrize("geo", ["rectangle", "ellipse", "diamond", "hexagon", "arrow-left", "check-box"])
def test_figures_of_version_2_fill_their_box(geo: str, tmp_path: Path) -> None:
    drawing = drawn_2(tmp_path, "geo", props={"geo": geo, "w": 200, "h": 100, "growY": 20, "fill": "solid"})
    assert box(drawing) == pytest.approx((100, 50, 300, 170), abs=1)
    (outline,) = drawing
    assert isinstance(outline, Outline)
    assert outline.fill is not None


def test_shapes_of_version_2_turn_around_their_corner_and_are_as_opaque_as_they_say(tmp_path: Path) -> None:
    drawing = drawn_2(
        tmp_path, "geo", rotation=math.pi / 2, opacity=0.5, props={"geo": "rectangle", "w": 200, "h": 100}
    )
    assert box(drawing) == pytest.approx((0, 50, 100, 250))
    assert isinstance(drawing[0], Outline)
    assert drawing[0].stroke is not None
    assert drawing[0].stroke.opacity == 0.5


def test_members_of_groups_stand_within_them(tmp_path: Path) -> None:
    group = {"id": "g", "type": "group", "x": 1000, "y": 500, "rotation": math.pi, "props": {}}
    drawing = drawn_2(tmp_path, "geo", before=(group,), parentId="g", props={"geo": "rectangle", "w": 200, "h": 100})
    assert box(drawing) == pytest.approx((700, 350, 900, 450))


def test_a_bound_arrow_follows_its_shape_while_it_is_there(tmp_path: Path) -> None:
    def target(x: float) -> dict[str, Any]:
        return {"id": "t", "type": "geo", "x": x, "y": 0, "props": {"geo": "rectangle", "w": 20, "h": 20}}

    def arrow(name: str) -> dict[str, Any]:
        end = {"type": "binding", "boundShapeId": "t", "normalizedAnchor": {"x": 0.5, "y": 0.5}}
        return {"id": name, "type": "arrow", "x": 0, "y": 0, "props": {"start": {"x": 0, "y": 0}, "end": end}}

    found, warnings = read(
        tmp_path,
        page(
            entry(target(100)),
            entry(arrow("a"), 2.0),
            entry(arrow("undone"), 2.0, 3.0),
            entry(target(500), 4.0),
            entry(target(700), 5.0),
        ),
    )
    assert not warnings
    ends = [(one.begin, round(box(one.drawing)[2])) for one in found[1] if one.shape == "a"]
    assert ends == [(2.0, 110), (4.0, 510), (5.0, 710)]
    assert [one.begin for one in found[1] if one.shape == "undone"] == [2.0]


@pytest.mark.parametrize("kind", ["geo", "text", "note"])
def test_rich_text_is_shown_without_its_marks(kind: str, tmp_path: Path) -> None:
    def written(*words: str) -> list[dict[str, Any]]:
        return [{"type": "text", "text": word, "marks": [{"type": "bold"}]} for word in words]

    items = [{"type": "listItem", "content": [{"type": "paragraph", "content": written("item")}]}]
    rich = {
        "type": "doc",
        "content": [
            {"type": "paragraph", "content": [*written("one ", "two"), {"type": "hardBreak"}, *written("three")]},
            {"type": "paragraph"},
            {"type": "bulletList", "content": items},
        ],
    }
    drawing = drawn_2(tmp_path, kind, props={"geo": "rectangle", "w": 100, "h": 50, "richText": rich})
    assert [block.text for block in texts(drawing)] == ["one two\nthree\n\n\u2022 item"]


def test_rich_text_without_end_is_cut(tmp_path: Path) -> None:
    node: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(200):
        node = {"type": "paragraph", "content": [node]}
    props = {"geo": "rectangle", "w": 9, "h": 9, "richText": {"content": [node, {"type": "text", "text": "seen"}]}}
    assert [block.text.strip() for block in texts(drawn_2(tmp_path, "geo", props=props))] == ["seen"]


def test_an_arrow_ends_at_the_shape_that_it_is_bound_to(tmp_path: Path) -> None:
    target = {"id": "t", "type": "geo", "x": 600, "y": 400, "props": {"geo": "rectangle", "w": 200, "h": 100}}
    ends = {
        "start": {"type": "point", "x": 0, "y": 0},
        "end": {"type": "binding", "boundShapeId": "t", "normalizedAnchor": {"x": 0.5, "y": 0.5}},
    }
    drawing = drawn_2(tmp_path, "arrow", before=(target,), props=ends | {"arrowheadEnd": "none"})
    assert box(drawing) == pytest.approx((100, 50, 700, 450))


def test_lines_go_through_their_handles_in_the_order_of_their_index(tmp_path: Path) -> None:
    handles = {
        "e": {"x": 90, "y": 0, "index": "a3"},
        "s": {"x": 0, "y": 0, "index": "a1"},
        "m": {"x": 0, "y": 40, "index": "a2"},
    }
    (line,) = drawn_2(tmp_path, "line", props={"handles": handles, "spline": "line"})
    assert isinstance(line, Outline)
    assert [step.points for step in line.path] == [(100, 50), (100, 90), (190, 50)]


def test_pens_texts_notes_frames_and_polls_are_drawn(tmp_path: Path) -> None:
    segments = [{"type": "free", "points": [{"x": 0, "y": 0}, {"x": 5, "y": 5}, {"x": 9, "y": 0}]}]
    (pen,) = drawn_2(tmp_path, "draw", props={"segments": segments})
    (marker,) = drawn_2(tmp_path, "highlight", props={"segments": segments})
    assert isinstance(pen, Outline)
    assert isinstance(marker, Outline)
    assert marker.width > pen.width
    assert marker.stroke is not None
    assert marker.stroke.opacity < 1
    assert texts(drawn_2(tmp_path, "text", props={"text": "x", "w": 90, "autoSize": False}))[0].width == 90
    assert box(drawn_2(tmp_path, "note", props={"text": "x", "growY": 10})) == (100, 50, 300, 260)
    assert box(drawn_2(tmp_path, "frame", props={"w": 30, "h": 20})) == (100, 50, 130, 70)
    answers = [{"key": "Yes", "numVotes": 3}, {"key": "No", "numVotes": 1}]
    poll = drawn_2(tmp_path, "poll", props={"w": 300, "h": 200, "questionText": "Well?", "answers": answers})
    assert box(poll) == (100, 50, 400, 250)
    assert [text.text for text in texts(poll)] == ["Well?", "Yes", "3", "No", "1"]


def test_without_a_version_the_shapes_tell_which_one_they_are(tmp_path: Path) -> None:
    first = {"id": "a", "type": "rectangle", "point": [1, 2], "size": [3, 4]}
    second = {"id": "b", "type": "geo", "x": 1, "y": 2, "props": {"geo": "rectangle", "w": 3, "h": 4}}
    found, warnings = read(tmp_path, page(entry(first), entry(second), version=None))
    assert [box(version.drawing) for version in found[1]] == [(1, 2, 4, 6)] * 2
    assert not warnings


@pytest.mark.parametrize("document", ["[]", "", "{", '"x"', "null", "[" * 100_000, '{"1": ' + "9" * 5_000 + "}"])
def test_a_broken_document_is_one_warning(document: str, tmp_path: Path) -> None:
    found, warnings = read(tmp_path, document)
    assert found == {}
    assert warnings == {WarningCode.TLDRAW_PARTIAL: 1}


def test_a_document_of_a_recording_without_drawings_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, {"bbb_version": "3.0.0"}) == ({}, {})


@pytest.mark.parametrize(
    "data",
    [
        {"id": "s", "type": "unknown", "props": {}},
        {"id": "s", "type": "geo", "props": {"geo": "heart", "w": 1, "h": 1}},
        {"id": "s", "type": "geo", "props": {"geo": "star", "w": float("nan"), "h": 1}},
        {"id": "s", "type": "draw", "props": {"segments": []}},
        {"id": "s", "type": "arrow", "props": {"start": {"type": "binding", "boundShapeId": "x"}}},
        {"id": "s", "type": "rectangle", "point": [1, "x"], "size": [1, 1]},
        {"id": "s", "type": "geo", "parentId": "s", "props": {"geo": "star", "w": 1, "h": 1}},
        {"type": "geo", "props": {"geo": "star", "w": 1, "h": 1}},
    ],
)
def test_a_shape_that_cannot_be_drawn_is_counted_and_fails_nothing(data: dict[str, Any], tmp_path: Path) -> None:
    found, warnings = read(tmp_path, page(entry(data)))
    assert found == {1: ()}
    assert warnings == {WarningCode.SHAPE_SKIPPED: 1}


_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.integers(-10, 3_000),
        st.sampled_from(["s", "m", "red", "draw", "\ud800", "free", "a1", "none", "arrow"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["x", "y", "point", "type", "points", "w", "h", "index", "key"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
_KINDS = st.sampled_from(
    [
        "geo",
        "draw",
        "highlight",
        "line",
        "arrow",
        "text",
        "note",
        "frame",
        "poll",
        "group",
        "rectangle",
        "ellipse",
        "sticky",
    ]
)
_FIELDS = st.dictionaries(
    st.sampled_from(
        ["geo", "w", "h", "segments", "handles", "start", "end", "bend", "text", "answers", "points", "size", "radius",
         "style", "label", "color", "dash", "fill", "growY", "spline", "decorations", "align"]
    ),
    st.one_of(_JSON, st.sampled_from(["star", "cloud", "oval"])),
    max_size=7,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_KINDS, _FIELDS, st.one_of(st.none(), _JSON, st.just([1, 2])), _JSON)
def test_no_shape_makes_reading_fail(tmp_path: Path, kind: str, fields: dict[str, Any], point: Any, place: Any) -> None:
    data = {"id": "s", "type": kind, "x": place, "y": 1, "parentId": "q", "rotation": place}
    # Without a point it is a shape of version 2.
    data |= {"props": fields} if point is None else fields | {"point": point}
    parent = {"id": "q", "type": "group", "x": place, "parentId": place}
    found, _ = read(tmp_path, page(entry(data), entry(parent), entry(data, place, place), place, version=None))
    for version in found.get(1, ()):
        for part in version.drawing:
            if isinstance(part, Outline):
                assert all(math.isfinite(value) for step in part.path for value in step.points)
            elif isinstance(part, TextBlock):
                part.text.encode()
                assert all(math.isfinite(value) for value in (part.x, part.y, part.width, part.height, part.size))
