"""Lists of meetings: the answer's form, which lists changed, who joined."""

import pytest
from lxml import etree

from b3lb.db.meetings import joined
from b3lb.meetings.answer import meetings_answer
from b3lb.meetings.model import SecretTotals
from b3lb.meetings.totals import ComparedList, ListState, changed_lists


def test_an_answer_lists_the_elements_in_order_and_as_they_are() -> None:
    elements = [b"<meeting><meetingName>A &amp; B</meetingName></meeting>", "<meeting>ü</meeting>".encode()]
    answer = meetings_answer(iter(elements))
    assert answer == (
        b"<response><returncode>SUCCESS</returncode><meetings>" + b"".join(elements) + b"</meetings></response>"
    )
    names = etree.fromstring(answer).xpath("/response/meetings/meeting/meetingName/text()")
    assert names == ["A & B"]


def test_an_answer_without_meetings_has_bbbs_key_and_message() -> None:
    root = etree.fromstring(meetings_answer([]))
    assert {child.tag: child.text for child in root} == {
        "returncode": "SUCCESS",
        "meetings": None,
        "messageKey": "noMeetings",
        "message": "no meetings were found on this server",
    }


def test_a_list_is_written_first_and_when_anything_of_it_changed() -> None:
    state = ListState(SecretTotals(meetings=1), b"digest")
    others = [
        ListState(SecretTotals(meetings=2), b"digest"),
        ListState(SecretTotals(meetings=1), b"other"),
        ListState(SecretTotals(meetings=1), b"digest", reason="Disabled"),
    ]
    same = ComparedList(1, "uni-001", found=state, stored=ListState(SecretTotals(meetings=1), b"digest"))
    new = ComparedList(2, "uni-002", found=state, stored=None)
    changed = [ComparedList(3 + number, "uni", found=state, stored=other) for number, other in enumerate(others)]
    assert changed_lists([same, new, *changed]) == [new, *changed]


@pytest.mark.parametrize(
    ("before", "now", "number"),
    [
        (b"", b"", 0),
        (b"", b"a" * 8 + b"b" * 8, 2),
        (b"a" * 8 + b"b" * 8, b"a" * 8 + b"b" * 8, 0),
        (b"a" * 8 + b"b" * 8, b"b" * 8 + b"c" * 8, 1),
        (b"a" * 8, b"", 0),
        (b"aaaabbbb" + b"bbbbaaaa", b"aaaabbbb" + b"bbbbcccc", 1),
    ],
)
def test_those_have_joined_whom_the_poll_before_did_not_list(before: bytes, now: bytes, number: int) -> None:
    assert joined(before, now) == number
