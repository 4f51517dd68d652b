"""The XML of recordings is read with bounds, and what is broken in it becomes a warning."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3lb_jobs.record.bounded_xml import Element, XmlDocument, XmlLimits
from b3lb_jobs.record.documents import (
    CursorMove,
    PanZoom,
    ScreenShare,
    read_cursor,
    read_metadata,
    read_panzooms,
    read_screen_shares,
)
from b3lb_jobs.record.failures import FailureCode, RecordError, WarningCode, WarningLog
from b3lb_jobs.record.slides import read_slides

_DTD = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://127.0.0.1:1/svg11.dtd">'


def children(text: str | bytes, **limits: int) -> list[Element]:
    data = text.encode() if isinstance(text, str) else text
    return list(XmlDocument(io.BytesIO(data), "x.xml", XmlLimits(**limits)).children())


def write(folder: Path, text: str) -> Path:
    path = folder / "x.xml"
    path.write_text(text)
    return path


def warnings(log: WarningLog) -> dict[WarningCode, int]:
    return {warning.code: warning.count for warning in log}


def test_children_come_with_all_that_is_in_them_and_without_name_spaces() -> None:
    found = children('<a xmlns:x="y"><b x:href="1">t<c/>u<x:d>v</x:d>w</b><e/></a>')
    assert [child.tag for child in found] == ["b", "e"]
    assert found[0].get("href") == "1"
    assert found[0].all_text() == "tuvw"
    assert [child.tag for child in found[0].children] == ["c", "d"]


def test_a_document_type_is_passed_over_and_never_fetched() -> None:
    assert [child.tag for child in children(f"{_DTD}<svg><image/></svg>")] == ["image"]


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a><d>&b;</d></a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a><d>&b;</d></a>',
        '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:1/x"> %b;]><a><d/></a>',
        "<a><b></a>",
        "<a><b/>",
        "",
        "no XML",
        '<?xml version="1.0" encoding="rot13"?><a/>',
        b"\xff\xfe\x00",
    ],
)
def test_entities_and_unsound_documents_are_refused(text: str | bytes) -> None:
    with pytest.raises(RecordError) as caught:
        children(text)
    assert caught.value.code is FailureCode.XML_INVALID


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("<a>" + "<b/>" * 50 + "</a>", {"elements": 20}),
        ("<a>" * 50 + "</a>" * 50, {"depth": 20}),
        ("<a>" + " " * 5_000 + "</a>", {"file_bytes": 1_000}),
        ("<a><b>" + "<c/>" * 50 + "</b></a>", {"child_nodes": 20}),
        ("<a><b c='" + "x" * 500 + "'/></a>", {"child_characters": 100}),
        ("<a><b>" + "x" * 500 + "</b></a>", {"child_text": 100}),
    ],
)
def test_everything_that_takes_memory_has_a_limit(text: str, limits: dict[str, int]) -> None:
    with pytest.raises(RecordError) as caught:
        children(text, **limits)
    assert caught.value.code is FailureCode.XML_INVALID


def test_metadata_say_what_was_recorded(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "<recording><id>r-1</id><start_time>1700000000000</start_time><end_time>x</end_time>"
        '<meeting externalId="ABC-000-m" name="N"/><playback><duration>12000000</duration></playback></recording>',
    )
    found = read_metadata(path)
    assert (found.record_id, found.meeting_id, found.meeting_name) == ("r-1", "ABC-000-m", "N")
    assert (found.ended_at, found.duration_milliseconds) == (None, 12_000_000)


def test_metadata_of_something_else_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        read_metadata(write(tmp_path, "<response/>"))
    assert caught.value.code is FailureCode.XML_INVALID


def test_panzooms_are_sorted_and_broken_events_counted(tmp_path: Path) -> None:
    log = WarningLog()
    path = write(
        tmp_path,
        '<recording tldraw="true"><event timestamp="2.0"><viewBox>-0.0 1 800 600</viewBox></event>'
        '<event timestamp="1"><viewBox>0 0 nan 600</viewBox></event>'
        '<event timestamp="1"><viewBox>1 2 3 4</viewBox></event>'
        "<event/></recording>",
    )
    found = read_panzooms(path, log)
    assert found.is_tldraw
    assert found.events == (PanZoom(1.0, 1.0, 2.0, 3.0, 4.0), PanZoom(2.0, 0.0, 1.0, 800.0, 600.0))
    assert str(found.events[1].x) == "0.0"
    assert warnings(log) == {WarningCode.PANZOOM_MISSING: 2}


def test_the_cursor_is_hidden_at_minus_one(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '<recording><event timestamp="0"><cursor>0.5 0.25</cursor></event>'
        '<event timestamp="1"><cursor>-1.0 -1.0</cursor></event></recording>',
    )
    assert read_cursor(path, WarningLog()).moves == (CursorMove(0.0, (0.5, 0.25)), CursorMove(1.0, None))


def test_screen_shares_without_length_are_dropped_and_a_missing_document_is_told_apart(tmp_path: Path) -> None:
    log = WarningLog()
    path = write(
        tmp_path,
        '<recording><event start_timestamp="5" stop_timestamp="7"/><event start_timestamp="3" stop_timestamp="3"/>'
        '<event start_timestamp="-1" stop_timestamp="2"/></recording>',
    )
    assert read_screen_shares(path, log) == (ScreenShare(0.0, 2.0), ScreenShare(5.0, 7.0))
    assert not warnings(log)
    assert read_screen_shares(tmp_path / "none.xml", log) is None
    assert warnings(log) == {WarningCode.SCREEN_SHARE_MISSING: 1}


_FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<recording>", "</recording>", "<svg>", "</svg>", "<event timestamp='1'>", "<event timestamp='1e999'>",
            "<event start_timestamp='0' stop_timestamp='9'/>", "</event>", "<viewBox>0 0 1 1</viewBox>", "<viewBox>",
            "</viewBox>", "<cursor>NaN 1</cursor>", "<cursor>0.1 1</cursor>", "<id>&amp;</id>", "<!--", "-->",
            "<![CDATA[", "]]>", "&x;", "&#0;", "<?x ?>", "<image id='image1' in='0' out='5' width='9' height='9'/>",
            "<g class='canvas' image='image1'>", "</g>", "<g class='shape' timestamp='0' undo='-1' shape='s'>",
            "<path d='M0 0L1 1'/>", "<path d='A'/>", "<circle cx='1' cy='inf' r='1'/>", "<switch/>", "1 2 3",
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        _FRAGMENTS.map(str.encode),
        st.binary(max_size=200),
        _FRAGMENTS.map(lambda s: f"<recording>{s}</recording>".encode()),
    )
)
def test_no_document_makes_a_reader_fail_in_any_other_way(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fuzz.xml"
    path.write_bytes(data)
    log = WarningLog()
    read_panzooms(path, log)
    read_cursor(path, log)
    read_screen_shares(path, log)
    for reader in (read_metadata, lambda path: read_slides(path, log)):
        with contextlib.suppress(RecordError):
            reader(path)
