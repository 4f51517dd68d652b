"""The list of meetings is readable for people, exact for programs, and harmless for a terminal."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.listed import ListedMeeting
from b3lb.views.meetings import Report
from b3lb.views.meetings import meetings_document as document
from b3lb_cli.meetings import summary, table_of
from b3lb_cli.outcome import not_found
from b3lb_cli.output import as_json, as_yaml
from b3lb_cli.table import ago, shown, table, width

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


def meeting(
    name: str = "Room", meeting_id: str = "room-1", *, attendees: int = 3, breakout: bool = False
) -> ListedMeeting:
    element = (
        f"<meeting><meetingName>{escape(name)}</meetingName><meetingID>{escape(meeting_id)}</meetingID>"
        f"<moderatorPW>geheim</moderatorPW><isBreakout>{str(breakout).lower()}</isBreakout></meeting>"
    )
    return ListedMeeting(
        node="bbb-1",
        internal_id="f00-1",
        created_at=NOW - timedelta(minutes=200),
        attendees=attendees,
        listeners=1,
        voices=2,
        videos=0,
        moderators=1,
        origin="Moodle",
        origin_server="lms.example.org",
        compressed=zlib.compress(element.encode()),
    )


def report(*meetings: ListedMeeting, reason: str = "", age: float | None = 8) -> Report:
    return Report(
        namespace="b3lb",
        secret="unia-001",
        version=7,
        digest=b"\x01\xfe",
        reason=reason,
        as_of=None if age is None else NOW - timedelta(seconds=age),
        now=NOW,
        meetings=meetings,
    )


def test_a_table_has_a_line_for_each_meeting_in_columns() -> None:
    lines = table_of(document(report(meeting(), meeting("量子力学", "r2", attendees=120)))).splitlines()
    assert lines[0].split() == ["MEETING", "NAME", "ATTENDEES", "VOICES", "VIDEOS", "MODERATORS", "AGE", "NODE"]
    assert lines[1].split() == ["room-1", "Room", "3", "2", "0", "1", "3h20m", "bbb-1"]
    assert lines[2].split() == ["r2", "量子力学", "120", "2", "0", "1", "3h20m", "bbb-1"]
    assert len({width(line) for line in lines}) == 2
    assert len({width(line[: line.index("bbb-1")]) for line in lines[1:]}) == 1


def test_an_empty_list_is_an_empty_table() -> None:
    assert table_of(document(report())) == ""


def test_json_says_everything_and_how_old_it_is() -> None:
    content = json.loads(as_json(document(report(meeting("Tom & <Jerry>", breakout=True)))))
    assert content == {
        "namespace": "b3lb",
        "secret": "unia-001",
        "version": 7,
        "digest": "01fe",
        "reason": None,
        "asOf": "2026-11-02T11:59:52+00:00",
        "ageSeconds": 8.0,
        "totals": {"meetings": 1, "attendees": 3},
        "meetings": [
            {
                "meetingID": "room-1",
                "internalMeetingID": "f00-1",
                "name": "Tom & <Jerry>",
                "node": "bbb-1",
                "isBreakout": True,
                "createdAt": "2026-11-02T08:40:00+00:00",
                "ageSeconds": 12000.0,
                "attendees": 3,
                "listeners": 1,
                "voices": 2,
                "videos": 0,
                "moderators": 1,
                "origin": "Moodle",
                "originServerName": "lms.example.org",
            }
        ],
    }


def test_neither_table_nor_json_holds_a_password() -> None:
    found = document(report(meeting()))
    for text in (table_of(found), as_json(found), as_yaml(found), repr(report(meeting()))):
        assert "geheim" not in text


@pytest.mark.parametrize(
    ("given_report", "line"),
    [
        (report(meeting(), meeting()), "2 meetings, 6 attending; as of 8s ago"),
        (report(meeting()), "1 meeting, 3 attending; as of 8s ago"),
        (report(age=-3), "0 meetings, 0 attending; as of 0s ago"),
        (report(age=None), "0 meetings, 0 attending; no node has been polled yet"),
        (report(age=400), "0 meetings, 0 attending; as of 6m40s ago, which is stale: is the task check-nodes running?"),
        (report(age=-60), "0 meetings, 0 attending; as of 0s ago"),
        (
            report(age=-18000),
            "0 meetings, 0 attending; as of 5h in the future, which is stale: was the database's clock set back?",
        ),
        (report(reason="Disabled"), "the list of unia-001 is empty: Disabled; as of 8s ago"),
    ],
)
def test_one_line_sums_up(given_report: Report, line: str) -> None:
    assert summary(document(given_report)) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (200, "3m20s"),
        (601, "10m"),
        (3600, "1h"),
        (12_000, "3h20m"),
        (86_399, "23h"),
        (90_000, "1d1h"),
        (12 * 86_400, "12d"),
    ],
)
def test_ages_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert ago(timedelta(seconds=seconds)) == text


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert shown("a\x1b[31mred\x07\u202eb\nc", 40) == "a [31mred  b c"


@given(st.text(max_size=60), st.integers(1, 30))
def test_a_cell_fits_and_holds_no_control_character(text: str, columns: int) -> None:
    cell = shown(text, columns)
    assert width(cell) <= columns
    assert all(character.isprintable() for character in cell)


def test_a_cut_cell_says_so() -> None:
    assert shown("x" * 50, 10) == "x" * 9 + "…"
    assert shown("量" * 10, 10) == "量量量量…"


def test_numbers_end_at_the_right() -> None:
    assert table(("A", "B"), [("x", "5"), ("yy", "15")], right={"B"}) == "A     B\nx     5\nyy   15\n"


def test_who_asks_for_a_secret_that_is_not_there_is_told_which_there_are() -> None:
    question = "BBBSecret", "unia-009", "b3lb"
    assert not_found(*question, {"b3lb": ["unia-000", "unia-001"], "other": ["x-001"]}) == (
        "no BBBSecret unia-009 in namespace b3lb; there are: unia-000, unia-001"
    )
    assert "namespaces with some: other" in not_found(*question, {"other": ["x-001"]})
    assert "none at all" in not_found(*question, {})
    assert "s-49 and 10 more" in not_found(*question, {"b3lb": [f"s-{number}" for number in range(60)]})
