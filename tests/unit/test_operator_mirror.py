"""Statuses follow the database: at once by notification, slowly in any case, and not a write more than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from b3lb.db.mirror import Snapshot
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import CLUSTER, NODE, Key, Manifest
from b3lb_operator.kube import UnavailableError
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.manifests.facts import Block
from b3lb_operator.mirror import Mirror
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store
from tests.unit.operator_fakes import (
    NOW,
    FakeDatabase,
    FakeKube,
    cluster_manifest,
    key,
    node_manifest,
    node_row,
    node_state,
    snapshot_of,
)

pytestmark = [pytest.mark.looptime]


class Clusters:
    """What the synchronisation knows of clusters."""

    def __init__(self) -> None:
        self.storing_error = ""
        self.comparisons: list[float] = []
        self.known = True
        self.block: Block | None = None

    def queue_block(self, _name: Key) -> Block | None:
        return None

    def request_full(self) -> None:
        self.comparisons.append(asyncio.get_running_loop().time())

    def cluster_outcome(self, name: Key) -> ClusterOutcome | None:
        return ClusterOutcome(f"bbbclusters-{name.name}", 1, self.block) if self.known else None


class Fixture:
    """A running mirror of a namespace with a cluster and some nodes, on an API server in memory."""

    def __init__(self, *names: str) -> None:
        self.kube = FakeKube()
        self.database = FakeDatabase()
        self.store = Store(lambda _: None)
        self.clusters = Clusters()
        self.deleting: list[Key] = []
        self.reads: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.start = self.loop.time()
        self.rows = {name: node_row(node_manifest(name)) for name in names}
        self.tick_lag = timedelta(seconds=5)
        self.ticking = True
        self.truncated = False
        self.store.observe(CLUSTER, "ADDED", self.kube.put(CLUSTER, cluster_manifest()))
        for name in names:
            self.store.observe(NODE, "ADDED", self.kube.put(NODE, node_manifest(name)))
        self.database.answer = self._read
        writer = StatusWriter(self.kube, self.store, EventRecorder(self.kube, instance="pod"), clock=self.loop.time)
        self.mirror = Mirror(
            "farm",
            store=self.store,
            database=self.database,
            writer=writer,
            sync=self.clusters,
            problem_of=lambda _: "",
            on_deleting=self.deleting.append,
        )

    def _read(self) -> Snapshot:
        elapsed = timedelta(seconds=self.loop.time() - self.start)
        self.reads.append(self.loop.time() - self.start)
        now = NOW + elapsed
        if self.truncated:
            return Snapshot(now, {}, {}, {})
        return snapshot_of(*self.rows.values(), now=now, tick_at=now - self.tick_lag if self.ticking else NOW)

    def set(self, name: str, **fields: Any) -> None:
        """Write a node's state into the database."""
        self.rows[name] = node_row(node_manifest(name), state=node_state(**fields))

    def status(self, name: str) -> Any:
        return self.kube.object(NODE, name).get("status")

    def condition(self, name: str, type_: str = "Ready") -> str:
        (found,) = (item for item in self.status(name)["conditions"] if item["type"] == type_)
        return f"{found['status']}/{found['reason']}"

    def cluster_ready(self) -> str:
        ready = self.kube.object(CLUSTER, "default")["status"]["conditions"][0]
        return f"{ready['status']}/{ready['reason']}"

    def node_writes(self, name: str) -> list[Manifest]:
        return [body["status"] for _, path, body in self.kube.writes if path == f"{NODE.path('farm', name)}/status"]


@asynccontextmanager
async def running(fixture: Fixture) -> AsyncIterator[None]:
    task = asyncio.create_task(fixture.mirror.run())
    fixture.mirror.request()
    await asyncio.sleep(1)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_look_writes_every_status_once_and_then_rests() -> None:
    fixture = Fixture("a", "b")
    async with running(fixture):
        assert fixture.condition("a") == "True/Responding"
        assert fixture.kube.object(CLUSTER, "default")["status"]["nodes"]["summary"] == "2/2"
        writes = len(fixture.kube.writes)
        await asyncio.sleep(600)
    assert len(fixture.kube.writes) == writes == 3


async def test_a_restart_writes_nothing() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        pass
    again = Fixture("a")
    again.rows = fixture.rows
    for kind, name in ((NODE, "a"), (CLUSTER, "default")):
        again.store.observe(kind, "MODIFIED", again.kube.put(kind, fixture.kube.object(kind, name)))
    async with running(again):
        await asyncio.sleep(60)
    assert again.kube.requests == []


async def test_a_changed_condition_is_written_within_a_moment_of_the_notification() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        fixture.set("a", ready=False, failures=3)
        fixture.mirror.request()
        await asyncio.sleep(0.5)
        assert fixture.condition("a").startswith("False/")


async def test_without_a_notification_it_is_written_within_ten_seconds() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        fixture.set("a", ready=False, failures=3)
        await asyncio.sleep(11)
        assert fixture.condition("a").startswith("False/")


async def test_a_storm_of_notifications_costs_at_most_five_reads_a_second() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        fixture.reads.clear()
        for _ in range(1000):
            fixture.mirror.request()
            await asyncio.sleep(0.002)
    assert len(fixture.reads) <= 12
    assert all(later - earlier >= 0.199 for earlier, later in zip(fixture.reads, fixture.reads[1:], strict=False))


async def test_numbers_are_written_every_thirty_seconds_at_most_and_the_last_ones_are_never_lost() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        for number in range(1, 26):
            fixture.set("a", meetings=number)
            fixture.mirror.request()
            await asyncio.sleep(2)
        assert len(fixture.node_writes("a")) == 3
        await asyncio.sleep(30)
        assert len(fixture.node_writes("a")) == 4
        assert fixture.status("a")["meetings"] == 25


async def test_a_condition_takes_its_numbers_along_at_once() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        for number in (6, 7):
            fixture.set("a", meetings=number)
            fixture.mirror.request()
            await asyncio.sleep(1)
        assert fixture.status("a")["meetings"] == 6
        fixture.set("a", meetings=8, failures=1)
        fixture.mirror.request()
        await asyncio.sleep(1)
        assert fixture.condition("a", "Schedulable") == "False/Suspect"
        assert fixture.status("a")["meetings"] == 8


async def test_a_database_that_is_away_leaves_all_statuses_for_150_s_and_then_they_say_so() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        writes = len(fixture.kube.writes)
        fixture.database.fail = "connection refused"
        with structlog.testing.capture_logs() as logs:
            await asyncio.sleep(140)
            assert len(fixture.kube.writes) == writes
            await asyncio.sleep(30)
        assert logs == [], "the database tells of its outages itself"
        assert fixture.condition("a") == "Unknown/DatabaseUnavailable"
        fixture.database.fail = ""
        fixture.mirror.request()
        await asyncio.sleep(1)
        assert fixture.condition("a") == "True/Responding"


async def test_a_change_that_cannot_be_stored_shows_what_the_user_wants_within_four_seconds() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        changed = {**fixture.kube.object(NODE, "a"), "spec": node_manifest("a", state="Cordoned")["spec"]}
        changed["metadata"] = {**changed["metadata"], "generation": 2, "resourceVersion": "900"}
        fixture.store.observe(NODE, "MODIFIED", fixture.kube.put(NODE, changed))
        fixture.mirror.request()
        await asyncio.sleep(2)
        assert fixture.condition("a", "Schedulable") == "True/Schedulable"
        await asyncio.sleep(2)
        assert fixture.condition("a", "Schedulable") == "False/Cordoned"
        assert fixture.condition("a") == "True/Responding"


async def test_rows_that_got_lost_are_compared_within_fourteen_seconds_and_nothing_is_called_accepted() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        assert fixture.cluster_ready() == "True/Accepted"
        fixture.truncated = True
        await asyncio.sleep(13.5)
        assert len(fixture.clusters.comparisons) == 1
        assert fixture.cluster_ready() == "Unknown/Pending"
        assert fixture.condition("a") == "Unknown/Pending"
        fixture.truncated = False
        fixture.mirror.request()
        await asyncio.sleep(1)
        assert (fixture.cluster_ready(), fixture.condition("a")) == ("True/Accepted", "True/Responding")
        await asyncio.sleep(600)
        assert len(fixture.clusters.comparisons) == 1


async def test_comparisons_that_do_not_help_become_rare_and_none_is_asked_for_while_nothing_can_be_stored() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        fixture.rows = {}
        fixture.clusters.storing_error = "it is read-only"
        await asyncio.sleep(60)
        assert fixture.clusters.comparisons == []
        fixture.clusters.storing_error = ""
        await asyncio.sleep(3600)
        assert 10 < len(fixture.clusters.comparisons) < 20


async def test_a_restored_database_is_compared_within_eleven_seconds_although_every_row_has_its_generation() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        await asyncio.sleep(30)
        fixture.tick_lag = timedelta(seconds=40)
        await asyncio.sleep(11)
        assert len(fixture.clusters.comparisons) == 1
        assert fixture.condition("a") == "True/Responding"


async def test_an_operator_that_starts_without_a_database_leaves_what_was_said_for_150_s() -> None:
    fixture = Fixture("a")
    async with running(fixture):
        assert fixture.cluster_ready() == "True/Accepted"
    again = Fixture("a")
    for kind, name in ((NODE, "a"), (CLUSTER, "default")):
        again.store.observe(kind, "MODIFIED", again.kube.put(kind, fixture.kube.object(kind, name)))
    again.clusters.known = False
    again.database.fail = "connection refused"
    async with running(again):
        await asyncio.sleep(140)
        assert again.kube.requests == []
        await asyncio.sleep(30)
        assert again.condition("a") == "Unknown/DatabaseUnavailable"
        assert again.cluster_ready() == "True/Accepted"
        status = again.kube.object(CLUSTER, "default")["status"]
        assert status["conditions"][1]["reason"] == "DatabaseUnavailable"
        assert "meetings" not in status


async def test_without_a_database_a_new_cluster_is_not_accepted() -> None:
    fixture = Fixture()
    fixture.clusters.known = False
    fixture.database.fail = "connection refused"
    async with running(fixture):
        assert fixture.cluster_ready() == "Unknown/Pending"
        await asyncio.sleep(170)
        assert fixture.cluster_ready() == "Unknown/DatabaseUnavailable"


async def test_health_checks_that_stopped_150_s_ago_make_ready_unknown() -> None:
    fixture = Fixture("a")
    fixture.ticking = False
    async with running(fixture):
        await asyncio.sleep(140)
        assert fixture.condition("a") == "True/Responding"
        await asyncio.sleep(25)
        assert fixture.condition("a") == "Unknown/Stale"


async def test_a_new_cluster_is_pending_until_it_is_known_whether_it_can_be_used() -> None:
    """Its row is there before: without certificates it would be called fine for a moment."""
    fixture = Fixture("a")
    fixture.clusters.known = False
    fixture.clusters.block = Block("SecretNotFound", "Secret ca does not exist")
    async with running(fixture):
        assert fixture.cluster_ready() == "Unknown/Pending"
        fixture.clusters.known = True
        fixture.mirror.request()
        await asyncio.sleep(1)
        assert fixture.cluster_ready() == "False/SecretNotFound"


@pytest.mark.parametrize("metadata", [{"generation": 2}, {"uid": "another"}])
async def test_a_cluster_is_accepted_only_as_it_was_stored(metadata: dict[str, Any]) -> None:
    fixture = Fixture("a")
    manifest = cluster_manifest()
    newer = {**manifest, "metadata": {**manifest["metadata"], **metadata}}
    fixture.store.observe(CLUSTER, "MODIFIED", fixture.kube.put(CLUSTER, newer))
    async with running(fixture):
        assert fixture.cluster_ready() == "Unknown/Pending"


async def test_nodes_that_are_being_deleted_are_reported_after_each_look() -> None:
    fixture = Fixture("a", "b")
    metadata = {"deletionTimestamp": "2026-03-01T11:59:00Z", "generation": 2}
    fixture.store.observe(NODE, "MODIFIED", fixture.kube.put(NODE, node_manifest("b", metadata=metadata)))
    async with running(fixture):
        assert fixture.deleting == [key("b")]


async def test_while_the_api_server_is_away_one_request_fails_and_all_is_written_later() -> None:
    fixture = Fixture(*(f"n{number}" for number in range(50)))
    fixture.kube.failure = lambda _method, _path: UnavailableError("away")
    with structlog.testing.capture_logs() as logs:
        async with running(fixture):
            await asyncio.sleep(20)
            assert [line["event"] for line in logs] == ["statuses not written"]
            assert len(fixture.kube.requests) <= 16 * 4 * 10
            fixture.kube.failure = lambda _method, _path: None
            await asyncio.sleep(10)
            assert fixture.condition("n49") == "True/Responding"


async def test_a_bug_does_not_end_the_mirror() -> None:
    fixture = Fixture("a")
    answer = fixture.database.answer
    fixture.database.answer = lambda: 1 / 0
    with structlog.testing.capture_logs() as logs:
        async with running(fixture):
            fixture.database.answer = answer
            await asyncio.sleep(11)
            assert fixture.condition("a") == "True/Responding"
    assert [line["event"] for line in logs] == ["mirror failed"]


async def test_a_bug_in_reading_leaves_all_statuses_for_150_s_and_then_they_say_so() -> None:
    """Else they would be called true for ever."""
    fixture = Fixture("a")
    async with running(fixture):
        fixture.database.answer = lambda: 1 / 0
        with structlog.testing.capture_logs() as logs:
            await asyncio.sleep(140)
            assert fixture.condition("a") == "True/Responding"
            await asyncio.sleep(30)
        assert fixture.condition("a") == "Unknown/DatabaseUnavailable"
    assert {line["event"] for line in logs} == {"mirror failed"}
    assert all(isinstance(line["exc_info"], ZeroDivisionError) for line in logs)
