"""The simulated node's XML is that of BBB, at every moment of a long life."""

import pytest
from lxml import etree

from dev.farm import names
from dev.farm.model import Attendee, Node, Role
from dev.farm.render import failed, get_meeting_info, get_meetings, is_meeting_running, version
from dev.farm.schema import check_get_meeting_info, check_get_meetings
from dev.farm.world import World


def one_meeting(*, name: str, attendees: int = 0) -> Node:
    world = World(nodes=1, meetings=0)
    node = world.nodes["node-001"]
    world.begin(node, meeting_id="the-meeting", name=name, attendees=attendees)
    return node


def text(element: etree._Element, path: str) -> str:
    found = element.findtext(path)
    assert found is not None
    return found


def test_every_answer_of_thousands_of_steps_fits_the_schema_and_the_truth() -> None:
    world = World(seed=4, nodes=2, meetings=4, attendees=3)
    asked = 0
    for _ in range(1000):
        world.step()
        for node in world.nodes.values():
            asked += 1
            elements = check_get_meetings(get_meetings(node)).findall("meetings/meeting")
            assert [text(element, "meetingID") for element in elements] == list(node.meetings)
            for element, meeting in zip(elements, node.meetings.values(), strict=True):
                people = element.findall("attendees/attendee")
                assert [text(person, "fullName") for person in people] == [user.name for user in meeting.attendees]
                assert text(element, "meetingName") == meeting.name
                assert int(text(element, "participantCount")) == len(people)
                for field, flag in (("listenerCount", "isListeningOnly"), ("videoCount", "hasVideo")):
                    assert int(text(element, field)) == sum(text(person, flag) == "true" for person in people)
                assert {entry.tag: entry.text for entry in element.findall("metadata/*")} == meeting.metadata
    assert asked == 2000


def test_every_answer_about_a_meeting_fits_the_schema() -> None:
    world = World(seed=6, nodes=1, meetings=8, attendees=3)
    for _ in range(150):
        world.step()
        for meeting in world.nodes["node-001"].meetings.values():
            root = check_get_meeting_info(get_meeting_info(meeting))
            assert text(root, "meetingID") == meeting.meeting_id


def test_an_empty_node_says_that_it_has_no_meetings() -> None:
    root = check_get_meetings(get_meetings(World(nodes=1, meetings=0).nodes["node-001"]))
    assert text(root, "messageKey") == "noMeetings"
    assert text(root, "returncode") == "SUCCESS"


def test_a_meeting_that_nobody_joined_exists_and_does_not_run() -> None:
    element = check_get_meetings(get_meetings(one_meeting(name="N"))).find("meetings/meeting")
    assert element is not None
    assert [text(element, field) for field in ("running", "hasUserJoined", "endTime", "participantCount")] == [
        "false",
        "false",
        "0",
        "0",
    ]


def test_names_come_back_whatever_they_hold() -> None:
    for name in (*names.MEETING_NAMES, *names.PEOPLE):
        node = one_meeting(name=name)
        node.meetings["the-meeting"].attendees.append(Attendee("w_1", name, Role.VIEWER))
        root = check_get_meetings(get_meetings(node))
        assert text(root, "meetings/meeting/meetingName") == name
        assert text(root, "meetings/meeting/attendees/attendee/fullName") == name


def test_markup_is_escaped_as_entities() -> None:
    answer = get_meetings(one_meeting(name="""<a href="x">'&'</a>"""))
    assert b"<meetingName>&lt;a href=&quot;x&quot;&gt;&apos;&amp;&apos;&lt;/a&gt;</meetingName>" in answer
    assert b"CDATA" not in answer


def test_getmeetings_groups_thousands_and_getmeetinginfo_does_not() -> None:
    node = one_meeting(name="N", attendees=1234)
    root = check_get_meetings(get_meetings(node))
    assert text(root, "meetings/meeting/participantCount") == "1,234"
    assert text(check_get_meeting_info(get_meeting_info(node.meetings["the-meeting"])), "participantCount") == "1234"


def test_getmeetinginfo_leaves_empty_passwords_out() -> None:
    node = one_meeting(name="N")
    meeting = node.meetings["the-meeting"]
    meeting.moderator_password = ""
    root = check_get_meeting_info(get_meeting_info(meeting))
    assert root.find("moderatorPW") is None
    assert root.find("attendeePW") is not None
    assert check_get_meetings(get_meetings(node)).find("meetings/meeting/moderatorPW") is not None


def test_breakout_rooms_name_their_parent_by_its_internal_id() -> None:
    node = World(nodes=1, meetings=8, attendees=4).nodes["node-001"]
    meetings = check_get_meetings(get_meetings(node)).findall("meetings/meeting")
    (parent,) = (meeting for meeting in meetings if meeting.find("breakoutRooms") is not None)
    rooms = [meeting for meeting in meetings if text(meeting, "isBreakout") == "true"]
    assert [text(room, "meetingID") for room in rooms] == [
        entry.text for entry in parent.findall("breakoutRooms/breakout")
    ]
    assert {text(room, "parentMeetingID") for room in rooms} == {text(parent, "internalMeetingID")}
    assert [text(room, "sequence") for room in rooms] == ["1", "2"]


def test_metadata_names_are_lower_case() -> None:
    world = World(nodes=1, meetings=40, attendees=1)
    root = check_get_meetings(get_meetings(world.nodes["node-001"]))
    tags = {str(entry.tag) for entry in root.findall("meetings/meeting/metadata/*")}
    assert {"endcallbackurl", "gl-listed", "bbb-context"} <= tags
    assert all(tag == tag.lower() for tag in tags)


def test_other_answers_are_well_formed() -> None:
    assert text(etree.fromstring(is_meeting_running(running=True)), "running") == "true"
    assert text(etree.fromstring(version("http://127.0.0.1:1")), "graphqlWebsocketUrl") == "ws://127.0.0.1:1/graphql"
    root = check_get_meetings(failed("checksumError", "a < b"))
    assert (text(root, "returncode"), text(root, "message")) == ("FAILED", "a < b")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<running>true</running>", b""),
        (b"<running>true</running>", b"<running>yes</running>"),
        (b"<isBreakout>false</isBreakout>", b"<isBreakout>true</isBreakout>"),
        (b"<endTime>0</endTime>", b"<endTime></endTime>"),
        (b"<clientType>HTML5</clientType>", b"<clientType>HTML5</clientType><extra/>"),
        (b"<participantCount>1</participantCount>", b"<participantCount>-1</participantCount>"),
        (b"<listenerCount>0</listenerCount>\n<voiceParticipantCount>1<", b"<listenerCount>0<"),
        (b"<returncode>SUCCESS</returncode>", b"<returncode>OK</returncode>"),
        (b"</meetings>", b"</meetings><messageKey>noMeetings</messageKey><message/>"),
    ],
)
def test_the_schema_rejects_what_no_node_says(before: bytes, after: bytes) -> None:
    answer = get_meetings(one_meeting(name="N", attendees=1))
    assert before in answer
    with pytest.raises((etree.DocumentInvalid, etree.XMLSyntaxError)):
        check_get_meetings(answer.replace(before, after, 1))
