"""Answers of getMeetings for the tests of their parser."""

from __future__ import annotations

from collections.abc import Mapping

from b3lb.bbb.meetings_xml import MeetingsParser, ParsedMeetings
from b3lb.meetings.model import SeenMeeting

# A comment is not how BBB prints the head: everything goes through the incremental parser then, and is not cut.
HEADS = ("<returncode>SUCCESS</returncode>", "<!-- odd --><returncode>SUCCESS</returncode>")


def answer(*meetings: str, head: str = HEADS[0]) -> str:
    """Return an answer with these elements."""
    return f"<response>{head}<meetings>{''.join(meetings)}</meetings></response>"


def read(data: str | bytes, known: Mapping[str, bytes] | None = None, step: int = 1 << 17) -> ParsedMeetings:
    """Parse an answer that arrives in pieces of ``step`` bytes."""
    content = data if isinstance(data, bytes) else data.encode()
    parser = MeetingsParser(known)
    for start in range(0, len(content), step):
        parser.feed(content[start : start + step])
    return parser.close()


def only(data: str | bytes, known: Mapping[str, bytes] | None = None) -> SeenMeeting:
    """Return the only meeting of an answer."""
    (meeting,) = read(data, known).meetings
    return meeting
