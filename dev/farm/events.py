"""What people do in a meeting: come, go, speak, show themselves and their screen. Pure functions of a seeded source."""

from collections.abc import Callable
from random import Random
from typing import Final

from dev.farm import names
from dev.farm.chance import chance
from dev.farm.model import Attendee, Meeting, Role

Event = Callable[[Random, Meeting], None]


def _new_attendee(random: Random, *, first: bool) -> Attendee:
    if first or chance(random, 0.1):
        return Attendee(names.user_id(random), names.person(random), Role.MODERATOR, presenter=first, voice=True)
    if chance(random, 0.02):
        number = f"v_{random.randrange(10**9, 10**10)}"
        return Attendee(number, f"+49 30 {random.randrange(10**5, 10**6)}", Role.DIAL_IN, voice=True)
    attendee = Attendee(names.user_id(random), names.person(random), Role.VIEWER)
    attendee.voice = chance(random, 0.5)
    attendee.listening_only = not attendee.voice and chance(random, 0.6)
    attendee.muted = attendee.voice and chance(random, 0.8)
    attendee.video = chance(random, 0.25)
    attendee.custom_data = names.custom_data(random)
    return attendee


def join(random: Random, meeting: Meeting, *, count: int = 1, user_id: str | None = None) -> None:
    """So many new users join, or one with a given ID; the first to come moderates and presents."""
    for _ in range(count):
        attendee = _new_attendee(random, first=not meeting.attendees)
        if user_id is not None:
            attendee.user_id = user_id
        meeting.attendees.append(attendee)
        meeting.ever_joined.add(attendee.user_id)
    if count:
        meeting.has_user_joined = True
        meeting.end_time = 0
    meeting.xml = None


def leave(random: Random, meeting: Meeting, *, now: int, place: int | None = None) -> None:
    """A user leaves; the presenter's place goes to the next, and a meeting that empties notes the time."""
    gone = meeting.attendees.pop(random.randrange(len(meeting.attendees)) if place is None else place)
    hand_over(meeting, gone)
    if not meeting.attendees:
        meeting.end_time = now
    meeting.xml = None


def hand_over(meeting: Meeting, gone: Attendee) -> None:
    """Passes the presenter's place on when the presenter has gone."""
    if gone.presenter and meeting.attendees:
        meeting.attendees[0].presenter = True


def change_audio(random: Random, meeting: Meeting) -> None:
    """One user goes from listening to speaking, from speaking to silence, or from silence to listening."""
    attendee = random.choice(meeting.attendees)
    if attendee.role is Role.DIAL_IN:
        return
    if attendee.listening_only:
        attendee.listening_only, attendee.voice = False, True
    elif attendee.voice:
        attendee.voice = attendee.muted = False
    else:
        attendee.listening_only = True
    meeting.xml = None


def change_mute(random: Random, meeting: Meeting) -> None:
    """One speaker mutes or unmutes the microphone; BBB's API does not show it."""
    attendee = random.choice(meeting.attendees)
    attendee.muted = attendee.voice and not attendee.muted


def change_webcam(random: Random, meeting: Meeting) -> None:
    """One user switches the camera on or off."""
    attendee = random.choice(meeting.attendees)
    if attendee.role is not Role.DIAL_IN:
        attendee.video = not attendee.video
        meeting.xml = None


def change_screen(random: Random, meeting: Meeting) -> None:
    """One user stops sharing the screen, or starts and so becomes the presenter, which is all that the API shows."""
    attendee = random.choice(meeting.attendees)
    if attendee.screen or attendee.role is Role.DIAL_IN:
        attendee.screen = False
        return
    for other in meeting.attendees:
        other.presenter = other.screen = False
    attendee.presenter = attendee.screen = True
    meeting.xml = None


_MEDIA_EVENTS: Final[tuple[Event, ...]] = (change_audio, change_mute, change_webcam, change_screen)
_MEDIA_WEIGHTS: Final = (4, 6, 3, 1)


def media_event(random: Random, meeting: Meeting) -> None:
    """Something happens in a meeting that has users, and nobody comes or goes."""
    (event,) = random.choices(_MEDIA_EVENTS, _MEDIA_WEIGHTS)
    event(random, meeting)
