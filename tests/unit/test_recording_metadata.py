"""metadata.xml of a recording: what is read of it, what is refused, and nothing else ever happens."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from b3lb.recordings.metadata import (
    LONGEST_MEETING_ID,
    MOST_BYTES,
    MetadataError,
    RecordingMetadata,
    parse_metadata,
)

WHOLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording>
  <id>183f0bf3-1462807897120</id>
  <state>published</state>
  <start_time>1462807897120</start_time>
  <end_time>1462808180121</end_time>
  <participants>12</participants>
  <meeting id="183f0bf3-1462807897120" externalId="UNI-001-a" name="Einf&#252;hrung" breakout="false"/>
  <meta>
    <isBreakout>false</isBreakout>
    <bbb-recording-ready-url>https://example.org/ready?a=1&amp;b=2</bbb-recording-ready-url>
    <meetingName>Other</meetingName>
  </meta>
  <playback><format>presentation</format><duration>283001</duration></playback>
</recording>
"""


def replaced(*pairs: tuple[bytes, bytes]) -> RecordingMetadata:
    text = WHOLE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return parse_metadata(text)


def test_a_recordings_ids_times_and_texts_are_read() -> None:
    assert parse_metadata(WHOLE) == RecordingMetadata(
        record_id="183f0bf3-1462807897120",
        meeting_id="UNI-001-a",
        meeting_name="Einführung",
        started_at=datetime(2016, 5, 9, 15, 31, 37, 120_000, UTC),
        ended_at=datetime(2016, 5, 9, 15, 36, 20, 121_000, UTC),
        duration_milliseconds=283_001,
        participants=12,
        metadata={
            "isbreakout": "false",
            "bbb-recording-ready-url": "https://example.org/ready?a=1&b=2",
            "meetingname": "Other",
        },
    )


def test_a_recording_of_an_old_server_names_its_meeting_in_the_metadata() -> None:
    meeting = WHOLE[WHOLE.index(b"<meeting ") : WHOLE.index(b"<meta>")]
    found = replaced((meeting, b""), (b"<meta>", b"<meta><meetingId>UNI-002-b</meetingId>"))
    assert (found.meeting_id, found.meeting_name) == ("UNI-002-b", "Other")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b"1462808180121<", b"soon<", "ended_at"),
        (b"1462808180121<", b"0<", "ended_at"),
        (b"1462808180121<", b"99999999999999999999<", "ended_at"),
        (b"1462808180121<", "١٤٦٢<".encode(), "ended_at"),
        (b"<duration>283001</duration>", b"", "duration_milliseconds"),
        (b">12<", b">-1<", "participants"),
        (b">12<", b">99999999999<", "participants"),
    ],
)
def test_a_number_that_makes_no_sense_is_absent(old: bytes, new: bytes, name: str) -> None:
    assert getattr(replaced((old, new)), name) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'breakout="false"', b'breakout="true"'),
        (b"<isBreakout>false", b"<isBreakout> TRUE "),
        (b"<state>", b'<breakout parentMeetingId="x"/><state>'),
    ],
)
def test_each_sign_of_a_breakout_room_counts(old: bytes, new: bytes) -> None:
    assert not parse_metadata(WHOLE).breakout
    assert replaced((old, new)).breakout


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"<recording/>",
        b"<response><id>a-1</id></response>",
        WHOLE.replace(b"183f0bf3-1462807897120", b"../a"),
        WHOLE.replace(b"183f0bf3-1462807897120", b"a" * 200),
        WHOLE.replace(b"UNI-001-a", b""),
        WHOLE.replace(b"UNI-001-a", b"a" * (LONGEST_MEETING_ID + 1)),
        WHOLE.replace(b"<recording>", b'<!DOCTYPE recording SYSTEM "http://127.0.0.1/x.dtd"><recording>'),
        WHOLE.replace(b"<recording>", b'<!DOCTYPE a [<!ENTITY b "c">]><recording>'),
        WHOLE.decode()
        .replace("<recording>", '<!DOCTYPE a [<!ENTITY b "c">]><recording>')
        .replace("UTF-8", "UTF-16")
        .encode("utf-16"),
        WHOLE + b" " * MOST_BYTES,
        b"<recording>" * 300 + b"</recording>" * 300,
    ],
)
def test_anything_else_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(MetadataError) as caught:
        parse_metadata(text)
    assert str(caught.value).startswith("metadata.xml: ")
    assert "\n" not in str(caught.value)


def test_metadata_beyond_their_room_are_left_out() -> None:
    many = b"".join(b"<k%d>%s</k%d>" % (number, b"\x22" * 100, number) for number in range(1000))
    found = replaced((b"<meta>", b"<meta>" + many))
    assert 50 < len(found.metadata) < 100
    assert len(json.dumps(dict(found.metadata))) < 65_536


@given(st.binary(max_size=300), st.integers(0, len(WHOLE)))
@example(b"&x;", 40)
def test_whatever_stands_in_it_it_is_read_or_refused(junk: bytes, place: int) -> None:
    for text in (WHOLE[:place] + junk + WHOLE[place:], WHOLE[:place] + junk):
        try:
            found = parse_metadata(text)
        except MetadataError:
            continue
        assert "\x00" not in json.dumps(dict(found.metadata)) + found.meeting_id + found.meeting_name
