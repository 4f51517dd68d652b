"""A meeting that did not change is recognised by its digest and not read again; any change makes it read."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from b3lb.bbb.errors import AnswerError
from b3lb.bbb.meeting_cutter import MeetingCutter
from b3lb.bbb.meetings_xml import MeetingsParser, ParsedMeetings
from b3lb.health import Reason
from b3lb.meetings.model import DIGEST_BYTES, SeenMeeting
from dev.farm import events
from dev.farm.model import Meeting, Node
from dev.farm.render import get_meetings
from dev.farm.world import World
from tests.unit.answers import HEADS, answer, only, read

LINES = (
    "<meetingID>UNI-001-a</meetingID>",
    "<internalMeetingID>i-1</internalMeetingID>",
    "<participantCount>1,234</participantCount>",
    "<attendees><attendee><userID>w_1</userID></attendee></attendees>",
    "<metadata><a>b</a></metadata>",
)
MEETING = f"<meeting>{''.join(LINES)}</meeting>"


def digests(parsed: ParsedMeetings) -> dict[str, bytes]:
    return {meeting.internal_id: meeting.digest for meeting in parsed.meetings}


def without_digests(parsed: ParsedMeetings) -> ParsedMeetings:
    return replace(parsed, meetings=tuple(replace(meeting, digest=b"") for meeting in parsed.meetings))


@pytest.mark.parametrize("head", HEADS)
def test_a_known_meeting_is_seen_with_its_attendees_but_without_details(head: str) -> None:
    first = read(answer(MEETING, head=head))
    assert [len(digest) for digest in digests(first).values()] == [DIGEST_BYTES]
    again = read(answer(MEETING, head=head), digests(first))
    assert again.meetings == (SeenMeeting("i-1", digests(first)["i-1"], 1234, None),)
    assert (again.count, again.attendees) == (first.count, first.attendees) == (1, 1234)


@pytest.mark.parametrize("head", HEADS)
def test_every_change_changes_the_digest(head: str) -> None:
    variants = [MEETING, MEETING.replace("<meeting>", "<meeting a='b'>"), MEETING.replace("<a>b</a>", "<a>b</a><c/>")]
    variants += [f"<meeting>{''.join(LINES[:number] + LINES[number + 1 :])}</meeting>" for number in range(len(LINES))]
    variants += [MEETING[: at - 1] + "x" + MEETING[at:] for at in range(10, len(MEETING)) if MEETING[at] == "<"]
    seen: set[bytes] = set()
    for variant in variants:
        try:
            found = read(answer(variant, head=head), dict.fromkeys(["i-1"], only(answer(MEETING, head=head)).digest))
        except AnswerError:
            continue  # the change spoiled a tag
        seen |= set(digests(found).values())
        assert [meeting.details is None for meeting in found.meetings] == [variant == MEETING]
    assert len(seen) > 8


def test_the_digest_of_another_meeting_or_node_is_not_recognised() -> None:
    other = only(answer(MEETING.replace("i-1", "i-2")))
    found = only(answer(MEETING), {"i-1": other.digest, "i-2": bytes(DIGEST_BYTES), "i-3": b""})
    assert found.details is not None


@pytest.mark.parametrize("head", HEADS)
def test_a_known_meeting_that_is_listed_twice_counts_once(head: str) -> None:
    known = digests(read(answer(MEETING, head=head)))
    changed = MEETING.replace("1,234", "7")
    for elements in ([MEETING, MEETING], [MEETING, changed], [changed, MEETING]):
        parsed = read(answer(*elements, head=head), known)
        assert (len(parsed.meetings), parsed.count) == (1, 1)


def test_known_and_changed_meetings_keep_their_order() -> None:
    elements = [MEETING.replace("i-1", f"i-{number}") for number in range(6)]
    known = digests(read(answer(*elements[::2])))
    assert list(digests(read(answer(*elements), known))) == [f"i-{number}" for number in range(6)]


def outcome(data: str, step: int) -> ParsedMeetings | Reason:
    try:
        return read(data, step=step)
    except AnswerError as error:
        return error.reason


TRICKS = (
    "<metadata><meeting>x</meeting></metadata>",
    "<metadata><meeting/></metadata>",
    "<metadata><meeting a='b'>x</meeting></metadata>",
    "<a><![CDATA[</meeting><meeting>]]></a>",
    "<a><![CDATA[<meeting>]]></a>",
    "<!-- </meeting> --><a/>",
    "<?x </meeting>?>",
    "<!-- x -->",
    "<a b='</meeting>'/>",
    "<a b='>'/>",
    "</meeting><meeting>",
    "</meeting ><meeting >",
    "</meeting\n> text <meeting>",
    "</meeting></meetings><meetings><meeting>",
    "</meeting><other/><meeting>",
    "</meeting><!-- <meeting> --><meeting>",
    "</meeting><meeting/><meeting>",
    "&amp;lt;/meeting&amp;gt;",
    "&lt;/meeting>",
    "&undefined;",
    "<x:a/>",
    "ü\ud7ff🙂",
    "<a",
    "",
)


@given(st.lists(st.lists(st.sampled_from(TRICKS), max_size=3), max_size=5), st.integers(1, 90), st.booleans())
def test_what_is_cut_is_what_the_parser_finds(meetings: list[list[str]], step: int, changed: bool) -> None:
    """The same answer read with and without cutting, and again with what is known of it, in pieces of any size."""
    elements = [
        f"<meeting><internalMeetingID>i-{number}</internalMeetingID><participantCount>{number}</participantCount>"
        f"{''.join(tricks)}<meetingID>UNI-001-{number}</meetingID></meeting>\n"
        for number, tricks in enumerate(meetings)
    ]
    plain, odd = (answer(*elements, head=head) for head in HEADS)
    expected, parsed = outcome(odd, 1 << 17), outcome(plain, step)
    if isinstance(expected, Reason) or isinstance(parsed, Reason):
        assert parsed is expected
        return
    assert without_digests(parsed) == without_digests(expected)
    known = digests(parsed)
    if changed and known:
        known.popitem()
    again = read(plain, known, step=step)
    assert digests(again) == digests(parsed)
    assert (again.count, again.attendees) == (parsed.count, parsed.attendees)
    assert [meeting.details is None for meeting in again.meetings] == [name in known for name in digests(again)]


def test_a_copy_of_a_known_meeting_within_another_is_not_taken_for_it() -> None:
    known = digests(read(answer(MEETING)))
    for wrapped in (f"<a>{MEETING}</a>", f"<a><![CDATA[{MEETING}]]></a>", f"<!-- {MEETING} -->"):
        outer = f"<meeting><internalMeetingID>o</internalMeetingID>{wrapped}</meeting>"
        found = read(answer(outer, outer.replace(">o<", ">p<")), known)
        assert list(digests(found)) == ["o", "p"]


def test_an_answer_in_another_encoding_is_not_compared_byte_by_byte() -> None:
    latin = "<?xml version='1.0' encoding='iso-8859-1'?>" + answer(MEETING.replace("<a>b</a>", "<a>\u00c3\u00a4</a>"))
    known = digests(read(answer(MEETING.replace("<a>b</a>", "<a>ä</a>"))))
    found = only(latin.encode("iso-8859-1"), known)
    assert found.details is not None
    assert etree.fromstring(zlib.decompress(found.details.element)).findtext("metadata/a") == "\u00c3\u00a4"


@pytest.mark.parametrize(
    "declaration", ["", "<?xml version='1.0'?>\n", '<?xml version="1.0" encoding="UTF-8"?>', "\ufeff"]
)
def test_what_bbb_prints_is_cut(declaration: str) -> None:
    node = World(nodes=1, meetings=8).nodes["node-001"]
    cutter = MeetingCutter()
    cutter.feed(declaration.encode() + get_meetings(node))
    pieces = []
    while (piece := cutter.candidate()) is not None:
        pieces.append(piece)
    assert len(pieces) == len(node.meetings)
    assert b"<meeting>" not in cutter.other()


def grow(node: Node) -> None:
    """Give the node's meetings what is rare or hard to escape."""
    for number, meeting in enumerate(node.meetings.values()):
        meeting.meeting_id = f"UNI-{number:03}-{meeting.meeting_id}"
        meeting.metadata |= {"b3lb-own": "x", "b3lb_own": "<&>", "text": "&amp;lt;b&gt; \r ]]> \u2028 'é\""}
        meeting.breakout_rooms = [f"UNI-{number:03}-{room}" for room in meeting.breakout_rooms]
        meeting.xml = None


def check(meeting: Meeting, seen: SeenMeeting, printed: etree._Element) -> None:
    found = seen.details
    assert found is not None
    counts = (seen.attendees, found.listeners, found.voices, found.videos, found.moderators)
    assert counts == (
        len(meeting.attendees),
        meeting.listener_count,
        meeting.voice_count,
        meeting.video_count,
        meeting.moderator_count,
    )
    assert (seen.internal_id, found.meeting_id) == (meeting.internal_id, meeting.meeting_id)
    assert found.create_time == meeting.create_time
    assert found.parent_id == (meeting.breakout and meeting.breakout.parent_internal_id)
    assert len(found.user_hashes) == 8 * len({attendee.user_id for attendee in meeting.attendees})
    for name in ("meetingID", "breakoutRooms/breakout"):
        for element in printed.findall(name):
            element.text = (element.text or "").split("-", 2)[2]
    for element in [*printed.findall("metadata/b3lb-own"), *printed.findall("metadata/b3lb_own")]:
        element.getparent().remove(element)  # type: ignore[union-attr]  # it has just been found in it
    served = etree.fromstring(zlib.decompress(found.element))
    assert [(element.tag, element.text) for element in served.iter()] == [
        (element.tag, element.text) for element in printed.iter()
    ]


@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 5), st.integers(500, 100_000))
def test_what_is_served_equals_the_farms_truth(seed: int, steps: int, people: int, step: int) -> None:
    world = World(seed=seed, nodes=1, meetings=9, attendees=people)
    for _ in range(steps):
        world.step()
    node = world.nodes["node-001"]
    grow(node)
    body = get_meetings(node)
    parsed = read(body, step=step)
    printed = etree.fromstring(body).findall("meetings/meeting")
    assert len(parsed.meetings) == parsed.count == len(node.meetings)
    assert parsed.attendees == node.attendee_count
    for meeting, seen, element in zip(node.meetings.values(), parsed.meetings, printed, strict=True):
        check(meeting, seen, element)


def test_ticks_read_exactly_the_meetings_that_changed() -> None:
    node = World(seed=3, nodes=1, meetings=10).nodes["node-001"]
    chance = random.Random(3)
    known: dict[str, bytes] = {}
    for tick in range(20):
        changed = {meeting.internal_id for meeting in chance.sample(list(node.meetings.values()), 3)}
        for meeting in node.meetings.values():
            if meeting.internal_id in changed:
                events.join(chance, meeting, count=1)
        parsed = read(get_meetings(node), known)
        read_anew = {meeting.internal_id for meeting in parsed.meetings if meeting.details is not None}
        assert read_anew == (changed if tick else {meeting.internal_id for meeting in node.meetings.values()})
        assert parsed.attendees == node.attendee_count
        known = digests(parsed)


def test_a_failed_answer_is_none_of_the_meetings_before_it() -> None:
    parser = MeetingsParser(digests(read(answer(MEETING))))
    parser.feed(answer(MEETING).replace("</response>", "<returncode>FAILED</returncode></response>").encode())
    with pytest.raises(AnswerError, match="no message"):
        parser.close()
