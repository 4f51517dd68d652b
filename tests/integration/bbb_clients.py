"""Two clients of the BBB API that others wrote, and what they read of meetings beside the farm's truth."""

import importlib
import json
import warnings
from functools import cache
from typing import Any

from dev.farm.messages import MeetingTruth

bbbctl = importlib.import_module("bbbctl")
with warnings.catch_warnings():
    # The library has regular expressions with "\/" in ordinary strings.
    warnings.filterwarnings("ignore", message=".*invalid escape sequence")
    bigbluebutton_api_python = importlib.import_module("bigbluebutton_api_python")
    BBBError: Any = importlib.import_module("bigbluebutton_api_python.exception").BBBException


@cache
def bbbctl_client(api_url: str, secret: str) -> Any:
    return bbbctl.BBBApiClient(api_url, secret)


def by_bbbctl(api_url: str, secret: str) -> list[dict[str, Any]]:
    """Return the meetings as bbbctl reads them."""
    elements = bbbctl_client(api_url, secret).getMeetings()
    return [json.loads(bbbctl.format_json(element)) for element in elements]


def by_bigbluebutton_api_python(api_url: str, secret: str) -> list[Any]:
    """Return the meetings as bigbluebutton-api-python reads them."""
    response = bigbluebutton_api_python.BigBlueButton(f"{api_url}/", secret).get_meetings()
    if response.get_field("meetings"):
        # The library itself forgets that a single element is no list.
        response.get_field("meetings")["meeting"].list(in_place=True)
    meetings: list[Any] = response.get_meetings()
    return meetings


def shown(meeting: MeetingTruth, *, meeting_id: str | None = None) -> tuple[object, ...]:
    """Return what `seen_by_bbbctl` shall find; its first eight are `seen_by_bigbluebutton_api_python`'s."""
    return (
        meeting.meeting_id if meeting_id is None else meeting_id,
        meeting.name,
        meeting.create_time,
        meeting.attendees,
        meeting.listeners,
        meeting.voices,
        meeting.videos,
        meeting.forcibly_ended,
        meeting.running,
        meeting.moderators,
        meeting.internal_meeting_id,
        meeting.parent_meeting_id,
        meeting.attendees,
    )


def seen_by_bbbctl(meeting: dict[str, Any]) -> tuple[object, ...]:
    return (
        meeting["meetingID"],
        meeting["meetingName"],
        meeting["createTime"],
        meeting["participantCount"],
        meeting["listenerCount"],
        meeting["voiceParticipantCount"],
        meeting["videoCount"],
        meeting["hasBeenForciblyEnded"],
        meeting["running"],
        meeting["moderatorCount"],
        meeting["internalMeetingID"],
        meeting.get("parentMeetingID"),
        len(meeting["attendees"]),
    )


def seen_by_bigbluebutton_api_python(meeting: Any) -> tuple[object, ...]:
    return (
        meeting.get_meetingid(),
        meeting.get_meetingname(),
        meeting.get_createtime(),
        meeting.get_participantcount(),
        meeting.get_listenercount(),
        meeting.get_voiceparticipantcount(),
        meeting.get_videocount(),
        meeting.has_been_forcibly_ended(),
    )
