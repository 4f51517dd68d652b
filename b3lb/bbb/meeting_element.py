"""One meeting's element in the answer of getMeetings: what is read from it, and what is made of it for its tenant.

Source: https://docs.bigbluebutton.org/development/api/#getmeetings
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import cast

from lxml import etree
from lxml.etree import _Element

from b3lb.meetings.attribution import split_meeting_id
from b3lb.meetings.model import USER_HASH_BYTES, MeetingDetails

# A greater number is garbage and counts as 0.
MAXIMUM_PARTICIPANTS = 1_000_000
# No ID is longer; BBB's own limit is 256. It is also what fits into an index of PostgreSQL.
MAXIMUM_ID_BYTES = 1024
# Level 1: a sixth of the CPU time of the default, for a result that is a fifth larger.
ZLIB_LEVEL = 1

_NUMBER = re.compile(r"[0-9]{1,9}|[0-9]{1,3}(?:[,.'\u2019 \u00a0\u202f][0-9]{3})+")
_MILLISECONDS = re.compile(r"[0-9]{1,15}|[0-9]{1,3}(?:[,.'\u2019 \u00a0\u202f][0-9]{3}){1,4}")
_SEPARATORS = re.compile(r"[^0-9]")
_OWN_METADATA = ("b3lb-", "b3lb_")
_user_ids = cast(Callable[[_Element], list[_Element]], etree.XPath("attendees/attendee/userID"))
_HOLDERS_OF_IDS = ("meetingID", "parentMeetingID", "breakout", "breakoutRooms")
_IDS = ("meetingID", "parentMeetingID", "breakout")


class MeetingElement:
    """A ``meeting`` element, read once.

    Only its own children count: an element of the same name within a meeting's metadata is something else. Elements may
    be absent or empty. Of two of the same name the last counts.
    """

    def __init__(self, element: _Element) -> None:
        self._element = element
        self._children = {child.tag: child for child in element}

    @property
    def internal_id(self) -> str:
        """What identifies the meeting on its node; "" if it has no ID of any kind.

        Without an internal ID, it is made of meeting ID and time of creation, as BBB makes it.
        """
        identity = self._text("internalMeetingID").strip()
        if not identity:
            meeting_id = self._text("meetingID")
            identity = f"{meeting_id}@{self._text('createTime').strip()}" if meeting_id else ""
        return _bounded_id(identity)

    @property
    def attendees(self) -> int:
        """Number of participants; moderators are among them."""
        return self._number("participantCount")

    def details(self) -> MeetingDetails:
        """Return all that is kept of the meeting. Changes the element to what its tenant sees."""
        user_hashes = hash_users(user.text or "" for user in _user_ids(self._element))
        meeting_id, parent_id = self._text("meetingID"), self._parent_id()
        origin, origin_server = self._metadata("bbb-origin"), self._metadata("bbb-origin-server-name")
        self._restore_ids()
        self._remove_own_metadata()
        return MeetingDetails(
            meeting_id=_bounded_id(meeting_id),
            create_time=lenient_milliseconds(self._text("createTime")),
            parent_id=_bounded_id(parent_id) if parent_id else None,
            listeners=self._number("listenerCount"),
            voices=self._number("voiceParticipantCount"),
            videos=self._number("videoCount"),
            moderators=self._number("moderatorCount"),
            origin=origin,
            origin_server=origin_server,
            element=zlib.compress(etree.tostring(self._element, encoding="utf-8", with_tail=False), ZLIB_LEVEL),
            user_hashes=user_hashes,
        )

    def _text(self, name: str) -> str:
        child = self._children.get(name)
        return "" if child is None else child.text or ""

    def _number(self, name: str) -> int:
        return lenient_number(self._text(name))

    def _metadata(self, name: str) -> str:
        metadata = self._children.get("metadata")
        text = None if metadata is None else metadata.findtext(name)
        return _bounded(text.strip()) if text else ""

    def _parent_id(self) -> str:
        """Return a breakout room's parent, which stands in the meeting itself or, by BBB's pages, in ``breakout``."""
        if self._text("isBreakout").strip() == "false":
            return ""
        own = self._text("parentMeetingID").strip()
        breakout = self._children.get("breakout")
        return own or ("" if breakout is None else (breakout.findtext("parentMeetingID") or "").strip())

    def _restore_ids(self) -> None:
        """Put the client's IDs back where the node's are."""
        for holder in self._element.iterchildren(*_HOLDERS_OF_IDS):
            for element in holder.iter(*_IDS):
                name = split_meeting_id(element.text or "")
                if name:
                    element.text = name.client_id

    def _remove_own_metadata(self) -> None:
        for metadata in self._element.iterchildren("metadata"):
            for child in [child for child in metadata if child.tag.lower().startswith(_OWN_METADATA)]:
                metadata.remove(child)


def hash_users(user_ids: Iterable[str]) -> bytes:
    """Return the sorted 8-byte hashes of all different user IDs, one after the other."""
    hashes = {blake2b(user_id.encode(), digest_size=USER_HASH_BYTES).digest() for user_id in user_ids}
    return b"".join(sorted(hashes))


def lenient_number(text: str) -> int:
    """Return a count as BBB prints it, which may group its digits (``1,234``); anything else is 0."""
    digits = text.strip()
    if not _NUMBER.fullmatch(digits):
        return 0
    number = _digits(digits)
    return number if number <= MAXIMUM_PARTICIPANTS else 0


def lenient_milliseconds(text: str) -> int:
    """Return a time in milliseconds since the epoch, its digits grouped or not; anything else is 0."""
    digits = text.strip()
    return _digits(digits) if _MILLISECONDS.fullmatch(digits) else 0


def _digits(text: str) -> int:
    return int(text if text.isdecimal() else _SEPARATORS.sub("", text))


def _bounded(text: str) -> str:
    """Return the text, cut to what an ID may have."""
    return text[:MAXIMUM_ID_BYTES].encode()[:MAXIMUM_ID_BYTES].decode(errors="ignore")


def _bounded_id(identity: str) -> str:
    """Return an ID that is short enough; a longer one gives way to its hash and beginning, so that it stays unique.

    The hash comes first: such an ID has no prefix that names a tenant, and did not have one before.
    """
    if len(identity) * 4 <= MAXIMUM_ID_BYTES or len(identity.encode()) <= MAXIMUM_ID_BYTES:
        return identity
    return f"#{blake2b(identity.encode(), digest_size=16).hexdigest()}#{identity[:100]}"
