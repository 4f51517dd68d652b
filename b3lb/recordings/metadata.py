"""What ``metadata.xml`` says of a published recording, read from anyone's bytes in bounded time and memory.

Source: https://docs.bigbluebutton.org/development/recording/ (published/presentation/<record ID>/metadata.xml)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lxml import etree

MOST_BYTES = 1 << 20
MOST_METADATA = 200
LONGEST_NAME = 128
LONGEST_VALUE = 2048
LONGEST_MEETING_ID = 256
LONGEST_MEETING_NAME = 1024
MOST_METADATA_CHARACTERS = 8_192
"""Names and values together: as JSON in the database they stay within 64 KiB, whatever has to be escaped."""

_RECORD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_DOCUMENT_TYPE = re.compile(rb"<!(?:doctype|entity)", re.IGNORECASE)
_LATEST = 4_102_444_800_000
"""2100 in milliseconds since 1970."""

_TRUE = frozenset({"true", "1", "yes"})


class MetadataError(ValueError):
    """The bytes are no metadata of a recording; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMetadata:
    """A recording as its node published it.

    ``record_id`` is the internal meeting ID, ``meeting_id`` what the node knows the meeting by. Times are UTC; a part
    that is missing or out of bounds is None. ``metadata`` are the meeting's own texts, names in lower case.
    """

    record_id: str
    meeting_id: str
    meeting_name: str = ""
    breakout: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_milliseconds: int | None = None
    participants: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def parse_metadata(text: bytes) -> RecordingMetadata:
    """Read ``metadata.xml``.

    Raises:
        MetadataError: Too large, no XML, with a document type, or without the IDs of recording and meeting.
    """
    root = _root(text)
    meeting = root.find("meeting")
    attributes: Mapping[str, str] = {} if meeting is None else {str(k): str(v) for k, v in meeting.attrib.items()}
    own = _own_metadata(root)
    record_id = _text(root, "id") or attributes.get("id", "")
    if not _RECORD_ID.fullmatch(record_id):
        raise MetadataError("metadata.xml: no valid record ID")
    meeting_id = attributes.get("externalId") or own.get("meetingid", "")
    if not 1 <= len(meeting_id) <= LONGEST_MEETING_ID:
        raise MetadataError("metadata.xml: no valid meeting ID")
    name = attributes.get("name") or own.get("meetingname", "")
    return RecordingMetadata(
        record_id=record_id,
        meeting_id=_storable(meeting_id),
        meeting_name=_storable(name)[:LONGEST_MEETING_NAME],
        breakout=_is_breakout(root, attributes, own),
        started_at=_time(_text(root, "start_time")),
        ended_at=_time(_text(root, "end_time")),
        duration_milliseconds=_number(_text(root, "playback/duration"), most=_LATEST),
        participants=_number(_text(root, "participants"), most=2**31 - 1),
        metadata=own,
    )


def _root(text: bytes) -> etree._Element:
    if len(text) > MOST_BYTES:
        raise MetadataError(f"metadata.xml: more than {MOST_BYTES} bytes")
    # In UTF-16 a document type would not be seen here; the parser itself then resolves and loads nothing.
    if _DOCUMENT_TYPE.search(text):
        raise MetadataError("metadata.xml: a document type is not allowed")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, load_dtd=False
    )
    try:
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MetadataError(f"metadata.xml: line {getattr(error, 'lineno', None) or 1}: not well-formed") from None
    if root.tag != "recording" or root.getroottree().docinfo.internalDTD is not None:
        raise MetadataError("metadata.xml: not a recording's")
    return root


def _own_metadata(root: etree._Element) -> dict[str, str]:
    """Return the meeting's own texts, as many as there is room for."""
    found: dict[str, str] = {}
    room = MOST_METADATA_CHARACTERS
    for element in root.iterfind("meta/*"):
        name, value = str(element.tag).lower(), _storable((element.text or "").strip())
        room -= len(name) + len(value)
        if room < 0 or len(found) >= MOST_METADATA:
            break
        if len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE:
            found[name] = value
    return found


def _is_breakout(root: etree._Element, meeting: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Whether it is a breakout room's: BBB says so in several places, not all of them in every version."""
    flags = (meeting.get("breakout", ""), own.get("isbreakout", ""))
    return root.find("breakout") is not None or any(flag.strip().lower() in _TRUE for flag in flags)


def _text(root: etree._Element, path: str) -> str:
    return (root.findtext(path) or "").strip()


def _storable(text: str) -> str:
    # PostgreSQL takes no NUL, and XML has none; what lxml lets through of surrogates is replaced.
    return text.encode("utf-8", "replace").decode()


def _number(text: str, *, most: int) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None


def _time(text: str) -> datetime | None:
    milliseconds = _number(text, most=_LATEST)
    if not milliseconds:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
