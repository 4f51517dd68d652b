"""The parser of getMeetings answers."""

from __future__ import annotations

import contextlib
import gzip
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.bbb.errors import AnswerError
from b3lb.bbb.meeting_element import lenient_number
from b3lb.bbb.meetings_xml import (
    ANSWER_NODES,
    MAXIMUM_COUNT,
    MAXIMUM_MEETINGS,
    MEETING_BYTES,
    MEETING_NODES,
    SLICE_BYTES,
    MeetingsParser,
    ParsedMeetings,
)
from b3lb.health import Reason


class Counts(NamedTuple):
    """How many meetings an answer lists, and how many attendees they have."""

    meetings: int
    attendees: int


def counts(parsed: ParsedMeetings) -> Counts:
    return Counts(parsed.count, parsed.attendees)


def parse(answer: str | bytes, step: int = 1 << 30) -> Counts:
    data = answer if isinstance(answer, bytes) else answer.encode()
    parser = MeetingsParser()
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
    return counts(parser.close())


def refused(answer: str | bytes, step: int = 1 << 30) -> AnswerError:
    with pytest.raises(AnswerError) as raised:
        parse(answer, step)
    assert raised.value.message
    assert raised.value.message.isprintable()
    return raised.value


def meeting(identity: str, participants: object, rest: str = "") -> str:
    return (
        f"<meeting><meetingName>Tea &amp; <![CDATA[<meeting>]]></meetingName><meetingID>{identity}</meetingID>"
        f"<internalMeetingID>{identity}-1731000000000</internalMeetingID>"
        f"<participantCount>{participants}</participantCount><moderatorCount>1</moderatorCount>{rest}</meeting>"
    )


def answer(*meetings: str, head: str = "<returncode>SUCCESS</returncode>") -> str:
    return f"<response>{head}<meetings>{''.join(meetings)}</meetings></response>"


ATTENDEE = "<attendees><attendee><userID>w_1</userID><fullName>Ann</fullName></attendee></attendees>"
TWO = answer(meeting("a", 3, ATTENDEE), meeting("b", 4))


def test_meetings_and_participants_are_counted() -> None:
    assert parse(TWO) == Counts(2, 7)


def test_moderators_are_participants_already() -> None:
    assert parse(answer(meeting("a", 5))).attendees == 5


@pytest.mark.parametrize(
    "empty",
    [
        "<response><returncode>SUCCESS</returncode><meetings/><messageKey>noMeetings</messageKey></response>",
        "<response><returncode>SUCCESS</returncode><messageKey>noMeetings</messageKey></response>",
        "<response><returncode>SUCCESS</returncode><meetings></meetings></response>",
        "\ufeff<?xml version='1.0'?>\n<response>\n <returncode> SUCCESS </returncode>\n <meetings/>\n</response>\n",
    ],
)
def test_a_farm_without_meetings_is_a_good_answer(empty: str) -> None:
    assert parse(empty) == Counts(0, 0)


def test_users_of_breakout_rooms_count_once() -> None:
    rooms = "<breakoutRooms><breakout>b-1731000000000</breakout></breakoutRooms>"
    breakout = meeting("b", 2, "<isBreakout>true</isBreakout><breakout><parentMeetingID>a</parentMeetingID></breakout>")
    assert parse(answer(meeting("a", 3, rooms), breakout)) == Counts(2, 5)


def test_a_meeting_that_is_listed_twice_counts_once() -> None:
    assert parse(answer(meeting("a", 3), meeting("a", 3), meeting("b", 1))) == Counts(2, 4)


def test_meetings_without_an_internal_id_all_count() -> None:
    bare = "<meeting><participantCount>2</participantCount></meeting>"
    assert parse(answer(bare, bare, "<meeting/>")) == Counts(3, 4)


def test_what_users_write_into_metadata_is_not_taken_for_the_meeting() -> None:
    trick = (
        "<metadata><participantcount>9</participantcount><participantCount>99</participantCount>"
        "<internalMeetingID>b-1731000000000</internalMeetingID><returncode>FAILED</returncode>"
        "<meetings><meeting><participantCount>50</participantCount></meeting></meetings>"
        "<meeting><participantCount>50</participantCount></meeting></metadata>"
    )
    assert parse(answer(meeting("a", 3, trick), meeting("b", 1))) == Counts(2, 4)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("12", 12),
        (" 12\n", 12),
        ("1,234", 1234),
        ("1.234", 1234),
        ("1\u00a0234", 1234),
        ("1\u202f234", 1234),
        ("12'345", 12345),
        ("1,23", 0),
        ("12.5", 0),
        ("-3", 0),
        ("", 0),
        ("many", 0),
        ("1e3", 0),
        ("1_000", 0),
        ("٣", 0),
        ("1000000", 1_000_000),
        ("1000001", 0),
        ("9" * 5000, 0),
    ],
)
def test_counts_are_read_leniently(text: str, number: int) -> None:
    assert lenient_number(text) == number
    assert parse(answer(meeting("a", text))) == Counts(1, number)


def test_a_meeting_without_a_count_has_no_participants() -> None:
    assert parse(answer("<meeting><internalMeetingID>a</internalMeetingID></meeting>")) == Counts(1, 0)


def test_the_sum_fits_an_integer_of_the_database() -> None:
    crowd = (f"<meeting><participantCount>{10**6}</participantCount></meeting>" for _ in range(3000))
    assert parse(answer(*crowd)).attendees == MAXIMUM_COUNT


@pytest.mark.parametrize(
    ("key", "text", "reason", "message"),
    [
        (
            "checksumError",
            "You did not pass the checksum security check",
            Reason.CHECKSUM_ERROR,
            "the node refuses the checksum: is the secret right?",
        ),
        ("internalError", "Unable to access server", Reason.API_ERROR, "internalError: Unable to access server"),
        ("unsupportedRequest", "", Reason.API_ERROR, "unsupportedRequest"),
        ("", "", Reason.API_ERROR, "no message"),
        ("", "a\x85b\u202ec\n\td", Reason.API_ERROR, "a b c d"),
        ("x", "see ?checksum=0123abcd&amp;a=b", Reason.API_ERROR, "x: see ?checksum=[redacted]&a=b"),
    ],
)
def test_a_refusal_tells_key_and_message(key: str, text: str, reason: Reason, message: str) -> None:
    error = refused(
        f"<response><returncode>FAILED</returncode><messageKey>{key}</messageKey><message>{text}</message></response>"
    )
    assert (error.reason, error.message) == (reason, message)


def test_a_long_message_is_cut() -> None:
    long = f"<messageKey>{'k' * 999}</messageKey><message>{'m' * 10**6}</message>"
    assert len(refused(f"<response><returncode>FAILED</returncode>{long}</response>").message) < 300


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the answer is empty"),
        (b"  \n", "the answer ends too early"),
        (TWO.encode()[:-30], "the answer ends too early"),
        (b"<response><returncode>SUCCESS</returncode><meetings>", "the answer ends too early"),
        (b"not xml", "not well-formed XML"),
        (b'{"response": {"returncode": "SUCCESS"}}', "not well-formed XML"),
        (gzip.compress(TWO.encode()), "not well-formed XML"),
        (TWO.replace("Tea", "Tea\x0b").encode(), "not well-formed XML"),
        (TWO.replace("Tea", "T\udce9a").encode("utf-8", "surrogateescape"), "not well-formed XML"),
        (TWO.replace("</meetings>", "</meeting>").encode(), "not well-formed XML"),
        (TWO.encode() + b"<response/>", "not well-formed XML"),
        (b"<html><body>502 Bad Gateway</body></html>", "an HTML page"),
        (b"<!DOCTYPE html><html><body><br></body></html>", "an HTML page"),
        (b"\n<!doctype HTML>\n<html><p>", "an HTML page"),
        (b"<answer><returncode>SUCCESS</returncode></answer>", "not an answer of the BigBlueButton API"),
        (b"<meeting><returncode>SUCCESS</returncode></meeting>", "not an answer of the BigBlueButton API"),
        (b"<response xmlns='urn:x'><meetings/></response>", "not an answer of the BigBlueButton API"),
        (b"<response><meetings/></response>", "returncode is '', not SUCCESS or FAILED"),
        (b"<response><returncode>OK</returncode><meetings/></response>", "returncode is 'OK'"),
        (b"<response><x><returncode>SUCCESS</returncode></x><meetings/></response>", "returncode is ''"),
        (b"<response><returncode>SUCCESS</returncode><version>2.0</version></response>", "no list of meetings"),
        (b"<?xml version='1.0' encoding='nonsense'?>" + TWO.encode(), "not well-formed XML"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
def test_what_is_not_an_answer_of_getmeetings_is_invalid(data: bytes, message: str, step: int) -> None:
    error = refused(data, step)
    assert error.reason is Reason.INVALID_XML
    assert message in error.message


BOMB = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12))


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE response>",
        "<!DOCTYPE response SYSTEM 'http://127.0.0.1:9/evil.dtd'>",
        "<!DOCTYPE response [<!ENTITY x 'y'>]>",
        "<!DOCTYPE response [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE response [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/evil.dtd'> %x;]>",
        f"<!DOCTYPE response [<!ENTITY l0 'lol'>{BOMB}]>",
        f"<!-- {'x' * 1000} --><!DOCTYPE response [<!ATTLIST meeting a CDATA 'b'>]>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused(declaration: str, encoding: str) -> None:
    for content in ("", "&x;", "&l11;"):
        error = refused((declaration + TWO.replace("Ann", content)).encode(encoding))
        assert error.reason is Reason.INVALID_XML


def test_endless_matter_before_the_root_is_given_up_after_one_slice() -> None:
    for filler in (b" ", b"<!-- x -->", b"<?x y?>"):
        error = refused(filler * (SLICE_BYTES * 2 // len(filler)) + TWO.encode(), 1000)
        assert error.message == "not an answer of the BigBlueButton API"
    declarations = b"<!DOCTYPE response [" + b"<!ENTITY a 'b'>" * 10_000 + b"]>" + TWO.encode()
    parser = MeetingsParser()
    with pytest.raises(AnswerError):
        parser.feed(declarations[: SLICE_BYTES + 1])


def test_references_to_unknown_entities_are_invalid() -> None:
    assert refused(TWO.replace("Ann", "&nbsp;")).reason is Reason.INVALID_XML


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_of_unicode_are_read(encoding: str) -> None:
    assert parse(TWO.encode(encoding)) == Counts(2, 7)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_the_pieces_in_which_it_arrives_do_not_matter(sizes: list[int]) -> None:
    data = ("<?xml version='1.0'?>" + TWO.replace("Ann", "Änn € 𝄞")).encode()
    parser = MeetingsParser()
    position = 0
    for size in sizes:
        parser.feed(data[position : position + size])
        position += size
    parser.feed(data[position:])
    assert counts(parser.close()) == Counts(2, 7)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_noise_is_an_answer_error_and_nothing_else(noise: bytes, step: int) -> None:
    with pytest.raises(AnswerError):
        parse(noise, step)


@given(st.integers(0, len(TWO) - 1), st.binary(min_size=1, max_size=3), st.integers(1, 50))
def test_a_damaged_answer_is_read_or_refused(position: int, damage: bytes, step: int) -> None:
    data = TWO.encode()
    with contextlib.suppress(AnswerError):
        assert parse(data[:position] + damage + data[position + len(damage) :], step).meetings <= 2


def elements_held(parser: MeetingsParser) -> int:
    root = parser._root
    assert root is not None
    return len(list(root.iter()))


# A comment is not how BBB prints the head, and so everything goes through the incremental parser.
ODD = "<!-- odd --><returncode>SUCCESS</returncode>"
HEADS = ["<returncode>SUCCESS</returncode>", ODD]


@pytest.mark.parametrize("head", HEADS)
def test_the_tree_stays_small_however_large_the_answer_is(head: str) -> None:
    parser = MeetingsParser()
    parser.feed(f"<response>{head}<x>".encode())
    for _ in range(200):
        parser.feed(b"<a/>text<b><c/></b>" * 2000)
        assert elements_held(parser) < 10
    parser.feed(b"</x><meetings>")
    seed = random.Random(1)
    for number in range(200):
        block = meeting(f"m{number}", 2, ATTENDEE * seed.randrange(20, 60))
        parser.feed(block.encode() * 4)
        assert elements_held(parser) < SLICE_BYTES // 10
    parser.feed(b"</meetings></response>")
    assert counts(parser.close()) == Counts(200, 400)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("matter", "message"),
    [
        ("<meeting><a>" + "x" * (MEETING_BYTES + 2 * SLICE_BYTES) + "</a></meeting>", "a meeting is larger than 2 MiB"),
        ("<meeting><a>" + "x" * (MEETING_BYTES + SLICE_BYTES), "a meeting is larger than 2 MiB"),
        ("<meeting>" + "<a/>" * (MEETING_NODES + 2 * SLICE_BYTES) + "</meeting>", "has too many parts"),
        (
            "<meeting " + "".join(f" a{n}=''" for n in range(MEETING_NODES + SLICE_BYTES)) + "/>",
            "has too many parts",
        ),
        ("<meeting/>" * (MAXIMUM_MEETINGS + 1), "more than 10000 meetings"),
        ("".join(meeting(f"m{n}", 1) for n in range(MAXIMUM_MEETINGS + 1)), "more than 10000 meetings"),
        (("<meeting>" + "<a/>" * 100_000 + "</meeting>") * (ANSWER_NODES // 100_000 + 1), "more than 2097152 tags"),
    ],
)
def test_what_is_too_large_is_given_up(matter: str, message: str, head: str) -> None:
    error = refused(answer(matter, head=head), 1 << 17)
    assert error.reason is Reason.TOO_LARGE
    assert message in error.message


@pytest.mark.parametrize("head", HEADS)
def test_as_many_meetings_as_are_allowed_are_read(head: str) -> None:
    meetings = [meeting(f"m{n}", 1) for n in range(MAXIMUM_MEETINGS)]
    assert parse(answer(*meetings, head=head), 1 << 17) == Counts(MAXIMUM_MEETINGS, MAXIMUM_MEETINGS)


def test_deep_nesting_is_refused() -> None:
    error = refused("<response><returncode>SUCCESS</returncode><meetings>" + "<a>" * 100_000, 1 << 16)
    assert error.reason is Reason.INVALID_XML
