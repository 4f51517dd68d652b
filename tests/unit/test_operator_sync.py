"""What goes into the tables when: batches, full comparisons, and everything that may be away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog.testing

from b3lb.crypto import KeyRing
from b3lb.db.configuration import Changed, Refused
from b3lb.db.configuration import Kind as RowKind
from b3lb_operator import sync as sync_module
from b3lb_operator.database import RowRefusedError
from b3lb_operator.kinds import CLUSTER, CRON_JOB, CUSTOM_KINDS, NODE, QUEUE, SECRET, Kind, Manifest
from b3lb_operator.kube import ForbiddenError, UnavailableError
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve import Configuration
from b3lb_operator.store import Change, Store
from b3lb_operator.sync import Sync
from tests.unit.operator_fakes import (
    FakeDatabase,
    FakeKube,
    cluster_manifest,
    key,
    manifest_of,
    node_manifest,
    queue_manifest,
    secret_manifest,
)

pytestmark = [pytest.mark.looptime]

RULE = "clusters_timeout_seconds_check"


class Written:
    """One transaction as the tables would see it."""

    def __init__(
        self, namespace: str, configuration: Configuration, gone: Mapping[RowKind, Collection[str]], *, complete: bool
    ) -> None:
        self.namespace = namespace
        self.complete = complete
        self.clusters = {row.name: row for row in configuration.clusters}
        self.nodes = {row.name: row for row in configuration.nodes}
        self.queues = {row.name: row for row in configuration.queues}
        self.tenants = {row.name: row for row in configuration.tenants}
        self.api_secrets = {row.name: row for row in configuration.api_secrets}
        self.record_profiles = {row.name: row for row in configuration.record_profiles}
        self.gone = dict(gone)


class Fixture:
    """A running synchronisation on an API server in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, namespaces: Sequence[str] = ("farm",)) -> None:
        self.kube = FakeKube()
        self.database = FakeDatabase()
        self.store = Store(self._on_change)
        self.written: list[Written] = []
        self.compared: list[str] = []
        self.changes: list[Changed] = []
        self.bad: set[str] = set()
        self.sync = Sync(
            kube=self.kube,
            store=self.store,
            database=self.database,
            keys=KeyRing.generate(),
            namespaces=namespaces,
            on_stored=lambda _namespace, changes: self.changes.extend(changes),
            on_compared=self.compared.append,
        )
        self.database.call = self._call  # type: ignore[method-assign]  # the transaction is what is looked at
        monkeypatch.setattr(sync_module, "store_configuration", self._store)

    def put(self, kind: Kind, manifest: Manifest) -> None:
        """Write an object, and let the watch show it."""
        self.store.observe(kind, "MODIFIED", self.kube.put(kind, manifest))

    def remove(self, kind: Kind, name: str, namespace: str = "farm") -> None:
        """Delete an object, and let the watch show it."""
        gone = self.kube.objects.pop(kind.path(namespace, name))
        version = str(int(gone["metadata"]["resourceVersion"]) + 1000)
        self.store.observe(kind, "DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": version}})

    @property
    def last(self) -> Written:
        return self.written[-1]

    def _on_change(self, change: Change) -> None:
        manifest = change.new or change.old
        if change.kind in CUSTOM_KINDS and manifest is not None:
            self.sync.mark(change.kind, change.key, manifest["metadata"]["uid"])

    async def _call(self, function: Callable[[Any], Any]) -> Any:
        await FakeDatabase.call(self.database, function)
        return function(None)

    def _store(
        self, _connection: Any, *, namespace: str, configuration: Configuration, **arguments: Any
    ) -> list[Changed]:
        names = {row.name for row in configuration.clusters} | {row.name for row in configuration.queues}
        bad = names & self.bad
        if bad and arguments.get("refused") is None:
            raise RowRefusedError(f'new row violates check constraint "{RULE}"')
        for name in sorted(bad, reverse=True):
            kind = RowKind.CLUSTER if name == "default" else RowKind.QUEUE
            arguments["refused"].append(Refused(kind, name, RULE))
        self.written.append(Written(namespace, configuration, arguments["gone"], complete=arguments["complete"]))
        return []


@asynccontextmanager
async def running(fixture: Fixture) -> AsyncIterator[None]:
    task = asyncio.create_task(fixture.sync.run())
    await asyncio.sleep(1)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def fixture(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    return Fixture(monkeypatch)


async def test_at_the_start_everything_is_compared_from_fresh_lists(fixture: Fixture) -> None:
    """Also what no watch has shown yet, or never will again."""
    fixture.kube.put(CLUSTER, cluster_manifest())
    fixture.kube.put(NODE, node_manifest())
    fixture.kube.put(QUEUE, queue_manifest())
    fixture.kube.put(SECRET, secret_manifest("one-api", secret="s"))
    fixture.store.observe(NODE, None, node_manifest("ghost"))
    assert (fixture.sync.problem() is None, fixture.sync.settled()) == (False, False)
    async with running(fixture):
        (written,) = fixture.written
    assert written.complete
    assert (set(written.clusters), set(written.nodes), set(written.queues)) == ({"default"}, {"one"}, {"core"})
    assert written.nodes["one"].secret == "s"
    assert fixture.compared == ["farm"]
    assert (fixture.sync.problem(), fixture.sync.settled()) == (None, True)


async def test_changes_of_a_moment_go_into_one_batch(fixture: Fixture) -> None:
    async with running(fixture):
        fixture.written.clear()
        for name in "abc":
            fixture.kube.put(SECRET, secret_manifest(f"{name}-api", secret=name))
            fixture.put(NODE, node_manifest(name))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        (written,) = fixture.written
    assert not written.complete
    assert {name: row.secret for name, row in written.nodes.items()} == {"a": "a", "b": "b", "c": "c"}


async def test_only_what_changed_and_what_it_refers_to_is_in_a_batch(fixture: Fixture) -> None:
    fixture.kube.put(CLUSTER, cluster_manifest())
    fixture.kube.put(NODE, node_manifest("a"))
    async with running(fixture):
        fixture.put(NODE, node_manifest("b"))
        await asyncio.sleep(0.1)
    assert (set(fixture.last.clusters), set(fixture.last.nodes)) == ({"default"}, {"b"})


async def test_a_deleted_object_is_gone_by_its_uid(fixture: Fixture) -> None:
    fixture.kube.put(NODE, node_manifest())
    async with running(fixture):
        fixture.remove(NODE, "one")
        await asyncio.sleep(0.1)
    assert fixture.last.gone == {RowKind.NODE: ["bbbnodes-one"]}


async def test_a_cluster_that_cannot_be_read_is_gone_and_its_nodes_are_blocked(fixture: Fixture) -> None:
    fixture.kube.put(CLUSTER, cluster_manifest())
    fixture.kube.put(NODE, node_manifest())
    fixture.kube.put(SECRET, secret_manifest("one-api", secret="s"))
    async with running(fixture):
        fixture.put(CLUSTER, cluster_manifest(checksumAlgorithm="md5"))
        await asyncio.sleep(0.1)
        broken = fixture.last
        assert block_of(fixture) is not None
        fixture.put(CLUSTER, cluster_manifest())
        await asyncio.sleep(0.1)
        assert block_of(fixture) is None
    assert broken.gone == {RowKind.CLUSTER: ["bbbclusters-default"]}
    assert broken.nodes["one"].blocked_reason == "ClusterNotFound"
    assert (set(fixture.last.clusters), fixture.last.nodes["one"].blocked_reason) == ({"default"}, None)


async def test_when_the_older_of_two_nodes_with_one_address_goes_the_younger_is_freed(fixture: Fixture) -> None:
    old = node_manifest("old", host="same.example.org")
    young = node_manifest("young", host="same.example.org", metadata={"creationTimestamp": "2026-03-01T11:00:00Z"})
    for manifest in (old, young):
        fixture.kube.put(NODE, manifest)
        fixture.kube.put(SECRET, secret_manifest(manifest["spec"]["secretRef"]["name"], secret="s"))
    async with running(fixture):
        assert fixture.last.nodes["young"].blocked_reason == "DuplicateURL"
        fixture.remove(NODE, "old")
        await asyncio.sleep(0.1)
    assert fixture.last.nodes["young"].blocked_reason is None


async def test_many_secrets_are_listed_and_few_are_read(fixture: Fixture) -> None:
    for number in range(30):
        fixture.kube.put(NODE, node_manifest(f"n{number}"))
        fixture.kube.put(SECRET, secret_manifest(f"n{number}-api", secret="s"))
    async with running(fixture):
        collection = SECRET.path("farm")
        reads = [path for _, path, _ in fixture.kube.requests if path.startswith(collection)]
        assert reads == [collection]
        fixture.kube.requests.clear()
        fixture.put(NODE, node_manifest("n0", metadata={"generation": 2}))
        await asyncio.sleep(0.1)
        assert [path for _, path, _ in fixture.kube.requests] == [f"{collection}/n0-api"]
    assert fixture.last.nodes["n0"].secret == "s"


async def test_a_secret_that_cannot_be_read_for_now_is_not_called_missing(fixture: Fixture) -> None:
    """Else an API server that is away would take every node out of service."""
    fixture.kube.put(SECRET, secret_manifest("one-api", secret="s"))
    async with running(fixture):
        fixture.written.clear()
        away: Exception | None = UnavailableError("away")
        fixture.kube.failure = lambda _method, path: away if "secrets" in path else None
        fixture.put(NODE, node_manifest())
        await asyncio.sleep(60)
        assert fixture.written == []
        assert fixture.sync.problem() is None
        away = ForbiddenError("no")
        await asyncio.sleep(60)
        assert fixture.written == []
        away = None
        await asyncio.sleep(6)
        assert fixture.last.nodes["one"].secret == "s"


async def test_without_a_database_nothing_is_read_and_changes_wait(fixture: Fixture) -> None:
    fixture.database.connected.clear()
    async with running(fixture):
        await asyncio.sleep(600)
        assert (fixture.kube.requests, fixture.sync.settled()) == ([], True)
        fixture.kube.put(NODE, node_manifest())
        fixture.database.connected.set()
        await asyncio.sleep(1)
        assert set(fixture.last.nodes) == {"one"}


async def test_a_batch_that_the_database_did_not_take_is_tried_again_with_what_came_since(fixture: Fixture) -> None:
    async with running(fixture):
        fixture.written.clear()
        fixture.database.fail = "away"
        with structlog.testing.capture_logs() as logs:
            fixture.put(NODE, node_manifest("a"))
            await asyncio.sleep(20)
            fixture.put(NODE, node_manifest("b"))
            await asyncio.sleep(20)
        assert fixture.written == []
        assert logs == [], "the database tells of its outages itself"
        assert fixture.sync.problem() == "changes cannot be stored: away"
        fixture.database.fail = ""
        await asyncio.sleep(6)
        assert fixture.sync.problem() is None
    assert set(fixture.written[0].nodes) == {"a", "b"}


async def test_a_bug_is_logged_and_what_was_to_be_done_is_kept(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(fixture):
        fixture.written.clear()

        def broken(*_: Any, **__: Any) -> list[Changed]:
            raise ZeroDivisionError

        monkeypatch.setattr(sync_module, "store_configuration", broken)
        with structlog.testing.capture_logs() as logs:
            fixture.put(NODE, node_manifest())
            await asyncio.sleep(10)
        assert {line["log_level"] for line in logs} == {"error", "warning"}
        monkeypatch.setattr(sync_module, "store_configuration", fixture._store)
        await asyncio.sleep(6)
    assert set(fixture.last.nodes) == {"one"}


async def test_everything_is_compared_every_ten_minutes_and_on_request(fixture: Fixture) -> None:
    async with running(fixture):
        assert len(fixture.compared) == 1
        await asyncio.sleep(590)
        assert len(fixture.compared) == 1
        await asyncio.sleep(20)
        assert len(fixture.compared) == 2
        fixture.sync.request_full()
        await asyncio.sleep(1)
        assert len(fixture.compared) == 3
        await asyncio.sleep(590)
        assert len(fixture.compared) == 3


async def test_a_comparison_forgets_objects_and_cron_jobs_that_went_unseen(fixture: Fixture) -> None:
    cron_job = manifest_of(CRON_JOB, "b3lb-core")
    fixture.store.observe(CRON_JOB, "ADDED", cron_job)
    fixture.store.observe(NODE, "ADDED", node_manifest())
    async with running(fixture):
        assert fixture.store.get(CRON_JOB, key("b3lb-core")) is None
        assert fixture.store.get(NODE, key("one")) is None
    assert fixture.last.nodes == {}


async def test_objects_of_other_namespaces_are_none_of_ours(fixture: Fixture) -> None:
    async with running(fixture):
        fixture.written.clear()
        manifest = node_manifest(metadata={"namespace": "other"})
        fixture.store.observe(NODE, "ADDED", manifest)
        await asyncio.sleep(1)
    assert fixture.written == []


async def test_certificates_that_cannot_be_had_are_known_as_a_block_until_they_are_there(fixture: Fixture) -> None:
    fixture.kube.put(CLUSTER, cluster_manifest(tls={"caSecretRef": {"name": "ca"}}))
    async with running(fixture):
        block = block_of(fixture)
        assert block is not None
        assert block.reason == "SecretNotFound"
        assert fixture.sync.cluster_outcome(key("other")) is None


async def test_a_cluster_counts_as_stored_by_uid_and_generation_once_the_database_took_it(fixture: Fixture) -> None:
    fixture.kube.put(CLUSTER, cluster_manifest())
    fixture.database.fail = "connection refused"
    async with running(fixture):
        assert fixture.sync.cluster_outcome(key("default")) is None
        fixture.database.fail = ""
        await asyncio.sleep(6)
        assert fixture.sync.cluster_outcome(key("default")) == ClusterOutcome("bbbclusters-default", 1, None)


async def test_a_full_comparison_forgets_no_block_meanwhile(fixture: Fixture) -> None:
    """Else each one would call a cluster without certificates fine for a moment."""
    fixture.kube.put(CLUSTER, cluster_manifest(tls={"caSecretRef": {"name": "ca"}}))
    async with running(fixture):
        fixture.database.fail = "connection refused"
        fixture.sync.request_full()
        await asyncio.sleep(6)
        assert block_of(fixture) is not None


def block_of(fixture: Fixture) -> Block | None:
    outcome = fixture.sync.cluster_outcome(key("default"))
    assert outcome is not None
    return outcome.block


async def test_an_object_that_the_database_does_not_take_keeps_no_other_from_being_stored(fixture: Fixture) -> None:
    fixture.kube.put(CLUSTER, cluster_manifest())
    fixture.kube.put(QUEUE, queue_manifest())
    fixture.kube.put(NODE, node_manifest())
    fixture.bad = {"default", "core"}
    with structlog.testing.capture_logs() as logs:
        async with running(fixture):
            assert set(fixture.last.nodes) == {"one"}
            assert fixture.sync.problem() is None
            blocks = [block_of(fixture), fixture.sync.queue_block(key("core"))]
            assert [block and block.reason for block in blocks] == ["DatabaseRefused"] * 2
            assert all(block is not None and RULE in block.message for block in blocks)
            fixture.bad = {"core"}
            fixture.put(CLUSTER, cluster_manifest())
            await asyncio.sleep(1)
            assert block_of(fixture) is None
            assert fixture.sync.queue_block(key("core")) is not None
            fixture.bad = set()
            fixture.put(QUEUE, queue_manifest())
            await asyncio.sleep(1)
            assert fixture.sync.queue_block(key("core")) is None
    assert [(line["kind"], line["name"], line["rule"]) for line in logs] == [
        ("BBBCluster", "default", RULE),
        ("BBBQueue", "core", RULE),
    ]


async def test_a_namespace_without_rights_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, ("closed", "farm"))
    closed: Exception | None = ForbiddenError("no")
    fixture.kube.failure = lambda _method, path: closed if "/closed/" in path else None
    async with running(fixture):
        assert fixture.compared == ["farm"]
        assert (fixture.sync.compared("closed"), fixture.sync.compared("farm")) == (False, True)
        assert fixture.sync.problem() == "not compared with the database yet: closed (no)"
        fixture.put(NODE, node_manifest())
        await asyncio.sleep(6)
        assert set(fixture.last.nodes) == {"one"}
        closed = None
        await asyncio.sleep(6)
        assert fixture.compared == ["farm", "closed"]
        assert fixture.sync.problem() is None
