"""Whether somebody wants to be told of a recording, and by which name they know its meeting: pure functions."""

from __future__ import annotations

import html
from collections.abc import Mapping

from b3lb.callbacks.delivery import check_url
from b3lb.meetings.attribution import split_meeting_id

READY_URL = "bbb-recording-ready-url"
"""Of a meeting's metadata: whom to tell (https://docs.bigbluebutton.org/development/api/#recording-ready-callback-url)."""


def ready_url(metadata: Mapping[str, str]) -> str | None:
    """Return where to tell of a recording, None if nobody wants to be told or the URL is none.

    Some versions of BBB escape the values of metadata once more than XML asks for.
    """
    text = metadata.get(READY_URL, "").strip()
    url = html.unescape(text) if "&amp;" in text else text
    return url if check_url(url) is not None else None


def client_meeting_id(meeting_id: str) -> str | None:
    """Return the ID by which the client knows a node's meeting, None for one of no tenant."""
    name = split_meeting_id(meeting_id)
    return None if name is None else name.client_id
