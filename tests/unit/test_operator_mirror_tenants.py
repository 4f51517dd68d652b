"""Statuses of tenants, API secrets and record profiles follow the database, and not a write more than that."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from b3lb.db.mirror import ClusterMirror, Heartbeat, Snapshot
from b3lb.health import GuardState
from b3lb.meetings.model import SecretTotals
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import API_SECRET, RECORD_PROFILE, TENANT, Key, Kind
from b3lb_operator.mirror import Mirror
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store
from tests.unit.operator_fakes import NOW, FakeDatabase, FakeKube, api_secret_manifest, manifest_of, tenant_manifest
from tests.unit.test_operator_mirror import Clusters
from tests.unit.test_tenancy_status import HD, secret_row, tenant_row

pytestmark = [pytest.mark.looptime]

_OBJECTS = (
    (TENANT, tenant_manifest(limits={"meetings": 100})),
    (API_SECRET, api_secret_manifest()),
    (RECORD_PROFILE, manifest_of(RECORD_PROFILE, "hd")),
)


class Fixture:
    """A running mirror of a namespace with one object of each kind, on an API server in memory."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.store = Store(lambda _: None)
        self.database = FakeDatabase()
        self.database.answer = self._read
        self.loop = asyncio.get_running_loop()
        self.start = self.loop.time()
        self.totals = SecretTotals(meetings=1, attendees=10)
        self.clusters = ["default"]
        self.problem = ""
        self.emptied = False
        self.sync = Clusters()
        self.tenant = tenant_row()
        for kind, manifest in _OBJECTS:
            self.store.observe(kind, "ADDED", self.kube.put(kind, manifest))
        writer = StatusWriter(self.kube, self.store, EventRecorder(self.kube, instance="pod"), clock=self.loop.time)
        self.mirror = Mirror(
            "farm",
            store=self.store,
            database=self.database,
            writer=writer,
            sync=self.sync,
            problem_of=self._problem_of,
            on_deleting=lambda _: None,
        )

    def _problem_of(self, _key: Key) -> str:
        return self.problem

    def _read(self) -> Snapshot:
        now = NOW + timedelta(seconds=self.loop.time() - self.start)
        tick = now - timedelta(seconds=5)
        tasks = ("check-nodes", "update-secrets-lists")
        beats = {task: Heartbeat(task, tick, tick, tick, "pod", 1, {}) for task in tasks}
        clusters = {name: ClusterMirror(1, name, "u", 1, GuardState()) for name in self.clusters}
        if self.emptied:
            return Snapshot(now=now, heartbeats=beats, clusters=clusters, nodes={})
        return Snapshot(
            now=now,
            heartbeats=beats,
            clusters=clusters,
            nodes={},
            tenants={"uni": dataclasses.replace(self.tenant, running=self.totals)},
            api_secrets={"uni-001": secret_row(totals=self.totals)},
            record_profiles={"hd": HD},
        )

    def status(self, kind: Kind, name: str) -> Any:
        return self.kube.object(kind, name)["status"]

    def accepted(self, kind: Kind, name: str) -> str:
        (found,) = (item for item in self.status(kind, name)["conditions"] if item["type"] == "Accepted")
        return f"{found['status']}/{found['reason']}"

    def all_accepted(self) -> list[str]:
        return [self.accepted(kind, manifest["metadata"]["name"]) for kind, manifest in _OBJECTS]

    async def look(self) -> None:
        self.mirror.request()
        await asyncio.sleep(0.5)


@asynccontextmanager
async def running(fixture: Fixture) -> AsyncIterator[None]:
    task = asyncio.create_task(fixture.mirror.run())
    fixture.mirror.request()
    await asyncio.sleep(1)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_look_writes_every_status_once_and_then_rests() -> None:
    fixture = Fixture()
    async with running(fixture):
        assert fixture.all_accepted() == ["True/Accepted"] * 3
        await asyncio.sleep(600)
    assert len(fixture.kube.writes) == 3


async def test_usage_is_written_every_thirty_seconds_at_most_and_the_last_one_is_never_lost() -> None:
    fixture = Fixture()
    async with running(fixture):
        before = len(fixture.kube.writes)
        for number in range(2, 17):
            fixture.totals = SecretTotals(meetings=number)
            fixture.mirror.request()
            await asyncio.sleep(2)
        # Tenant and secret at once, and once more after 30 s.
        assert len(fixture.kube.writes) - before <= 4
        await asyncio.sleep(31)
        assert fixture.status(TENANT, "uni")["usage"]["meetings"] == 16
        assert fixture.status(API_SECRET, "uni-001")["usage"]["meetings"] == 16


async def test_a_reached_limit_is_written_at_once() -> None:
    fixture = Fixture()
    async with running(fixture):
        for meetings in (2, 100):
            fixture.totals = SecretTotals(meetings=meetings)
            await fixture.look()
        conditions = {item["type"]: item["reason"] for item in fixture.status(TENANT, "uni")["conditions"]}
        assert conditions["LimitReached"] == "MeetingLimitReached"
        assert fixture.status(TENANT, "uni")["usage"]["meetings"] == 100


async def test_a_cluster_that_comes_heals_the_tenant_and_with_it_its_secrets() -> None:
    fixture = Fixture()
    fixture.clusters = []
    async with running(fixture):
        assert fixture.all_accepted() == ["False/ClusterNotFound", "False/TenantNotAccepted", "True/Accepted"]
        fixture.clusters = ["default"]
        await fixture.look()
        assert fixture.all_accepted() == ["True/Accepted"] * 3


async def test_a_slug_that_becomes_free_heals_the_tenant_and_with_it_its_secrets() -> None:
    fixture = Fixture()
    fixture.tenant = tenant_row(blocked_reason="SlugInUse", blocked_message="BBBTenant a/uni is older")
    async with running(fixture):
        assert fixture.all_accepted() == ["False/SlugInUse", "False/TenantNotAccepted", "True/Accepted"]
        fixture.tenant = tenant_row()
        await fixture.look()
        assert fixture.all_accepted() == ["True/Accepted"] * 3


async def test_a_database_that_is_away_leaves_what_was_accepted_and_forgets_usage_after_150_s() -> None:
    fixture = Fixture()
    async with running(fixture):
        writes = len(fixture.kube.writes)
        fixture.database.fail = "connection refused"
        await asyncio.sleep(140)
        assert len(fixture.kube.writes) == writes
        await asyncio.sleep(60)
        assert fixture.all_accepted() == ["True/Accepted"] * 3
        assert "usage" not in fixture.status(TENANT, "uni")
        conditions = {item["type"]: item["reason"] for item in fixture.status(TENANT, "uni")["conditions"]}
        assert conditions["LimitReached"] == "DatabaseUnavailable"


async def test_of_rows_that_got_lost_nothing_is_called_known() -> None:
    """Somebody emptied the configuration tables: no Accepted=True, no usage of 0 and no limit of which nobody knows."""
    fixture = Fixture()
    async with running(fixture):
        fixture.emptied = True
        await fixture.look()
        assert fixture.all_accepted() == ["Unknown/Pending"] * 3
        for kind, name in ((TENANT, "uni"), (API_SECRET, "uni-001")):
            conditions = {item["type"]: item["reason"] for item in fixture.status(kind, name)["conditions"]}
            assert ("usage" in fixture.status(kind, name), conditions["LimitReached"]) == (False, "Pending")
        fixture.emptied = False
        await fixture.look()
        assert fixture.all_accepted() == ["True/Accepted"] * 3
        assert fixture.status(TENANT, "uni")["usage"]["meetings"] == 1


async def test_rows_that_got_lost_have_everything_compared_within_seconds() -> None:
    fixture = Fixture()
    fixture.clusters = []
    async with running(fixture):
        await asyncio.sleep(60)
        assert fixture.sync.comparisons == []
        fixture.emptied = True
        await asyncio.sleep(14)
        assert fixture.sync.comparisons
