"""One round of polls as a whole: from what was loaded and answered to what is to be written; no I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from b3lb.bbb.client import Poll
from b3lb.db.accounting import MonthStart, begin_months, raise_peaks
from b3lb.db.meeting_homes import move_meetings
from b3lb.db.meetings import AbsentNode, close_meetings, open_meetings
from b3lb.db.node_states import NodePoll, write_states
from b3lb.meetings.homes import Homes, find_homes
from b3lb.meetings.life import Verdict, decide_meetings
from b3lb.meetings.model import Attribution, KnownMeeting, Listing, MeetingChanges
from b3lb_jobs.core.decision import Decision, decide
from b3lb_jobs.core.duplicates import duplicates_of, former_duplicates
from b3lb_jobs.core.meeting_report import MeetingReport
from b3lb_jobs.core.verdicts import verdicts_of


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a tick works on.

    ``polls`` are all nodes that can be polled, ``due`` those whose turn it is: healthy ones first, none of them waits
    for the dead. ``absent`` are the nodes that cannot be polled and have meetings. ``meetings`` are all that have not
    ended, and ``attribution`` says whose they are. ``months`` begin with this tick. ``namespace`` is that of it all.
    """

    polls: Sequence[NodePoll]
    due: Sequence[NodePoll]
    absent: Sequence[AbsentNode] = ()
    meetings: Sequence[KnownMeeting] = ()
    attribution: Attribution = field(default_factory=dict)
    months: Sequence[MonthStart] = ()
    namespace: str = "default"

    def names(self) -> dict[int, str]:
        """Return the names of all nodes by their IDs."""
        polled = {poll.node_id: poll.name for poll in self.polls}
        return polled | {node.node_id: node.name for node in self.absent}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a round, the tick's that was due at ``at``, changes, and what there is to say about it.

    ``duplicates`` are the nodes that are the server of an older one, by their IDs, with that one. ``listed`` are the
    IDs of the nodes that were healthy and said which meetings they have.
    """

    decision: Decision
    meetings: MeetingChanges
    report: MeetingReport
    duplicates: Mapping[int, NodePoll]
    at: datetime
    listed: Sequence[int]
    months: Sequence[MonthStart]
    namespace: str

    def __bool__(self) -> bool:
        return bool(self.decision.rows or self.decision.guards or self.meetings or self.months)

    def write(self, connection: sa.Connection) -> int:
        """Store it all; return how many rows were written."""
        written = write_states(connection, self.decision.rows, self.decision.guards)
        written += move_meetings(connection, self.meetings, at=self.at)
        written += close_meetings(connection, self.meetings)
        written += begin_months(connection, self.months, listed=self.listed, at=self.at)
        written += open_meetings(connection, self.meetings, at=self.at)
        if self.meetings or self.months:
            written += raise_peaks(connection, self.namespace)
        return written


def judge(loaded: Loaded, answers: Mapping[int, Poll], *, at: datetime, jitter_source: Callable[[], float]) -> Judged:
    """Return what the answers change: health first, then the meetings by what the health is now.

    Args:
        loaded: Nodes and meetings as they were before the round.
        answers: What the polls saw, by the node's ID.
        at: When the tick was due.
        jitter_source: Returns numbers in [0, 1), one for each answer.
    """
    observations = {node_id: answer.observation for node_id, answer in answers.items()}
    listings = {node_id: answer.listing for node_id, answer in answers.items() if answer.listing is not None}
    duplicates = duplicates_of(loaded.polls, listings)
    decision = decide(loaded.polls, observations, duplicates=duplicates, now=at, jitter_source=jitter_source)
    verdicts = verdicts_of(
        loaded.polls,
        loaded.absent,
        states={node_id: state for node_id, state, *_ in decision.rows},
        listings=listings,
        duplicates=duplicates,
    )
    homes = _find_homes(loaded, listings, duplicates)
    # No poll of a tick begins before the tick is due.
    changes = decide_meetings(homes.meetings, verdicts, loaded.attribution, now=at, begun_at=at)
    changes = dataclasses.replace(changes, moved=homes.moved, dropped=homes.dropped)
    return Judged(
        decision=decision,
        meetings=changes,
        report=MeetingReport.of(homes.meetings, changes),
        duplicates=duplicates,
        at=at,
        listed=[node_id for node_id, verdict in verdicts.items() if verdict.kind is Verdict.LISTED],
        months=loaded.months,
        namespace=loaded.namespace,
    )


def _find_homes(loaded: Loaded, listings: Mapping[int, Listing], duplicates: Mapping[int, NodePoll]) -> Homes:
    """Return on which nodes the meetings are now; a node that is no duplicate any more may be all that is left."""
    gone = {node.node_id for node in loaded.absent if node.deleted}
    heirs = {
        older: node_id
        for node_id, older in former_duplicates(loaded.polls).items()
        if node_id not in duplicates and (node_id in listings or older in gone)
    }
    return find_homes(
        loaded.meetings,
        oldest={node_id: older.node_id for node_id, older in duplicates.items()},
        heirs=heirs,
        listed={
            node_id: {meeting.internal_id for meeting in listings[node_id].meetings}
            for node_id in {*heirs, *heirs.values()}
            if node_id in listings
        },
    )
