"""The answer of getMeetings, parsed while it arrives, in memory that does not grow with its size.

Source: https://docs.bigbluebutton.org/development/api/#getmeetings
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

from b3lb.bbb.text import printable
from b3lb.health import Reason

# The tree never holds more than the elements of one slice, and a root that has not begun within the first is not
# BBB's: this also bounds what a document type declaration may hold before it is refused.
SLICE_BYTES = 65_536
# A greater number is garbage and counts as 0; the sum is kept within a PostgreSQL integer.
MAXIMUM_PARTICIPANTS = 1_000_000
MAXIMUM_COUNT = 2**31 - 1

_HEAD_BYTES = 128
_ENVELOPE = ("returncode", "messageKey", "message")
_FIELDS = ("internalMeetingID", "participantCount")
_TAGS = ("response", "meetings", "meeting", *_ENVELOPE, *_FIELDS)
_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,9}|[0-9]{1,3}(?:[,.'\u2019 \u00a0\u202f][0-9]{3})+")


class AnswerError(Exception):
    """A node's answer is not usable; ``message`` is for people and holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class MeetingsSummary:
    """How many meetings a node has, and how many participants they have in all, moderators and breakouts included."""

    meetings: int
    attendees: int


class MeetingsParser:
    """Incremental parser of one getMeetings answer: ``feed`` its bytes in any pieces, then ``close``.

    Only elements at their place in BBB's envelope count: ``response/meetings/meeting/participantCount`` is a number
    of participants, an element of that name within a meeting's metadata is not. What has been read is dropped from
    the tree at once, also within a meeting that has not ended yet.
    """

    def __init__(self) -> None:
        self._parser = etree.XMLPullParser(
            events=("start", "end"),
            tag=_TAGS,
            resolve_entities=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
            collect_ids=False,
        )
        self._received = 0
        self._head = b""
        self._root: etree._Element | None = None
        self._list: etree._Element | None = None
        self._meeting: etree._Element | None = None
        self._envelope: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._seen: set[str] = set()
        self._meetings = 0
        self._attendees = 0

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the answer.

        Raises:
            AnswerError: ``InvalidXML``: not well-formed, a document type declaration, or not BBB's envelope.
        """
        for start in range(0, len(data), SLICE_BYTES):
            self._feed_slice(data[start : start + SLICE_BYTES])

    def close(self) -> MeetingsSummary:
        """Finish and return what the answer says.

        Raises:
            AnswerError: ``InvalidXML``: empty, truncated or without BBB's elements; ``ChecksumError`` or ``APIError``:
                the node answered with ``returncode`` FAILED.
        """
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
        return MeetingsSummary(self._meetings, min(self._attendees, MAXIMUM_COUNT))

    def _feed_slice(self, data: bytes) -> None:
        if len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        self._received += len(data)
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
            self._fields = {}

    def _ended(self, element: etree._Element) -> None:
        parent = element.getparent()
        if element is self._meeting:
            self._count()
            self._meeting = None
        elif parent is self._meeting and element.tag in _FIELDS:
            self._fields[element.tag] = element.text or ""
        elif parent is self._root and element.tag in _ENVELOPE:
            self._envelope[element.tag] = (element.text or "").strip()

    def _count(self) -> None:
        """Count the meeting that has just ended, unless the answer lists it twice."""
        identity = self._fields.get("internalMeetingID", "").strip()
        if identity:
            if identity in self._seen:
                return
            self._seen.add(identity)
        self._meetings += 1
        self._attendees += lenient_number(self._fields.get("participantCount", ""))

    @staticmethod
    def _drop_what_was_read(root: etree._Element) -> None:
        """Remove all but the path to the element that is being read: libxml2 still writes to the last of each."""
        element = root
        while len(element):
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


def lenient_number(text: str) -> int:
    """Return a count as BBB prints it, which may group its digits (``1,234``); anything else is 0."""
    digits = text.strip()
    if not _NUMBER.fullmatch(digits):
        return 0
    number = int("".join(character for character in digits if character.isdecimal()))
    return number if number <= MAXIMUM_PARTICIPANTS else 0
