"""What is read from a meeting's element, and what its tenant gets of it."""

from __future__ import annotations

import zlib
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from b3lb.bbb.meeting_element import (
    MAXIMUM_ID_BYTES,
    MeetingElement,
    hash_users,
    lenient_milliseconds,
)
from b3lb.meetings.attribution import split_meeting_id
from b3lb.meetings.model import MeetingDetails
from tests.unit.answers import HEADS, answer, only

BARE = "<meetingID>UNI-001-room</meetingID><internalMeetingID>i-1</internalMeetingID>"


def details(content: str, head: str = HEADS[0]) -> MeetingDetails:
    found = only(answer(f"<meeting>{content}</meeting>", head=head)).details
    assert found is not None
    return found


def served(content: str, head: str = HEADS[0]) -> str:
    return zlib.decompress(details(content, head).element).decode()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("<meetingName>Q&amp;A &lt;b&gt;</meetingName>", "<meetingName>Q&amp;A &lt;b&gt;</meetingName>"),
        (
            "<meetingName>&amp;lt;b&amp;gt; &amp;amp;</meetingName>",
            "<meetingName>&amp;lt;b&amp;gt; &amp;amp;</meetingName>",
        ),
        ("<meetingName>&quot;x&apos; &#252;&#x20AC;</meetingName>", "<meetingName>\"x' ü€</meetingName>"),
        (
            "<meetingName><![CDATA[a & <b> &lt;]]></meetingName>",
            "<meetingName>a &amp; &lt;b&gt; &amp;lt;</meetingName>",
        ),
        ("<meetingName>]]&gt; &#13;\n</meetingName>", "<meetingName>]]&gt; &#13;\n</meetingName>"),
        ("<meetingName>Müller 王 🙂 د</meetingName>", "<meetingName>Müller 王 🙂 د</meetingName>"),
        ("<welcome lang='de'>x</welcome>", '<welcome lang="de">x</welcome>'),
        ("<new><deep a='1'><er/></deep></new>", '<new><deep a="1"><er/></deep></new>'),
        ("<new></new> \n", "<new/> \n"),
        ("<a>x<!-- y -->z<?p i?></a>", "<a>xz</a>"),
        ("<x:a xmlns:x='urn:x'><x:b3lb-a/></x:a>", '<x:a xmlns:x="urn:x"><x:b3lb-a/></x:a>'),
    ],
)
def test_everything_else_is_passed_through_whole_and_escaped_once(printed: str, expected: str, head: str) -> None:
    bare = BARE.replace("UNI-001-", "")
    assert served(BARE + printed, head) == f"<meeting>{bare}{expected}</meeting>"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("<metadata><b3lb-x>1</b3lb-x><b3lb_y/>\n<b3lbx>2</b3lbx></metadata>", "<metadata><b3lbx>2</b3lbx></metadata>"),
        ("<metadata><B3LB-x>1</B3LB-x></metadata>", "<metadata/>"),
        ("<metadata><a><b3lb-x/></a></metadata>", "<metadata><a><b3lb-x/></a></metadata>"),
        ("<b3lb-x>no metadata</b3lb-x>", "<b3lb-x>no metadata</b3lb-x>"),
    ],
)
def test_own_metadata_is_removed_and_nothing_else(printed: str, expected: str) -> None:
    assert served(BARE + printed).removeprefix("<meeting>" + BARE.replace("UNI-001-", "")) == f"{expected}</meeting>"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("<parentMeetingID>UNI-001-p</parentMeetingID>", "<parentMeetingID>p</parentMeetingID>"),
        ("<parentMeetingID>0a-17</parentMeetingID>", "<parentMeetingID>0a-17</parentMeetingID>"),
        (
            "<breakout><parentMeetingID>UNI-001-p</parentMeetingID><sequence>2</sequence></breakout>",
            "<breakout><parentMeetingID>p</parentMeetingID><sequence>2</sequence></breakout>",
        ),
        (
            "<breakoutRooms><breakout>UNI-001-&amp;a</breakout><breakout>b</breakout></breakoutRooms>",
            "<breakoutRooms><breakout>&amp;a</breakout><breakout>b</breakout></breakoutRooms>",
        ),
        (
            "<breakoutRooms><breakout><meetingID>UNI-001-a</meetingID></breakout></breakoutRooms>",
            "<breakoutRooms><breakout><meetingID>a</meetingID></breakout></breakoutRooms>",
        ),
        (
            "<metadata><meetingid>UNI-001-a</meetingid></metadata>",
            "<metadata><meetingid>UNI-001-a</meetingid></metadata>",
        ),
        ("<meetingName>UNI-001-a</meetingName>", "<meetingName>UNI-001-a</meetingName>"),
    ],
)
def test_the_clients_ids_are_put_back(printed: str, expected: str) -> None:
    assert served(BARE + printed) == f"<meeting>{BARE.replace('UNI-001-', '')}{expected}</meeting>"


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
        min_size=1,
        max_size=240,
    )
)
def test_any_client_id_comes_back(client_id: str) -> None:
    element = etree.Element("meeting")
    etree.SubElement(element, "meetingID").text = f"UNI-001-{client_id}"
    found = MeetingElement(element).details()
    assert found.meeting_id == f"UNI-001-{client_id}" or len(found.meeting_id) > 100
    assert etree.fromstring(zlib.decompress(found.element)).findtext("meetingID") == client_id


def test_absent_elements_are_nothing_and_never_none() -> None:
    assert details("<internalMeetingID>i</internalMeetingID>") == MeetingDetails(
        meeting_id="",
        create_time=0,
        parent_id=None,
        listeners=0,
        voices=0,
        videos=0,
        moderators=0,
        origin="",
        origin_server="",
        element=zlib.compress(b"<meeting><internalMeetingID>i</internalMeetingID></meeting>", 1),
        user_hashes=b"",
    )


COUNTS = ("listenerCount", "voiceParticipantCount", "videoCount", "moderatorCount")


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("", 0), ("1,234", 1234), (str(2**32 + 5), 0), (str(2**64), 0), ("-1", 0), ("x", 0), ("<b>5</b>", 0)],
)
def test_all_counts_are_read_leniently(text: str, number: int) -> None:
    found = details(BARE + "".join(f"<{name}>{text}</{name}>" for name in COUNTS))
    assert (found.listeners, found.voices, found.videos, found.moderators) == (number,) * 4


def test_each_count_has_its_element() -> None:
    found = details(BARE + "".join(f"<{name}>{number}</{name}>" for number, name in enumerate(COUNTS, 1)))
    assert (found.listeners, found.voices, found.videos, found.moderators) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("metadata", "origins"),
    [
        ("<bbb-origin>Greenlight</bbb-origin>", ("Greenlight", "")),
        ("<bbb-origin/><bbb-origin-server-name> h.example </bbb-origin-server-name>", ("", "h.example")),
        ("<bbb-origin>\n</bbb-origin>", ("", "")),
        ("<bbb-origin>A &amp;amp; B</bbb-origin>", ("A &amp; B", "")),
        (f"<bbb-origin>{'€' * 2000}</bbb-origin>", ("€" * 341, "")),
        ("", ("", "")),
    ],
)
def test_the_origin_may_be_empty_or_absent(metadata: str, origins: tuple[str, str]) -> None:
    found = details(f"{BARE}<metadata>{metadata}</metadata>")
    assert (found.origin, found.origin_server) == origins


@pytest.mark.parametrize(
    ("breakout", "parent"),
    [
        ("<isBreakout>true</isBreakout><parentMeetingID>0a-17</parentMeetingID>", "0a-17"),
        ("<isBreakout>true</isBreakout><breakout><parentMeetingID>UNI-001-p</parentMeetingID></breakout>", "UNI-001-p"),
        ("<breakout><parentMeetingID>p</parentMeetingID></breakout>", "p"),
        ("<isBreakout>true</isBreakout><parentMeetingID/>", None),
        ("<isBreakout>false</isBreakout><parentMeetingID>p</parentMeetingID>", None),
        ("<breakoutRooms><breakout>r</breakout></breakoutRooms>", None),
        ("", None),
    ],
)
def test_a_breakout_room_names_its_parent_in_either_form(breakout: str, parent: str | None) -> None:
    assert details(BARE + breakout).parent_id == parent


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1731000000000", 1_731_000_000_000),
        (" 1731000000000\n", 1_731_000_000_000),
        ("1,731,000,000,000", 1_731_000_000_000),
        ("0", 0),
        ("-5", 0),
        ("1.731E12", 0),
        ("9" * 16, 0),
        ("9" * 5000, 0),
        ("", 0),
    ],
)
def test_times_are_read_leniently(text: str, milliseconds: int) -> None:
    assert lenient_milliseconds(text) == milliseconds
    assert details(f"{BARE}<createTime>{text}</createTime>").create_time == milliseconds


def user_hash(user_id: str) -> bytes:
    return blake2b(user_id.encode(), digest_size=8).digest()


def test_users_are_hashed_by_their_ids_sorted_and_once() -> None:
    users = "".join(f"<attendee><userID>{user}</userID></attendee>" for user in ("w_2", "w_ü", "w_2", "w_1"))
    elsewhere = (
        "<metadata><attendees><attendee><userID>w_3</userID></attendee></attendees></metadata><userID>w_4</userID>"
    )
    trick = "<customdata><attendee><userID>w_5</userID></attendee><userID>w_6</userID></customdata>"
    found = details(f"{BARE}<attendees>{users}<attendee>{trick}</attendee></attendees>{elsewhere}")
    assert found.user_hashes == b"".join(sorted(map(user_hash, ("w_1", "w_2", "w_ü"))))
    assert hash_users([]) == b""


@pytest.mark.parametrize(
    ("content", "identity"),
    [
        ("<internalMeetingID> i-1\n</internalMeetingID><meetingID>a</meetingID>", "i-1"),
        ("<internalMeetingID/><meetingID>a</meetingID><createTime>17</createTime>", "a@17"),
        ("<meetingID>a</meetingID>", "a@"),
        (f"<internalMeetingID>{'x' * 1024}</internalMeetingID>", "x" * 1024),
    ],
)
def test_a_meeting_is_identified_by_what_there_is(content: str, identity: str) -> None:
    assert only(answer(f"<meeting>{content}</meeting>")).internal_id == identity


@pytest.mark.parametrize("character", ["x", "ü", "🙂"])
def test_ids_that_are_too_long_stay_different(character: str) -> None:
    long = character * 2000
    ids = set()
    for name in ("internalMeetingID", "meetingID"):
        for end in ("a", "b"):
            found = only(answer(f"<meeting><{name}>{long}{end}</{name}></meeting>"))
            assert found.details is not None
            ids |= {found.internal_id, found.details.meeting_id} - {""}
    assert len(ids) == 4
    assert all(len(identity.encode()) <= MAXIMUM_ID_BYTES and character * 100 in identity for identity in ids)


def test_an_id_that_is_too_long_belongs_to_no_tenant_when_it_is_cut_either() -> None:
    assert split_meeting_id(details(f"<meetingID>UNI-001-{'x' * 2000}</meetingID>").meeting_id) is None
