"""Whom a change wakes, and whom it does not."""

from __future__ import annotations

from typing import Any

import pytest

from b3lb_operator.dispatch import Dispatcher
from b3lb_operator.kinds import CLUSTER, CRON_JOB, JOB, LEASE, NODE, QUEUE, SECRET, Key, Kind, Manifest
from b3lb_operator.references import Ref, ReferenceIndex, targets_of
from b3lb_operator.store import Store
from tests.unit.operator_fakes import cluster_manifest, key, manifest_of, node_manifest, queue_manifest, secret_manifest


class Woken:
    """Notes who was woken."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def take(self) -> list[tuple[Any, ...]]:
        calls, self.calls = self.calls, []
        return calls

    def sync(self, kind: Kind, name: Key, uid: str) -> None:
        self.calls.append(("sync", kind.name, name.name, uid))

    def reconcile_node(self, name: Key) -> None:
        self.calls.append(("node", name.name))

    def reconcile_queue(self, name: Key) -> None:
        self.calls.append(("queue", name.name))

    def recount_queue(self, name: Key) -> None:
        self.calls.append(("recount", name.name))

    def reconcile_queues(self, namespace: str) -> None:
        self.calls.append(("queues", namespace))

    def reconcile_api_secret(self, name: Key) -> None:
        self.calls.append(("api secret", name.name))

    def release(self, namespace: str) -> None:
        self.calls.append(("release", namespace))

    def take_requests(self, name: Key) -> None:
        self.calls.append(("requests", name.name))

    def reconcile_recordings(self, namespace: str) -> None:
        self.calls.append(("recordings", namespace))

    def mirror(self, namespace: str) -> None:
        self.calls.append(("mirror", namespace))

    def redeclare(self) -> None:
        self.calls.append(("redeclare",))

    def seen(self, renew_time: str) -> None:
        self.calls.append(("seen", renew_time))


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def store(woken: Woken) -> Store:
    return Store(Dispatcher(woken).dispatch)


@pytest.mark.parametrize("deleting", [True, False])
def test_that_a_node_is_not_ready_any_more_concerns_its_row_only_while_it_is_being_deleted(
    store: Store, woken: Woken, *, deleting: bool
) -> None:
    metadata = {"deletionTimestamp": "2026-03-01T11:30:00Z"} if deleting else {}
    ready = {"type": "Ready", "status": "True"}
    node = later({**node_manifest(), "status": {"conditions": [ready]}}, 1, **metadata)
    store.observe(NODE, "ADDED", node)
    woken.take()
    down = later({**node, "status": {"conditions": [{**ready, "status": "False"}]}}, 2)
    store.observe(NODE, "MODIFIED", down)
    assert (("sync", "BBBNode", "one", node["metadata"]["uid"]) in woken.take()) is deleting
    store.observe(NODE, "MODIFIED", later(down, 3))
    assert woken.take() == []


def later(manifest: Manifest, version: int, **metadata: Any) -> Manifest:
    """Return the object as it is at a later version."""
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version), **metadata}}


def test_a_new_node_wakes_its_row_its_finalizer_and_the_mirror(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest())
    assert woken.take() == [("node", "one"), ("sync", "BBBNode", "one", "bbbnodes-one"), ("mirror", "farm")]


def test_our_own_status_wakes_nobody(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest())
    woken.take()
    store.observe(NODE, "MODIFIED", {**later(node_manifest(), 2), "status": {"load": 1}})
    assert woken.take() == []


def test_a_new_spec_and_the_wish_to_delete_wake_as_a_new_object_does(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest())
    first = woken.take()
    store.observe(NODE, "MODIFIED", later(node_manifest(), 2, generation=2))
    assert woken.take() == first
    store.observe(NODE, "MODIFIED", later(node_manifest(), 3, generation=2, deletionTimestamp="2026-03-01T12:00:00Z"))
    assert woken.take() == first


@pytest.mark.parametrize("metadata", [{"annotations": {"b3lb.io/force-delete": "true"}}, {"finalizers": ["x"]}])
def test_an_annotation_or_a_finalizer_matters_to_the_finalizer_only(
    store: Store, woken: Woken, metadata: dict[str, Any]
) -> None:
    store.observe(NODE, "ADDED", node_manifest())
    woken.take()
    store.observe(NODE, "MODIFIED", later(node_manifest(), 2, **metadata))
    assert woken.take() == [("node", "one")]


def test_a_node_that_is_gone_wakes_its_row_by_its_uid(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest())
    woken.take()
    store.observe(NODE, "DELETED", later(node_manifest(), 2))
    assert woken.take() == [("sync", "BBBNode", "one", "bbbnodes-one"), ("mirror", "farm")]


def test_a_secret_wakes_the_rows_of_those_who_name_it(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest("a", secretRef={"name": "shared"}))
    store.observe(NODE, "ADDED", node_manifest("b"))
    store.observe(CLUSTER, "ADDED", cluster_manifest("c", tls={"caSecretRef": {"name": "shared"}}))
    woken.take()
    store.observe(SECRET, "ADDED", secret_manifest("shared", secret="x"))
    assert sorted(woken.take()) == [("sync", "BBBCluster", "c", ""), ("sync", "BBBNode", "a", "")]
    store.observe(SECRET, "MODIFIED", later(secret_manifest("shared", secret="y"), 2))
    assert len(woken.take()) == 2
    store.observe(SECRET, "DELETED", later(secret_manifest("shared"), 3))
    assert len(woken.take()) == 2


def test_a_node_that_names_another_secret_is_not_woken_by_the_old_one(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest("a", secretRef={"name": "old"}))
    store.observe(NODE, "MODIFIED", later(node_manifest("a", secretRef={"name": "new"}), 2, generation=2))
    woken.take()
    store.observe(SECRET, "ADDED", secret_manifest("old", secret="x"))
    assert woken.take() == []


def test_a_cluster_wakes_its_nodes_when_it_comes_and_when_it_goes(store: Store, woken: Woken) -> None:
    store.observe(NODE, "ADDED", node_manifest("a"))
    woken.take()
    store.observe(CLUSTER, "ADDED", cluster_manifest())
    assert ("sync", "BBBNode", "a", "") in woken.take()
    store.observe(CLUSTER, "MODIFIED", later(cluster_manifest(), 2, generation=2))
    assert ("sync", "BBBNode", "a", "") not in woken.take()
    store.observe(CLUSTER, "DELETED", later(cluster_manifest(), 3))
    assert ("sync", "BBBNode", "a", "") in woken.take()


def test_a_queue_wakes_all_queues_for_they_share_the_tasks(store: Store, woken: Woken) -> None:
    store.observe(QUEUE, "ADDED", queue_manifest())
    assert woken.take() == [
        ("sync", "BBBQueue", "core", "bbbqueues-core"),
        ("mirror", "farm"),
        ("queues", "farm"),
        ("release", "farm"),
    ]


def test_the_job_of_an_enqueued_run_lets_the_next_one_begin_and_is_counted(store: Store, woken: Woken) -> None:
    owners = [{"kind": "BBBQueue", "name": "record", "uid": "x"}]
    store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-run-1-1", ownerReferences=owners))
    assert woken.take() == [("release", "farm"), ("recount", "record")]


@pytest.mark.parametrize(("kind", "manifest"), [(CLUSTER, cluster_manifest()), (QUEUE, queue_manifest())])
def test_only_the_end_of_a_cluster_or_queue_wakes_what_declares_them(
    store: Store, woken: Woken, kind: Kind, manifest: Manifest
) -> None:
    store.observe(kind, "ADDED", manifest)
    store.observe(kind, "MODIFIED", later(manifest, 2, generation=2))
    assert ("redeclare",) not in woken.take()
    store.observe(kind, "DELETED", later(manifest, 3))
    assert ("redeclare",) in woken.take()


def test_a_cron_job_and_its_jobs_wake_their_queue(store: Store, woken: Woken) -> None:
    store.observe(CRON_JOB, "ADDED", manifest_of(CRON_JOB, "b3lb-core"))
    assert woken.take() == [("queue", "core")]
    owners = [{"kind": "CronJob", "name": "b3lb-core", "uid": "x"}]
    store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-core-1", ownerReferences=owners))
    assert woken.take() == [("release", "farm"), ("queue", "core")]
    store.observe(JOB, "ADDED", manifest_of(JOB, "somebodys"))
    assert woken.take() == []


def test_the_lease_tells_its_renewal(store: Store, woken: Woken) -> None:
    lease = {**manifest_of(LEASE, "b3lb-operator"), "spec": {"renewTime": "2026-03-01T12:00:00.000000Z"}}
    store.observe(LEASE, "ADDED", lease)
    assert woken.take() == [("seen", "2026-03-01T12:00:00.000000Z")]


@pytest.mark.parametrize("spec", [None, [], {"secretRef": "x", "clusterRef": None}, {"secretRef": {"name": 5}}])
def test_a_malformed_spec_names_nothing_but_the_default_cluster(spec: Any) -> None:
    assert targets_of(NODE, {**node_manifest(), "spec": spec}) == {Ref(CLUSTER, key("default"))}


def test_the_index_forgets_what_nobody_names() -> None:
    index = ReferenceIndex()
    referrer, target = Ref(NODE, key("a")), Ref(SECRET, key("s"))
    index.update(referrer, frozenset({target}))
    assert index.referrers(target) == {referrer}
    index.update(referrer, frozenset())
    assert index.referrers(target) == frozenset()
    assert not index._referrers
    assert not index._targets


def test_a_request_on_a_queue_wakes_who_does_it_and_nobody_else(store: Store, woken: Woken) -> None:
    queue = queue_manifest()
    store.observe(QUEUE, "ADDED", queue)
    woken.take()
    asked = later(queue, 2, annotations={"request.b3lb.io/x": "{}"})
    store.observe(QUEUE, "MODIFIED", asked)
    assert woken.take() == [("requests", "core")]
    store.observe(QUEUE, "MODIFIED", later(asked, 3, annotations={}))
    assert woken.take() == []
