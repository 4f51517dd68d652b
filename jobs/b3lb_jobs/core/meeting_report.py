"""What a round did to meetings, in numbers and in rows for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from b3lb.bbb.text import printable
from b3lb.meetings.model import KnownMeeting, MeetingChanges, MeetingState, MeetingWrite
from b3lb_jobs.interface import Event
from b3lb_jobs.words import arrow

MOST_ROWS = 50
"""Of more meetings than that, a dry run says only how many there are per node."""

MOST_NODES = 20
"""Nodes that a log line names, those with most meetings first."""

_ID_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class MeetingReport:
    """What happened to which meeting.

    ``new`` and ``changed`` are written ones; ``found``, ``lost`` and ``ended`` those that only change their state.
    ``open_after`` and ``lost_after`` are how many there are now.
    """

    new: tuple[MeetingWrite, ...]
    changed: tuple[tuple[KnownMeeting, MeetingWrite], ...]
    found: tuple[KnownMeeting, ...]
    lost: tuple[KnownMeeting, ...]
    ended: tuple[KnownMeeting, ...]
    open_after: int
    lost_after: int

    @classmethod
    def of(cls, known: Sequence[KnownMeeting], changes: MeetingChanges) -> MeetingReport:
        """Return the report of ``changes`` to the ``known`` meetings."""
        by_id = {meeting.id: meeting for meeting in known}
        by_place = {(meeting.node_id, meeting.internal_id): meeting for meeting in known}
        new, changed = [], []
        for write in changes.writes:
            before = by_place.get((write.node_id, write.internal_id))
            if before is None:
                new.append(write)
            else:
                changed.append((before, write))
        opened = {*changes.found, *(before.id for before, _ in changed)}
        stay_lost = sum(
            meeting.id not in opened and meeting.id not in changes.ended
            for meeting in known
            if meeting.state is MeetingState.LOST
        )
        lost_after = stay_lost + len(changes.lost)
        return cls(
            new=tuple(new),
            changed=tuple(changed),
            found=tuple(by_id[row_id] for row_id in changes.found),
            lost=tuple(by_id[row_id] for row_id in changes.lost),
            ended=tuple(by_id[row_id] for row_id in changes.ended),
            open_after=len(known) + len(new) - len(changes.ended) - lost_after,
            lost_after=lost_after,
        )

    def summary(self) -> dict[str, int]:
        """Return the numbers for the heartbeat."""
        return {
            "meetings_open": self.open_after,
            "meetings_lost": self.lost_after,
            "meetings_new": len(self.new),
            "meetings_changed": len(self.changed),
            "meetings_found": len(self.found),
            "meetings_ended": len(self.ended),
        }

    def events(self, names: Mapping[int, str]) -> Iterator[Event]:
        """Yield one line if meetings were lost or ended, with their numbers by the node's name.

        Args:
            names: The names of the nodes by their IDs.
        """
        if self.lost or self.ended:
            fields = {"lost": _by_name(self.lost, names), "ended": _by_name(self.ended, names)}
            yield Event("meetings were lost or ended", {name: counts for name, counts in fields.items() if counts})

    def rows(self, names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return a row for every meeting, or one for every node if there are more than `MOST_ROWS`.

        Args:
            names: The names of the nodes by their IDs.
        """
        count = sum(len(group) for group in (self.new, self.changed, self.found, self.lost, self.ended))
        return list(self._rows_of_nodes(names) if count > MOST_ROWS else self._rows_of_meetings(names))

    def _rows_of_meetings(self, names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
        for write in self.new:
            yield _row(write, "new", names, arrow(None, write.attendees))
        for before, write in self.changed:
            yield _row(write, "changed", names, arrow(before.attendees, write.attendees))
        for word, meetings in (("found", self.found), ("lost", self.lost), ("ended", self.ended)):
            for meeting in meetings:
                yield _row(meeting, word, names, str(meeting.attendees))

    def _rows_of_nodes(self, names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
        counts: dict[int, Counter[str]] = {}
        groups: dict[str, Iterable[MeetingWrite | KnownMeeting]] = {
            "new": self.new,
            "changed": [write for _, write in self.changed],
            "found": self.found,
            "lost": self.lost,
            "ended": self.ended,
        }
        for word, meetings in groups.items():
            for meeting in meetings:
                counts.setdefault(meeting.node_id, Counter())[word] += 1
        for node_id, numbers in sorted(counts.items()):
            message = ", ".join(f"{count} {word}" for word, count in numbers.items())
            yield {"object": f"meetings of {_name(node_id, names)}", "message": message}


def _row(meeting: MeetingWrite | KnownMeeting, word: str, names: Mapping[int, str], attendees: str) -> dict[str, Any]:
    meeting_id = printable(meeting.meeting_id, _ID_CHARACTERS)
    return {
        "object": f"meeting/{printable(meeting.internal_id, _ID_CHARACTERS)}",
        "reason": word,
        "attendees": attendees,
        "message": f"{meeting_id} on {_name(meeting.node_id, names)}",
    }


def _by_name(meetings: Iterable[KnownMeeting], names: Mapping[int, str]) -> dict[str, int]:
    return dict(Counter(_name(meeting.node_id, names) for meeting in meetings).most_common(MOST_NODES))


def _name(node_id: int, names: Mapping[int, str]) -> str:
    return names.get(node_id, f"#{node_id}")
