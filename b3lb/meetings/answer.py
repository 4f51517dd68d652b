"""The getMeetings answer, made of stored elements; BBB's API documentation, "getMeetings".

https://docs.bigbluebutton.org/development/api/#getmeetings
"""

from __future__ import annotations

from collections.abc import Iterable

_BEGIN = b"<response><returncode>SUCCESS</returncode>"
_END = b"</response>"
_NO_MEETINGS = b"<meetings/><messageKey>noMeetings</messageKey><message>no meetings were found on this server</message>"


def meetings_answer(elements: Iterable[bytes]) -> bytes:
    """Return the answer that lists ``elements``, each a whole ``<meeting>`` in UTF-8 without an XML declaration."""
    listed = b"".join(elements)
    return _BEGIN + (b"<meetings>" + listed + b"</meetings>" if listed else _NO_MEETINGS) + _END
