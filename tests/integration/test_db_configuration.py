"""Syncs: the database becomes what the operator wants, in few statements, and nothing else is touched."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy.exc

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    Action,
    Changed,
    ClusterRow,
    Kind,
    NodeRow,
    QueueRow,
    apply_clusters,
    apply_nodes,
    apply_queues,
    delete_by_uid,
)
from b3lb.db.engine import count_statements, transaction
from b3lb.db.node_states import load_polls
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration


def sync(farm: Farm, rows: Sequence[NodeRow], *, complete: bool = True, keys: KeyRing | None = None) -> list[Changed]:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return apply_nodes(connection, farm.namespace, rows, complete=complete, keys=keys or farm.keys)


def sync_clusters(farm: Farm, rows: Sequence[ClusterRow], *, complete: bool = True) -> list[Changed]:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return apply_clusters(connection, farm.namespace, rows, complete=complete, keys=farm.keys)


def sync_queues(farm: Farm, rows: Sequence[QueueRow]) -> list[Changed]:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return apply_queues(connection, farm.namespace, rows, complete=True)


def everything(farm: Farm, table: str) -> list[tuple[Any, ...]]:
    """Return every row of a table with the transaction that wrote it."""
    return farm.rows(f"SELECT xmin::text, * FROM {table} ORDER BY 2")  # noqa: S608 - a table of ours


def test_every_kind_is_stored_and_a_second_sync_writes_nothing(farm: Farm) -> None:
    clusters = [
        farm.cluster(),
        farm.cluster(
            "second",
            load=LoadFormula(attendee_factor=2, meeting_factor=3, cpu_terms=4, cpu_maximum=5),
            checksum_algorithm="sha1",
            timeout_seconds=6,
            unhealthy_after=7,
            healthy_after=8,
            guard=GuardPolicy(share_percent=9, minimum_nodes=10, maximum_seconds=11),
            ca_certificates="PEM",
        ),
    ]
    nodes = [
        farm.node("a"),
        farm.node("b", cluster="second", state="Cordoned", weight_percent=50, max_meetings=1, max_attendees=2),
        farm.node("c", secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret c"),
        farm.node("d", cluster="missing"),
    ]
    queues = [
        QueueRow("core", "u", 1, ("check-nodes",), tick_seconds=15, max_in_flight=50),
        QueueRow("paused", "v", 2, ("a", "b"), suspend=True),
    ]
    assert [change.action for change in sync_clusters(farm, clusters)] == [Action.INSERT] * 2
    assert [change.repoll for change in sync(farm, nodes)] == [True] * 4
    assert [change.kind for change in sync_queues(farm, queues)] == [Kind.QUEUE] * 2
    before = [everything(farm, table) for table in ("clusters", "nodes", "queues")]
    assert sync_clusters(farm, clusters) + sync(farm, nodes) + sync_queues(farm, queues) == []
    assert [everything(farm, table) for table in ("clusters", "nodes", "queues")] == before
    assert farm.rows(
        "SELECT name, blocked_reason, blocked_message, cluster_id IS NULL FROM nodes WHERE name >= 'c'"
    ) == [
        ("c", "SecretNotFound", "no Secret c", False),
        ("d", "ClusterNotFound", "BBBCluster missing does not exist", True),
    ]


@pytest.mark.parametrize("number", [1, 50])
def test_a_sync_takes_at_most_six_statements(farm: Farm, number: int) -> None:
    farm.fill(number)
    moved = [
        farm.node(f"bbb-{index}", api_url=f"https://new-{index}.example.org/bigbluebutton/api")
        for index in range(2, number + 2)
    ]
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        changes = apply_nodes(connection, "default", moved, complete=True, keys=farm.keys)
    assert len(changes) == number + 1
    assert counter.count == 5
    clusters = [farm.cluster(f"c{index}") for index in range(number)]
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        apply_clusters(
            connection, "default", [*clusters, farm.cluster(timeout_seconds=9)], complete=True, keys=farm.keys
        )
    assert counter.count == 5
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert apply_nodes(connection, "default", moved, complete=True, keys=farm.keys) == []
    assert counter.count == 3


def test_only_rows_that_differ_are_written(farm: Farm) -> None:
    farm.fill(3)
    before = dict(farm.rows("SELECT name, xmin::text FROM nodes"))
    (change,) = sync(farm, [farm.node("bbb-1"), farm.node("bbb-2", weight_percent=50), farm.node("bbb-3")])
    assert (change.name, change.action, change.revision, change.repoll) == ("bbb-2", Action.UPDATE, 1, False)
    after = dict(farm.rows("SELECT name, xmin::text FROM nodes"))
    assert {name for name in before if before[name] != after[name]} == {"bbb-2"}


def test_a_single_object_is_applied_without_touching_the_others(farm: Farm) -> None:
    ids = farm.fill(3)
    changes = sync(farm, [farm.node("bbb-2", secret="new"), farm.node("bbb-9")], complete=False)
    assert [(change.name, change.action, change.revision) for change in changes] == [
        ("bbb-2", Action.UPDATE, 2),
        ("bbb-9", Action.INSERT, 1),
    ]
    assert changes[0].id == ids["bbb-2"]
    assert farm.rows("SELECT count(*) FROM nodes WHERE deleted_at IS NULL") == [(4,)]


def test_a_node_that_went_and_came_back_keeps_its_id_and_gets_a_new_revision(farm: Farm) -> None:
    ids = farm.fill(2)
    assert sync(farm, [farm.node("bbb-1")]) == [
        Changed(kind=Kind.NODE, id=ids["bbb-2"], name="bbb-2", action=Action.DELETE)
    ]
    assert sync(farm, [farm.node("bbb-1")]) == []
    ((age,),) = farm.rows("SELECT extract(epoch FROM clock_timestamp() - deleted_at)::float FROM nodes WHERE id = 2")
    assert 0 <= age < 10
    back = farm.node("bbb-2", uid="another")
    assert sync(farm, [farm.node("bbb-1"), back]) == [
        Changed(kind=Kind.NODE, id=ids["bbb-2"], name="bbb-2", action=Action.REVIVE, revision=2, repoll=True)
    ]
    assert farm.rows("SELECT uid, deleted_at FROM nodes WHERE name = 'bbb-2'") == [("another", None)]


def test_an_empty_namespace_empties_only_itself(farm: Farm) -> None:
    farm.fill(2)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_clusters(connection, "other", [farm.cluster()], complete=True, keys=farm.keys)
        apply_nodes(connection, "other", [farm.node("bbb-1")], complete=True, keys=farm.keys)
    assert {change.action for change in sync(farm, [])} == {Action.DELETE}
    assert farm.rows("SELECT namespace FROM nodes WHERE deleted_at IS NULL") == [("other",)]


def test_single_deletions_go_by_uid_so_that_a_recreated_object_stays(farm: Farm) -> None:
    ids = farm.fill([farm.node("a"), farm.node("b", uid="new")])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        changes = delete_by_uid(connection, Kind.NODE, "default", ["uid-a", "uid-b", "unknown"])
        assert changes == [Changed(kind=Kind.NODE, id=ids["a"], name="a", action=Action.DELETE)]
        assert delete_by_uid(connection, Kind.NODE, "default", ["uid-a"]) == []
        assert delete_by_uid(connection, Kind.CLUSTER, "elsewhere", ["uid-default"]) == []


@pytest.mark.parametrize(
    ("change", "repoll"),
    [
        ({"checksum_algorithm": "sha1"}, True),
        ({"timeout_seconds": 9}, True),
        ({"ca_certificates": "PEM"}, True),
        ({"unhealthy_after": 9}, False),
        ({"guard": GuardPolicy(share_percent=90)}, False),
    ],
)
def test_a_cluster_with_other_requests_gives_its_living_nodes_a_new_revision(
    farm: Farm, change: dict[str, Any], repoll: bool
) -> None:
    clusters = [farm.cluster(), farm.cluster("second")]
    farm.fill([farm.node("a"), farm.node("b"), farm.node("gone"), farm.node("x", cluster="second")], clusters)
    sync(farm, [farm.node("a"), farm.node("b"), farm.node("x", cluster="second")])
    changes = sync_clusters(farm, [farm.cluster(**change), farm.cluster("second")])
    assert [(item.kind, item.name) for item in changes if not item.repoll] == [(Kind.CLUSTER, "default")]
    bumped = [(item.kind, item.name, item.revision) for item in changes if item.repoll]
    assert sorted(bumped) == ([(Kind.NODE, "a", 2), (Kind.NODE, "b", 2)] if repoll else [])
    assert sync(farm, [farm.node("a"), farm.node("b"), farm.node("x", cluster="second")]) == []


def test_a_cluster_that_goes_blocks_its_nodes_and_one_that_comes_back_frees_them(farm: Farm) -> None:
    farm.fill(1)
    assert [change.action for change in sync_clusters(farm, [])] == [Action.DELETE]
    (blocked,) = sync(farm, [farm.node("bbb-1")])
    assert blocked.action is Action.UPDATE
    assert farm.rows("SELECT blocked_reason FROM nodes") == [("ClusterNotFound",)]
    (revived,) = sync_clusters(farm, [farm.cluster()])
    assert (revived.kind, revived.action) == (Kind.CLUSTER, Action.REVIVE)
    (freed,) = sync(farm, [farm.node("bbb-1")])
    assert freed.repoll
    assert freed.revision > blocked.revision
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert len(load_polls(connection, "default")) == 1


def test_no_node_of_a_blocked_cluster_is_polled_until_its_block_ends(farm: Farm) -> None:
    farm.fill([farm.node("a"), farm.node("b", cluster="second")], [farm.cluster(), farm.cluster("second")])

    def polled() -> list[str]:
        with transaction(farm.engine, timeout_seconds=10) as connection:
            return [poll.name for poll in load_polls(connection, "default")]

    blocked = farm.cluster(blocked_reason="CASecretNotFound", blocked_message="no Secret")
    sync_clusters(farm, [blocked], complete=False)
    assert polled() == ["b"]
    assert sync_clusters(farm, [blocked], complete=False) == []
    changes = sync_clusters(farm, [farm.cluster()], complete=False)
    assert [(item.name, item.revision) for item in changes if item.repoll] == [("a", 2)]
    assert polled() == ["a", "b"]


def test_a_secret_is_encrypted_again_only_for_another_value_or_another_primary_key(farm: Farm) -> None:
    def stored() -> tuple[bytes, str, int]:
        ((ciphertext, key_id, revision),) = farm.rows("SELECT secret_ciphertext, secret_key_id, revision FROM nodes")
        return ciphertext, key_id, revision

    farm.fill(1)
    first = stored()
    assert b"secret of" not in first[0]
    sync(farm, [farm.node(weight_percent=10)])
    assert stored() == first
    rotated = KeyRing({"k2": bytes(32), **KeyRing.parse(farm.keys.export())._material})
    assert [change.repoll for change in sync(farm, [farm.node(weight_percent=10)], keys=rotated)] == [False]
    second = stored()
    assert second[0] != first[0]
    assert second[1:] == ("k2", 1)
    assert sync(farm, [farm.node(weight_percent=10)], keys=rotated) == []
    assert [change.repoll for change in sync(farm, [farm.node(secret="other")], keys=rotated)] == [True]
    third = stored()
    assert third[1:] == ("k2", 2)
    assert rotated.decrypt(third[0], "k2", context="nodes/default/bbb-1") == "other"


def test_a_full_comparison_encrypts_secrets_of_deleted_nodes_again_and_leaves_what_nobody_can_read(farm: Farm) -> None:
    farm.fill(3)
    sync(farm, [farm.node("bbb-1")])
    farm.run("UPDATE nodes SET secret_key_id = 'lost' WHERE name = 'bbb-3'")
    rotated = KeyRing({"k2": bytes(32), **KeyRing.parse(farm.keys.export())._material})
    sync(farm, [farm.node("bbb-1")], keys=rotated, complete=False)
    assert key_ids(farm) == {"bbb-1": "k2", "bbb-2": farm.keys.primary, "bbb-3": "lost"}
    assert sync(farm, [farm.node("bbb-1")], keys=rotated) == []
    assert key_ids(farm) == {"bbb-1": "k2", "bbb-2": "k2", "bbb-3": "lost"}
    alone = KeyRing({"k2": bytes(32)})
    ((ciphertext,),) = farm.rows("SELECT secret_ciphertext FROM nodes WHERE name = 'bbb-2'")
    assert alone.decrypt(ciphertext, "k2", context="nodes/default/bbb-2") == "secret of bbb-2"
    sync(farm, [farm.node(f"bbb-{number}") for number in (1, 2, 3)], keys=alone)
    assert set(key_ids(farm).values()) == {"k2"}


def test_a_node_that_is_deleted_in_the_comparison_that_changes_the_key_leaves_none_of_the_old_one(farm: Farm) -> None:
    farm.fill(2)
    rotated = KeyRing({"k2": bytes(32), **KeyRing.parse(farm.keys.export())._material})
    sync(farm, [farm.node("bbb-1")], keys=rotated)
    assert key_ids(farm) == {"bbb-1": "k2", "bbb-2": "k2"}


def key_ids(farm: Farm) -> dict[str, str]:
    return dict(farm.rows("SELECT name, secret_key_id FROM nodes"))


def test_a_secret_that_vanished_leaves_no_ciphertext(farm: Farm) -> None:
    farm.fill(1)
    sync(farm, [farm.node(secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret")])
    assert farm.rows("SELECT secret_ciphertext, secret_key_id, secret_hash FROM nodes") == [(None, None, None)]


def test_a_node_without_secret_and_reason_is_refused_as_a_whole(farm: Farm) -> None:
    farm.fill(1)
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="nodes_pollable_check") as caught:
        sync(farm, [farm.node("bbb-1", weight_percent=50), farm.node("bbb-2", secret=None)])
    assert farm.rows("SELECT name, weight_percent FROM nodes") == [("bbb-1", 100)]
    assert "[SQL parameters hidden" in str(caught.value)


def test_two_operators_at_once_write_one_after_the_other(farm: Farm) -> None:
    farm.fill(0)
    barrier = threading.Barrier(4)
    results: list[list[Changed]] = []

    def run() -> None:
        barrier.wait()
        results.append(sync(farm, [farm.node(f"n{number}") for number in range(10)]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(result) for result in results) == [0, 0, 0, 10]
    assert farm.rows("SELECT count(*), max(revision) FROM nodes") == [(10, 1)]


def test_the_creation_time_decides_nothing_but_is_kept(farm: Farm) -> None:
    farm.fill(1)
    later = farm.node().created_at + timedelta(days=1)
    (change,) = sync(farm, [farm.node(created_at=later)])
    assert not change.repoll
    assert farm.rows("SELECT created_at FROM nodes") == [(later,)]


def test_names_that_look_like_sql_or_json_are_only_names(farm: Farm) -> None:
    names = ["a'b", 'a"b', "a\\b", "a,b", "{a}", "NULL", "%s", ":name", "$1"]
    farm.fill([farm.node(name) for name in names])
    assert {row[0] for row in farm.rows("SELECT name FROM nodes")} == set(names)
    assert sync(farm, [farm.node(name) for name in names], complete=False) == []
