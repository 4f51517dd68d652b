"""BBB's answers as XML, element for element in the order in which the node prints them.

Source: the FreeMarker templates ``bigbluebutton-web/src/main/webapp/WEB-INF/freemarker/*.ftlx`` of BigBlueButton 3.0.
They are compressed: one element a line, no indentation, no XML declaration.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from xml.sax.saxutils import escape as sax_escape

from dev.farm.model import Attendee, Meeting, Node, Role

DIAL_NUMBER: Final = "613-555-1234"
_ENTITIES: Final = {'"': "&quot;", "'": "&apos;"}
_BOOLEAN: Final = ("false", "true")


@lru_cache(maxsize=8192)
def _escape(text: str) -> str:
    return sax_escape(text, _ENTITIES)


def _grouped(number: int) -> str:
    # getMeetings prints its counts without FreeMarker's ?c, so in the English locale 1234 becomes 1,234.
    return f"{number:,}"


def _mapping(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{_escape(value)}</{name}>\n" for name, value in values.items())


def _attendee(attendee: Attendee) -> str:
    custom = attendee.custom_data
    return (
        f"<attendee>\n<userID>{attendee.user_id}</userID>\n"
        f"<fullName>{_escape(attendee.name)}</fullName>\n"
        f"<role>{attendee.role}</role>\n"
        f"<isPresenter>{_BOOLEAN[attendee.presenter]}</isPresenter>\n"
        f"<isListeningOnly>{_BOOLEAN[attendee.listening_only]}</isListeningOnly>\n"
        f"<hasJoinedVoice>{_BOOLEAN[attendee.voice]}</hasJoinedVoice>\n"
        f"<hasVideo>{_BOOLEAN[attendee.video]}</hasVideo>\n"
        f"<clientType>{'DIAL-IN' if attendee.role is Role.DIAL_IN else 'HTML5'}</clientType>\n"
        f"{'' if custom is None else f'<customdata>{chr(10)}{_mapping(custom)}</customdata>{chr(10)}'}"
        "</attendee>\n"
    )


def _passwords(meeting: Meeting, *, omit_empty: bool) -> str:
    passwords = {"attendeePW": meeting.attendee_password, "moderatorPW": meeting.moderator_password}
    return _mapping({name: value for name, value in passwords.items() if value or not omit_empty})


def _breakout(meeting: Meeting) -> str:
    text = f"<isBreakout>{_BOOLEAN[meeting.breakout is not None]}</isBreakout>\n"
    if meeting.breakout is not None:
        text += (
            f"<parentMeetingID>{meeting.breakout.parent_internal_id}</parentMeetingID>\n"
            f"<sequence>{meeting.breakout.sequence}</sequence>\n"
            f"<freeJoin>{_BOOLEAN[meeting.breakout.free_join]}</freeJoin>\n"
        )
    if meeting.breakout_rooms:
        rooms = "".join(f"<breakout>{_escape(room)}</breakout>\n" for room in meeting.breakout_rooms)
        text += f"<breakoutRooms>\n{rooms}</breakoutRooms>\n"
    return text


def _fields(meeting: Meeting, *, number: Callable[[int], str], omit_empty_passwords: bool) -> str:
    create_date = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(meeting.create_time / 1000))
    return (
        f"<meetingName>{_escape(meeting.name)}</meetingName>\n"
        f"<meetingID>{_escape(meeting.meeting_id)}</meetingID>\n"
        f"<internalMeetingID>{meeting.internal_id}</internalMeetingID>\n"
        f"<createTime>{meeting.create_time}</createTime>\n"
        f"<createDate>{create_date}</createDate>\n"
        f"<voiceBridge>{meeting.voice_bridge}</voiceBridge>\n"
        f"<dialNumber>{DIAL_NUMBER}</dialNumber>\n"
        f"{_passwords(meeting, omit_empty=omit_empty_passwords)}"
        f"<running>{_BOOLEAN[meeting.running]}</running>\n"
        f"<duration>{meeting.duration}</duration>\n"
        f"<hasUserJoined>{_BOOLEAN[meeting.has_user_joined]}</hasUserJoined>\n"
        f"<recording>{_BOOLEAN[meeting.recording]}</recording>\n"
        f"<hasBeenForciblyEnded>{_BOOLEAN[meeting.forcibly_ended]}</hasBeenForciblyEnded>\n"
        f"<startTime>{meeting.start_time}</startTime>\n"
        f"<endTime>{meeting.end_time}</endTime>\n"
        f"<participantCount>{number(len(meeting.attendees))}</participantCount>\n"
        f"<listenerCount>{number(meeting.listener_count)}</listenerCount>\n"
        f"<voiceParticipantCount>{number(meeting.voice_count)}</voiceParticipantCount>\n"
        f"<videoCount>{number(meeting.video_count)}</videoCount>\n"
        f"<maxUsers>{number(meeting.max_users)}</maxUsers>\n"
        f"<moderatorCount>{number(meeting.moderator_count)}</moderatorCount>\n"
        f"<attendees>\n{''.join(map(_attendee, meeting.attendees))}</attendees>\n"
        f"<metadata>\n{_mapping(meeting.metadata)}</metadata>\n"
        f"{_breakout(meeting)}"
    )


def _response(content: str) -> bytes:
    return f"<response>\n{content}</response>".encode()


def meeting_element(meeting: Meeting) -> bytes:
    """The meeting's element in getMeetings, rendered anew."""
    fields = _fields(meeting, number=_grouped, omit_empty_passwords=False)
    return f"<meeting>\n{fields}</meeting>\n".encode()


def _cached_element(meeting: Meeting) -> bytes:
    if meeting.xml is None:
        meeting.xml = meeting_element(meeting)
    return meeting.xml


def get_meetings(node: Node) -> bytes:
    """The answer to getMeetings; elements of meetings that did not change are not rendered again."""
    if not node.meetings:
        return _response(
            "<returncode>SUCCESS</returncode>\n<meetings/>\n<messageKey>noMeetings</messageKey>\n"
            "<message>no meetings were found on this server</message>\n"
        )
    elements = b"".join(map(_cached_element, node.meetings.values()))
    return b"<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n%b</meetings>\n</response>" % elements


def get_meeting_info(meeting: Meeting) -> bytes:
    """The answer to getMeetingInfo: plain numbers, and no element for an empty password."""
    return _response(f"<returncode>SUCCESS</returncode>\n{_fields(meeting, number=str, omit_empty_passwords=True)}")


def is_meeting_running(*, running: bool) -> bytes:
    """The answer to isMeetingRunning."""
    return _response(f"<returncode>SUCCESS</returncode>\n<running>{_BOOLEAN[running]}</running>\n")


def version(origin: str) -> bytes:
    """The answer to the API's index page; ``origin`` is the node's scheme, host and port."""
    return _response(
        "<returncode>SUCCESS</returncode>\n<version>2.0</version>\n<apiVersion>2.0</apiVersion>\n"
        "<bbbVersion>3.0.8</bbbVersion>\n"
        f"<graphqlWebsocketUrl>{origin.replace('http', 'ws', 1)}/graphql</graphqlWebsocketUrl>\n"
        f"<graphqlApiUrl>{origin}/api/rest</graphqlApiUrl>\n"
    )


def failed(key: str, message: str) -> bytes:
    """A failure; BBB sends it with HTTP status 200."""
    return _response(
        f"<returncode>FAILED</returncode>\n<messageKey>{_escape(key)}</messageKey>\n<message>{_escape(message)}</message>\n"
    )
