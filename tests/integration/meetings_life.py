"""A farm in the database with all tasks of the queues core and statistics, whose network asks the truth."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from lxml import etree

from b3lb.bbb.client import NodeTarget, Poll
from b3lb.bbb.meetings_xml import MeetingsParser
from b3lb.db.accounting import load_accounts
from b3lb.db.counters import read_counters
from b3lb.db.engine import create_engine, transaction
from b3lb.db.lists import read_list
from b3lb.db.secret_metrics import load_secret_metrics
from b3lb.db.secret_states import gauges
from b3lb.db.tenant_stats import load_changed_stats, load_texts
from b3lb.health import GuardPolicy, LoadReason, LoadReport, Observation, Reason
from b3lb.meetings.model import Listing
from b3lb.metrics.tenants import tenant_text
from b3lb.tasks import CHECK_NODES, UPDATE_SECRETS_LISTS, UPDATE_STATISTICS
from b3lb_jobs.core.check_nodes import CheckNodes
from b3lb_jobs.core.update_secrets_lists import UpdateSecretsLists
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError
from b3lb_jobs.interface import Task, TaskContext
from b3lb_jobs.report import TaskReport
from b3lb_jobs.statistics.update_statistics import UpdateStatistics
from b3lb_jobs.task_table import route
from b3lb_jobs.tick import TickPlace, run_tick
from b3lb_jobs.ticks import Plan
from dev.farm.render import get_meetings
from tests.integration.database_farm import Farm
from tests.integration.meetings_stage import CLEAN, SHIFT
from tests.integration.meetings_truth import Owner, Sight, Truth

MOST_STATEMENTS = 60
_ENTRIES = route([CHECK_NODES, UPDATE_SECRETS_LISTS, UPDATE_STATISTICS])
NODES = ("bbb-1", "bbb-2", "bbb-3")
LATE: Owner = ("BETA", 2)
OWNERS: tuple[Owner, ...] = (("ALPHA", 0), ("ALPHA", 1), ("ALPHA", 2), ("BETA", 0), ("BETA", 1), LATE)


_MONTHS = sa.text(
    """
    SELECT tenants.name, participant_milliseconds, meeting_milliseconds, closed_at, peak_meetings, peak_attendees
    FROM accounting JOIN tenants ON tenants.id = tenant_id
    """
)


_STATS = sa.text(
    """
    SELECT secret_id, sum(meetings)::integer AS meetings, sum(attendees)::integer AS attendees
    FROM tenant_stats GROUP BY secret_id
    """
)


class KilledError(Exception):
    """The job is gone."""


class Stage:
    """The database, all tasks of the queues core and statistics, and a network that asks the truth."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, application_name="b3lb-tests")
        farm = Farm(self.engine)
        # No guard: three nodes fail together all the time.
        cluster = farm.cluster(guard=GuardPolicy(maximum_seconds=0), timeout_seconds=1)
        self.node_ids = farm.fill([farm.node(name) for name in NODES], [cluster])
        secrets = [farm.api_secret(slug.lower(), sub_id) for slug, sub_id in OWNERS]
        self.secret_ids = farm.fill_tenants([farm.tenant("alpha"), farm.tenant("beta")], secrets)
        self.database = Database(url, application_name="b3lb-tests", monotonic=time.monotonic)
        with self.database.transaction():
            pass
        sa.event.listen(self.database.engine, "before_cursor_execute", self._count)
        self._commit = self.database.engine.dialect.do_commit
        self.database.engine.dialect.do_commit = self._commit_and_lose_the_answer  # type: ignore[method-assign, assignment] # the network
        context = TaskContext(farm.namespace, farm.keys, tick_seconds=15, max_in_flight=100)
        check_nodes = CheckNodes(context, jitter_source=lambda: 0.99)
        check_nodes._client.observe = self._observe  # type: ignore[method-assign] # the network
        self.tasks: tuple[Task[Any], ...] = (
            check_nodes,
            UpdateSecretsLists(context),
            UpdateStatistics(context),
        )
        self.loop = asyncio.Runner()
        self.begin()

    def begin(self) -> None:
        """Begin with an empty farm."""
        self.run(CLEAN)
        self.truth = Truth.of(NODES, [owner for owner in OWNERS if owner != LATE])
        self.shift = timedelta(0)
        self.kills = 0
        self.statements = 0
        self.kill_at = 0
        self.cut_at = 0
        self.lose_commit = 0
        self.polled: set[str] = set()

    def close(self) -> None:
        self.loop.close()
        self.database.close()
        self.engine.dispose()

    def now(self) -> datetime:
        """Return the truth's time."""
        return datetime.now(UTC) + self.shift

    def run(self, statement: sa.TextClause, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement, parameters)

    def pass_time(self, by: timedelta) -> None:
        """Let time pass: to the database everything happened longer ago."""
        self.shift += by
        self.run(SHIFT, by=by)

    def configure(self, name: str) -> None:
        """Make a node what the truth says; it is polled anew."""
        server = self.truth.servers[name]
        statement = """
            UPDATE nodes SET revision = revision + 1, state = :state, deleted_at = CASE WHEN :removed THEN now() END
            WHERE name = :name
        """
        state = "Disabled" if server.disabled else "Active"
        self.run(sa.text(statement), name=name, state=state, removed=server.removed)

    def tick(self, *, kill_at: int = 0, cut_at: int = 0, lose_commit: int = 0) -> bool:
        """Do a tick of all tasks; return whether it came to its end.

        Counted from 1, the job is killed at a statement, its connection cut before one, or a commit's answer lost.
        """
        self.cut_at, self.lose_commit = cut_at, lose_commit
        ended = False
        at = datetime.now(UTC)
        self.polled, self.statements, self.kill_at = set(), 0, kill_at
        end = at + timedelta(seconds=50)
        place = TickPlace(self.database, Farm.namespace, f"pod/{self.kills}", Plan((at,), end, end))
        try:
            self.loop.run(self._all(at, place))
            ended = True
        except KilledError:
            self.kills += 1
        except TransientError:
            if not cut_at and not lose_commit:
                raise
            self.kills += 1
        whole = ended and 0 < self.statements <= MOST_STATEMENTS
        self.kill_at = self.cut_at = self.lose_commit = 0
        if self._committed(at):
            self.truth.tick(at + self.shift, self.polled)
        return whole

    async def _all(self, at: datetime, place: TickPlace) -> None:
        for entry, task in zip(_ENTRIES, self.tasks, strict=True):
            report = TaskReport(entry)
            await run_tick(task, report, at, place)
            assert report.done == 1, f"{entry.name} did not tick"

    def _count(self, *_: object) -> None:
        self.statements += 1
        if self.statements == self.cut_at:
            self.database._cut(None)
        if self.statements == self.kill_at:
            raise KilledError

    def _commit_and_lose_the_answer(self, connection: Any) -> None:
        self._commit(connection)
        self.lose_commit -= 1
        if self.lose_commit == 0:
            self.database._cut(None)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    async def _observe(self, target: NodeTarget, known: Mapping[str, bytes] | None = None) -> Poll:
        self.polled.add(target.name)
        server = self.truth.servers[target.name]
        if not server.answering:
            load = LoadReport(None, LoadReason.UNREACHABLE, "no")
            return Poll(Observation(Reason.REFUSED, "no", 0, 0, load, 0.01), None)
        parser = MeetingsParser(known or {})
        parser.feed(get_meetings(server.farm))
        parsed = parser.close()
        observation = Observation(Reason.RESPONDING, "", parsed.count, parsed.attendees, LoadReport(1000), 0.01)
        return Poll(observation, Listing(parsed.meetings, server.clock_ahead + self.shift))

    def _committed(self, at: datetime) -> bool:
        query = sa.text("SELECT count(*) FROM heartbeats WHERE task = 'check-nodes' AND tick_at = :at")
        with self.engine.connect() as connection:
            return bool(connection.execute(query, {"at": at}).scalar_one())

    def compare(self, *, whole: bool) -> None:
        """Compare what the database says with the truth; gauges only after a whole tick."""
        with transaction(self.engine, timeout_seconds=10) as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT nodes.name, internal_id, meetings.state, secret_id"
                    " FROM meetings JOIN nodes ON nodes.id = node_id"
                )
            ).all()
            counters = read_counters(connection, Farm.namespace)
            own = connection.execute(
                sa.text("SELECT secret_id, meetings, attendees_joined, duration_milliseconds FROM counters")
            )
            accounts = {account.tenant: account.found[:2] for account in load_accounts(connection, Farm.namespace)}
            months = connection.execute(_MONTHS).all()
            changed_stats = load_changed_stats(connection, Farm.namespace)
            stats = connection.execute(_STATS).all()
            metrics = load_secret_metrics(connection, Farm.namespace)
            texts = load_texts(connection, Farm.namespace)
            counted = {secret_id: tuple(numbers) for secret_id, *numbers in own}
            noted = gauges(connection, Farm.namespace)
            lists = {owner: read_list(connection, Farm.namespace, owner_name(owner)) for owner in self.truth.owners}
        sights = self.truth.sights.values()
        assert {tuple(row) for row in rows} == {
            (sight.node, sight.internal_id, sight.state, self._id(sight.owner)) for sight in sights
        }
        assert len(rows) == len(self.truth.sights)
        assert counted == {self._id(owner): numbers for owner, numbers in self.truth.counters().items()}
        assert all(counter.meetings == counter.duration_count for counter in counters.values())
        self._compare_accounts(accounts, months)
        if whole:
            assert not changed_stats
            assert {(row.secret_id, row.meetings, row.attendees) for row in stats} == self._running()
            assert {text.slug: text.text for text in texts} == {
                slug: tenant_text(metrics, slug) for slug in ("ALPHA", "BETA")
            }
            noted_months = {month.name: month[1:3] for month in months if month.closed_at is None}
            assert {tenant: tuple(noted) for tenant, noted in noted_months.items()} == accounts
        for owner, found in lists.items():
            assert found is not None
            expected = [] if found.reason else self.truth.open_of(owner)
            assert [_entry(element) for element in found.elements] == [_expected(sight) for sight in expected]
            assert (found.meetings, found.attendees) == (len(expected), sum(len(sight.users) for sight in expected))
            if whole:
                totals = noted[self.secret_ids[owner_name(owner)]]
                sums = tuple(sum(column) for column in zip(*(sight.gauges for sight in expected), strict=True))
                assert (totals.meetings, totals.attendees) == (found.meetings, found.attendees)
                assert (totals.listeners, totals.voices, totals.videos, totals.moderators) == (sums or (0, 0, 0, 0))

    def _compare_accounts(self, accounts: Mapping[str, tuple[int, int]], months: Sequence[sa.Row[Any]]) -> None:
        """Compare what all months of each tenant come to, and the greatest of their peaks, with the truth."""
        truth = self.truth.accounts()
        for tenant, found in accounts.items():
            closed = [month for month in months if month.name == tenant and month.closed_at is not None]
            sums = tuple(now + sum(month[number] for month in closed) for number, now in enumerate(found, start=1))
            assert sums == truth.get(tenant.upper(), (0, 0))
            peaks = [(month.peak_meetings, month.peak_attendees) for month in months if month.name == tenant]
            highest = tuple(max(column) for column in zip(*peaks, strict=True))
            assert highest == self.truth.peaks.get(tenant.upper(), (0, 0))

    def _running(self) -> set[tuple[int | None, int, int]]:
        """Return the secrets that have open meetings, with their number and that of their attendees."""
        found: dict[int | None, tuple[int, int]] = {}
        for sight in self.truth.sights.values():
            if sight.state == "open" and sight.owner is not None:
                meetings, attendees = found.get(self._id(sight.owner), (0, 0))
                found[self._id(sight.owner)] = meetings + 1, attendees + len(sight.users)
        return {(secret_id, *numbers) for secret_id, numbers in found.items()}

    def _id(self, owner: Owner | None) -> int | None:
        return None if owner is None else self.secret_ids[owner_name(owner)]


def owner_name(owner: Owner) -> str:
    return f"{owner[0].lower()}-{owner[1]:03}"


def _entry(element: bytes) -> tuple[str | None, str | None, frozenset[str | None]]:
    root = etree.fromstring(element)
    users = frozenset(user.text for user in root.iterfind("attendees/attendee/userID"))
    assert root.findtext("participantCount") == str(len(users))
    return root.findtext("internalMeetingID"), root.findtext("meetingID"), users


def _expected(sight: Sight) -> tuple[str, str, frozenset[str]]:
    return sight.internal_id, sight.client_id, sight.users
