"""Two BBBNodes that are one server: each meeting is listed and counted once, and a user sees why."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.bbb.client import NodeTarget, Poll
from b3lb.bbb.meetings_xml import MeetingsParser
from b3lb.db.engine import count_statements, transaction
from b3lb.db.lists import read_list
from b3lb.db.mirror.nodes import read_nodes
from b3lb.health import LoadReport, Observation, Reason
from b3lb.meetings.model import Listing
from b3lb_jobs.core.check_nodes import CheckNodes
from b3lb_jobs.core.update_secrets_lists import UpdateSecretsLists
from b3lb_jobs.database import Database
from b3lb_jobs.interface import Task, TaskContext
from b3lb_jobs.report import TaskReport
from b3lb_jobs.task_table import route
from b3lb_jobs.tick import TickPlace, run_tick
from b3lb_jobs.ticks import Plan
from dev.farm.render import get_meetings
from tests.integration.database_farm import Farm
from tests.integration.meetings_stage import SHIFT
from tests.integration.meetings_truth import Truth

pytestmark = pytest.mark.integration

OLDER, YOUNGER = "bbb-1", "bbb-2"


class Stage:
    """The nodes ``bbb-1`` and ``bbb-2``, which lead to the server ``one``; ``leads_to`` says where they lead now."""

    def __init__(self, url: str, engine: sa.Engine) -> None:
        self.farm = Farm(engine)
        self.node_ids = self.farm.fill(2)
        self.farm.fill_tenants([self.farm.tenant()], [self.farm.api_secret(sub_id=1)])
        self.truth = Truth.of(("one", "other"), ())
        self.leads_to = dict.fromkeys((OLDER, YOUNGER), "one")
        self.database = Database(url, application_name="b3lb-tests", monotonic=time.monotonic)
        with self.database.transaction():
            pass
        context = TaskContext(Farm.namespace, self.farm.keys, tick_seconds=15, max_in_flight=100)
        check_nodes = CheckNodes(context, jitter_source=lambda: 0.0)
        check_nodes._client.observe = self._observe  # type: ignore[method-assign] # the network
        self.tasks: tuple[Task[Any], ...] = (check_nodes, UpdateSecretsLists(context))

    async def _observe(self, target: NodeTarget, known: Mapping[str, bytes] | None = None) -> Poll:
        parser = MeetingsParser(known or {})
        parser.feed(get_meetings(self.truth.servers[self.leads_to[target.name]].farm))
        parsed = parser.close()
        observation = Observation(Reason.RESPONDING, "", parsed.count, parsed.attendees, LoadReport(1000), 0.01)
        return Poll(observation, Listing(parsed.meetings))

    def create(self, room: str, server: str = "one") -> None:
        """Let a meeting with two users begin."""
        place = self.truth.servers[server]
        self.truth.create(place, f"UNI-001-{room}", datetime.now(UTC))
        self.truth.join(place.farm.meetings[f"UNI-001-{room}"], count=2, moderator=True)

    def end_all(self) -> None:
        """Let all meetings end."""
        for server in self.truth.servers.values():
            server.farm.meetings.clear()

    def tick(self) -> None:
        """Do a tick of both tasks, 15 s after the last one."""
        with self.farm.engine.begin() as connection:
            connection.execute(SHIFT, {"by": timedelta(seconds=15)})
        at = datetime.now(UTC)
        end = at + timedelta(seconds=30)
        asyncio.run(self._both(at, TickPlace(self.database, Farm.namespace, "pod/1", Plan((at,), end, end))))

    async def _both(self, at: datetime, place: TickPlace) -> None:
        for entry, task in zip(route(["core"]), self.tasks, strict=True):
            report = TaskReport(entry)
            await run_tick(task, report, at, place)
            assert report.done == 1

    def meetings(self) -> list[tuple[str, str]]:
        """Return the nodes and IDs of the meetings that have not ended."""
        return [
            (node, meeting_id.removeprefix("UNI-001-"))
            for node, meeting_id in self.farm.rows(
                "SELECT nodes.name, meeting_id FROM meetings JOIN nodes ON nodes.id = node_id"
                " WHERE meetings.state = 'open' ORDER BY 1, 2"
            )
        ]

    def listed(self) -> tuple[int, int]:
        """Return the numbers of meetings and attendees of the secret's list."""
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            found = read_list(connection, Farm.namespace, "uni-001")
        assert found is not None
        return found.meetings, found.attendees

    def gauges(self) -> list[tuple[Any, ...]]:
        return self.farm.rows("SELECT meetings, attendees FROM secret_states")

    def counted(self) -> list[tuple[Any, ...]]:
        return self.farm.rows("SELECT meetings, attendees_joined FROM counters")

    def duplicate_of(self) -> dict[str, str | None]:
        """Return what the operator reads: which node is the server of which older one."""
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            return {name: row.duplicate_of for name, row in read_nodes(connection, Farm.namespace).items()}


@pytest.fixture
def stage(database_url: str, engine: sa.Engine) -> Iterator[Stage]:
    made = Stage(database_url, engine)
    yield made
    made.database.close()


def test_a_server_of_two_nodes_is_listed_and_counted_once(stage: Stage) -> None:
    stage.create("a")
    stage.tick()
    assert stage.meetings() == [(OLDER, "a")]
    assert stage.duplicate_of() == {OLDER: None, YOUNGER: OLDER}
    assert (stage.listed(), stage.gauges()) == ((1, 2), [(1, 2)])
    stage.end_all()
    stage.tick()
    assert (stage.meetings(), stage.counted()) == ([], [(1, 2)])
    assert stage.duplicate_of() == {OLDER: None, YOUNGER: OLDER}, "an empty server proves nothing"
    stage.create("b")
    stage.tick()
    assert (stage.meetings(), stage.listed()) == ([(OLDER, "b")], (1, 2))


def test_a_meeting_that_the_duplicate_saw_first_goes_to_the_older_node(stage: Stage) -> None:
    stage.leads_to[OLDER] = "other"
    stage.create("a")
    stage.tick()
    assert (stage.meetings(), stage.duplicate_of()[YOUNGER]) == ([(YOUNGER, "a")], None)
    stage.leads_to[OLDER] = "one"
    stage.tick()
    assert (stage.meetings(), stage.listed()) == ([(OLDER, "a")], (1, 2))
    stage.end_all()
    stage.tick()
    assert stage.counted() == [(1, 2)]


def test_when_the_older_node_is_deleted_the_other_one_goes_on_with_its_meetings(stage: Stage) -> None:
    stage.create("a")
    stage.tick()
    stage.farm.run("UPDATE nodes SET deleted_at = now(), revision = revision + 1 WHERE name = :name", name=OLDER)
    assert stage.duplicate_of() == {YOUNGER: None}, "the status heals before the next tick"
    stage.tick()
    assert (stage.meetings(), stage.listed(), stage.counted()) == ([(YOUNGER, "a")], (1, 2), [])
    stage.end_all()
    stage.tick()
    assert stage.counted() == [(1, 2)]


def test_when_the_older_node_gets_another_address_the_meetings_stay_with_their_server(stage: Stage) -> None:
    stage.create("a")
    stage.create("b", server="other")
    stage.tick()
    stage.leads_to[OLDER] = "other"
    stage.farm.run("UPDATE nodes SET revision = revision + 1 WHERE name = :name", name=OLDER)
    assert stage.duplicate_of() == {OLDER: None, YOUNGER: None}
    stage.tick()
    assert (stage.meetings(), stage.counted()) == ([(OLDER, "b"), (YOUNGER, "a")], [])
    assert stage.farm.rows("SELECT count(*) FROM node_states WHERE duplicate_of IS NOT NULL") == [(0,)]


def test_a_tick_in_which_nothing_changed_writes_no_state_and_no_meeting(stage: Stage) -> None:
    stage.create("a")
    stage.tick()
    stage.tick()
    rows = "SELECT ctid::text, xmin::text FROM {}"
    with count_statements(stage.database.engine) as counter:
        before = [tuple(row) for name in ("meetings", "node_states") for row in stage.farm.rows(rows.format(name))]
        at = datetime.now(UTC)
        end = at + timedelta(seconds=30)
        asyncio.run(stage._both(at, TickPlace(stage.database, Farm.namespace, "pod/1", Plan((at,), end, end))))
    after = [tuple(row) for name in ("meetings", "node_states") for row in stage.farm.rows(rows.format(name))]
    assert after == before
    assert counter.count <= 30
