"""Answers of getMeetings that want memory, and a process that reads one of them.

``python -m tests.integration.hostile_answers NAME`` prints what became of it and by how many MiB the process has grown.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

from b3lb.bbb.errors import AnswerError
from b3lb.bbb.meetings_xml import MeetingsParser
from dev.memory import peak_mebibytes

BODY_BYTES = 64 * 2**20
PIECE_BYTES = 2**17
HEAD = b"<response><returncode>SUCCESS</returncode><meetings>"
ODD_HEAD = b"<response><!-- odd --><returncode>SUCCESS</returncode><meetings>"


def meetings(content: Callable[[int], bytes], *, attributes: Callable[[int], bytes] = lambda _: b"") -> Iterator[bytes]:
    """Yield meetings without end, each with an ID of its own."""
    for number in itertools.count():
        start = b"<meeting%s><internalMeetingID>%d</internalMeetingID>" % (attributes(number), number)
        yield start + content(number) + b"</meeting>"


def names(form: bytes, number: int, count: int) -> bytes:
    """Return ``count`` elements or attributes whose names no other call has."""
    return b"".join(form % (number, index) for index in range(count))


def user(number: int) -> bytes:
    """Return an attendee whose ID cannot be compressed."""
    return b"<attendee><userID>%x</userID></attendee>" % hash((number, "user"))


ANSWERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "empty meetings": lambda: itertools.chain([HEAD], itertools.repeat(b"<meeting/>")),
    "meetings without number": lambda: itertools.chain([HEAD], meetings(lambda _: b"")),
    "one meeting again and again": lambda: itertools.chain([HEAD], itertools.repeat(b"<meeting><a/></meeting>")),
    "tags": lambda: itertools.chain([HEAD], meetings(lambda _: b"<a/>" * 60_000)),
    "tags, not cut": lambda: itertools.chain([ODD_HEAD], meetings(lambda _: b"<a/>" * 60_000)),
    "names of elements": lambda: itertools.chain([HEAD], meetings(lambda number: names(b"<a%d-%d/>", number, 50_000))),
    "names of attributes": lambda: itertools.chain(
        [HEAD],
        meetings(lambda number: b"<a%s/>" % names(b" a%d-%d=''", number, 60_000)),
    ),
    "names outside meetings": lambda: itertools.chain(
        [HEAD], (names(b"<a%d-%d/>", n, 5000) for n in itertools.count())
    ),
    "attributes of one tag": lambda: itertools.chain(
        [HEAD, b"<meeting"], (names(b" a%d-%d=''", n, 5000) for n in itertools.count())
    ),
    "attributes of meetings": lambda: itertools.chain(
        [HEAD], meetings(lambda _: b"", attributes=lambda number: names(b" a%d-%d=''", number, 60_000))
    ),
    "a giant text": lambda: itertools.chain([HEAD, b"<meeting><a>"], itertools.repeat(b"x" * 10_000)),
    "a giant text, not cut": lambda: itertools.chain([ODD_HEAD, b"<meeting><a>"], itertools.repeat(b"x" * 10_000)),
    "a giant attribute": lambda: itertools.chain([HEAD, b"<meeting a='"], itertools.repeat(b"x" * 10_000)),
    "large texts": lambda: itertools.chain([HEAD], meetings(lambda _: b"<a>%s</a>" % (b"x&amp;" * 300_000))),
    "attendees": lambda: itertools.chain(
        [HEAD],
        meetings(lambda number: b"<attendees>%s</attendees>" % b"".join(map(user, range(number, number + 20_000)))),
    ),
    "depth": lambda: itertools.chain([HEAD], itertools.repeat(b"<meeting><a>" * 1000)),
}


def main() -> None:
    """Read the answer of that name, in pieces as they come from a network."""
    parser = MeetingsParser()
    before = peak_mebibytes()
    received = 0
    try:
        for text in ANSWERS[sys.argv[1]]():
            for start in range(0, len(text), PIECE_BYTES):
                parser.feed(text[start : start + PIECE_BYTES])
            received += len(text)
            if received > BODY_BYTES:
                break
        parser.feed(b"</meetings></response>")
        outcome = f"{parser.close().count} meetings"
    except AnswerError as error:
        outcome = str(error.reason)
    print(f"{peak_mebibytes() - before:.0f} {outcome}")


if __name__ == "__main__":
    main()
