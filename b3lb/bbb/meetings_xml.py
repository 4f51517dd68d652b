"""The answer of getMeetings, parsed while it arrives, in memory that does not grow with its size.

Source: https://docs.bigbluebutton.org/development/api/#getmeetings
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypedDict

from lxml import etree

from b3lb.bbb.errors import AnswerError
from b3lb.bbb.meeting_cutter import MeetingCutter
from b3lb.bbb.meeting_element import MeetingElement
from b3lb.bbb.text import printable
from b3lb.health import Reason
from b3lb.meetings.model import DIGEST_BYTES, SeenMeeting

# Beside the meeting that is being read, the tree never holds more than the elements of one slice, and a root that has
# not begun within the first is not BBB's: this also bounds what a document type declaration may hold before it is
# refused.
SLICE_BYTES = 65_536
MAXIMUM_MEETINGS = 10_000
# Of one meeting: far more than the largest has, 0.4 MB with 1 000 attendees. A tag or attribute costs 0.2 KiB of tree.
MEETING_BYTES = 2 * 2**20
MEETING_NODES = 2**17
# Of an answer, without the meetings that are known: 50 MiB as BBB prints it. It bounds time, and the memory of names,
# which libxml2 does not give back.
ANSWER_NODES = 2**21
# The sum is kept within a PostgreSQL integer.
MAXIMUM_COUNT = 2**31 - 1

_HEAD_BYTES = 128
_ENVELOPE = ("returncode", "messageKey", "message")
_TAGS = ("response", "meetings", "meeting", *_ENVELOPE)
_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html)", re.IGNORECASE)


class _Options(TypedDict):
    resolve_entities: bool
    no_network: bool
    huge_tree: bool
    remove_comments: bool
    remove_pis: bool
    collect_ids: bool


_OPTIONS = _Options(
    resolve_entities=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
)
_ELEMENT_PARSER = etree.XMLParser(**_OPTIONS)

# A digest is the hash of an element's bytes and the number of attendees in it: who knows the digest need not parse the
# bytes. The number in the hash's name is that of the rules by which ``MeetingDetails`` come about: with the next one,
# everything that was stored is made anew.
_COUNT_BYTES = 3
_HASH_BYTES = DIGEST_BYTES - _COUNT_BYTES
_AS_PRINTED = b"b3lb-printed-1"
_AS_PARSED = b"b3lb-parsed-1"


@dataclass(frozen=True, slots=True)
class ParsedMeetings:
    """What a good answer says.

    ``meetings`` holds each internal ID once. ``count`` and ``attendees`` also count meetings that have no ID at all;
    moderators and users of breakout rooms are among the attendees.
    """

    meetings: tuple[SeenMeeting, ...] = ()
    count: int = 0
    attendees: int = 0


class MeetingsParser:
    """Incremental parser of one getMeetings answer: ``feed`` its bytes in any pieces, then ``close``.

    Only elements at their place in BBB's envelope count: ``response/meetings/meeting/participantCount`` is a number
    of participants, an element of that name within a meeting's metadata is not. What has been read is dropped from
    the tree at once.

    Args:
        known: Internal ID → digest of the node's meetings whose details are known; they are not made again as long as
            the element is the same.
    """

    def __init__(self, known: Mapping[str, bytes] | None = None) -> None:
        self._parser = etree.XMLPullParser(events=("start", "end"), tag=_TAGS, **_OPTIONS)
        self._cutter = MeetingCutter()
        self._known = {
            digest[:_HASH_BYTES]: SeenMeeting(internal_id, digest, int.from_bytes(digest[_HASH_BYTES:], "big"), None)
            for internal_id, digest in (known or {}).items()
        }
        self._received = 0
        self._head = b""
        self._root: etree._Element | None = None
        self._list: etree._Element | None = None
        self._meeting: etree._Element | None = None
        self._meeting_bytes = 0
        self._meeting_nodes = 0
        self._envelope: dict[str, str] = {}
        self._meetings: dict[str, SeenMeeting] = {}
        self._nodes = 0
        self._attributes = 0
        self._nameless = 0
        self._attendees = 0

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the answer.

        Raises:
            AnswerError: ``InvalidXML``: not well-formed, a document type declaration, or not BBB's envelope;
                ``TooLarge``: a meeting or their number is.
        """
        cutter = self._cutter
        cutter.feed(data)
        while (candidate := cutter.candidate()) is not None:
            if not self._take(candidate):
                cutter.put_back(candidate)
        if cutter.waiting > MEETING_BYTES:
            raise _meeting_too_large()
        self._parse(cutter.other())

    def close(self) -> ParsedMeetings:
        """Finish and return what the answer says.

        Raises:
            AnswerError: ``InvalidXML``: empty, truncated or without BBB's elements; ``ChecksumError`` or ``APIError``:
                the node answered with ``returncode`` FAILED.
        """
        self._cutter.stop()
        self._parse(self._cutter.other())
        if not self._received:
            raise AnswerError(Reason.INVALID_XML, "the answer is empty")
        try:
            self._parser.close()
        except etree.XMLSyntaxError as error:
            raise self._not_well_formed("the answer ends too early", error) from None
        if self._root is None:
            raise self._not_an_answer()
        returncode = self._envelope.get("returncode", "")
        if returncode == "FAILED":
            raise self._refusal()
        if returncode != "SUCCESS":
            raise AnswerError(Reason.INVALID_XML, f"returncode is {printable(returncode, 40)!r}, not SUCCESS or FAILED")
        if self._list is None and self._envelope.get("messageKey") != "noMeetings":
            raise AnswerError(Reason.INVALID_XML, "the answer has no list of meetings: is the API URL right?")
        meetings = tuple(self._meetings.values())
        return ParsedMeetings(meetings, len(meetings) + self._nameless, min(self._attendees, MAXIMUM_COUNT))

    def _take(self, candidate: bytes) -> bool:
        """Read a meeting's element unless it is known; return whether it is one."""
        digest = blake2b(candidate, digest_size=_HASH_BYTES, person=_AS_PRINTED).digest()
        known = self._known.get(digest)
        if known:
            self._add(known)
            return True
        _check_meeting(len(candidate), self._count_nodes(candidate))
        try:
            element = etree.fromstring(candidate, _ELEMENT_PARSER)
        except etree.XMLSyntaxError:
            return False
        self._read(element, digest)
        return True

    def _read(self, element: etree._Element, digest: bytes) -> None:
        meeting = MeetingElement(element)
        internal_id, attendees = meeting.internal_id, meeting.attendees
        if not internal_id:
            self._nameless += 1
            self._attendees += attendees
            self._check_number()
        elif internal_id not in self._meetings:
            whole = digest + attendees.to_bytes(_COUNT_BYTES, "big")
            self._add(SeenMeeting(internal_id, whole, attendees, meeting.details()))

    def _add(self, meeting: SeenMeeting) -> None:
        """Count a meeting unless the answer has listed it before."""
        if meeting.internal_id not in self._meetings:
            self._meetings[meeting.internal_id] = meeting
            self._attendees += meeting.attendees
            self._check_number()

    def _check_number(self) -> None:
        if len(self._meetings) + self._nameless > MAXIMUM_MEETINGS:
            raise AnswerError(Reason.TOO_LARGE, f"the answer has more than {MAXIMUM_MEETINGS} meetings")

    def _count_nodes(self, data: bytes) -> int:
        """Return an upper bound of the tags and attributes in a piece of XML, which the answer's sum has to allow."""
        nodes = data.count(b"<") + data.count(b"=")
        self._nodes += nodes
        if self._nodes > ANSWER_NODES:
            raise AnswerError(Reason.TOO_LARGE, f"the answer has more than {ANSWER_NODES} tags and attributes")
        return nodes

    def _check_tag(self, data: bytes) -> None:
        """Bound the attributes of one tag, which libxml2 reads as a whole: no tag holds a ``<``."""
        tag = data.rfind(b"<")
        self._attributes = data.count(b"=", max(tag, 0)) + (self._attributes if tag < 0 else 0)
        _check_meeting(0, self._attributes)

    def _parse(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            self._parse_slice(data[start : start + SLICE_BYTES])

    def _parse_slice(self, data: bytes) -> None:
        if len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        self._received += len(data)
        nodes = self._count_nodes(data)
        self._check_tag(data)
        try:
            self._parser.feed(data)
        except etree.XMLSyntaxError as error:
            raise self._not_well_formed("not well-formed XML", error) from None
        for event, element in self._parser.read_events():
            if element is None or isinstance(element, tuple):
                continue  # events of namespaces, which were not asked for
            if event == "start":
                self._started(element)
            else:
                self._ended(element)
        if self._root is None:
            if self._received >= SLICE_BYTES:
                raise self._not_an_answer()
            return
        if self._meeting is not None:
            self._meeting_bytes += len(data)
            self._meeting_nodes += nodes
            _check_meeting(self._meeting_bytes, self._meeting_nodes)
        self._drop_what_was_read(self._root)

    def _started(self, element: etree._Element) -> None:
        parent = element.getparent()
        if parent is None:
            if element.tag != "response":
                raise self._not_an_answer()
            if element.getroottree().docinfo.internalDTD is not None:
                raise AnswerError(Reason.INVALID_XML, "a document type declaration is not accepted")
            self._root = element
        elif parent is self._root and element.tag == "meetings":
            self._list = element
        elif parent is self._list and element.tag == "meeting":
            self._meeting = element
            self._meeting_bytes = self._meeting_nodes = 0

    def _ended(self, element: etree._Element) -> None:
        if element is self._meeting:
            self._meeting = None
            printed = etree.tostring(element, encoding="utf-8", with_tail=False)
            digest = blake2b(printed, digest_size=_HASH_BYTES, person=_AS_PARSED).digest()
            known = self._known.get(digest)
            if known:
                self._add(known)
            else:
                self._read(element, digest)
        elif element.getparent() is self._root and element.tag in _ENVELOPE:
            self._envelope[element.tag] = (element.text or "").strip()

    def _drop_what_was_read(self, root: etree._Element) -> None:
        """Remove all but the meeting being read and the path to it: libxml2 still writes to the last of each."""
        element = root
        while len(element) and element is not self._meeting:
            del element[:-1]
            element = element[0]

    def _refusal(self) -> AnswerError:
        key = printable(self._envelope.get("messageKey", ""), 60)
        message = printable(self._envelope.get("message", ""))
        if key == "checksumError":
            return AnswerError(Reason.CHECKSUM_ERROR, "the node refuses the checksum: is the secret right?")
        return AnswerError(Reason.API_ERROR, ": ".join(part for part in (key, message) if part) or "no message")

    def _not_an_answer(self) -> AnswerError:
        if _HTML.match(self._head):
            return AnswerError(Reason.INVALID_XML, "an HTML page, not an answer of the BigBlueButton API")
        return AnswerError(Reason.INVALID_XML, "not an answer of the BigBlueButton API")

    def _not_well_formed(self, what: str, error: etree.XMLSyntaxError) -> AnswerError:
        if _HTML.match(self._head):
            return self._not_an_answer()
        return AnswerError(Reason.INVALID_XML, f"{what}: {printable(error.msg or '')}")


def _check_meeting(size: int, nodes: int) -> None:
    if size > MEETING_BYTES or nodes > MEETING_NODES:
        raise _meeting_too_large()


def _meeting_too_large() -> AnswerError:
    return AnswerError(Reason.TOO_LARGE, f"a meeting is larger than {MEETING_BYTES // 2**20} MiB or has too many parts")
