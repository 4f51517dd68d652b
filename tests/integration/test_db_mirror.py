"""What the operator mirrors: one look at a namespace in six statements."""

from datetime import UTC, datetime

import pytest

from b3lb.db.configuration import ClusterRow, NodeRow, apply_clusters, apply_nodes
from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.mirror import ClusterMirror, NodeMirror, Snapshot, read_snapshot
from b3lb.db.node_states import write_states
from b3lb.db.ticks import heartbeat
from b3lb.health import GuardState
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def snapshot(farm: Farm, namespace: str = "default") -> Snapshot:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return read_snapshot(connection, namespace)


def test_an_empty_namespace_has_only_a_clock(farm: Farm) -> None:
    found = snapshot(farm)
    assert (found.heartbeats, found.clusters, found.nodes, found.heartbeat()) == ({}, {}, {}, None)
    assert abs((datetime.now(UTC) - found.now).total_seconds()) < 10


def test_a_snapshot_holds_clusters_nodes_states_and_heartbeats(farm: Farm) -> None:
    ids = farm.fill(
        [
            farm.node("a", state="Cordoned", max_meetings=5, max_attendees=6),
            farm.node("b", secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret"),
        ]
    )
    ((cluster_id,),) = farm.rows("SELECT id FROM clusters")
    guard = GuardState(since=NOW, failed=3, polled=4)
    lease = Lease(name="l", holder="pod-a", token=7)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        write_states(connection, [(ids["a"], farm.state(), 12.5, None)], [(cluster_id, guard)])
        for task in ("check-nodes", "other"):
            heartbeat(connection, "default", task, tick_at=NOW, started_at=NOW, lease=lease, summary={"task": task})
        heartbeat(connection, "elsewhere", "check-nodes", tick_at=NOW, started_at=NOW, lease=lease, summary={})
    found = snapshot(farm)
    assert found.clusters == {
        "default": ClusterMirror(id=cluster_id, name="default", uid="uid-default", generation=1, guard=guard)
    }
    assert found.nodes["a"] == NodeMirror(
        id=ids["a"],
        name="a",
        uid="uid-a",
        generation=1,
        revision=1,
        cluster="default",
        desired_state="Cordoned",
        max_meetings=5,
        max_attendees=6,
        blocked_reason=None,
        blocked_message=None,
        state=farm.state(),
        load=12.5,
        written_at=found.nodes["a"].written_at,
    )
    assert found.nodes["a"].current == farm.state()
    blocked = found.nodes["b"]
    assert (blocked.blocked_reason, blocked.blocked_message, blocked.state, blocked.load) == (
        "SecretNotFound",
        "no Secret",
        None,
        None,
    )
    assert set(found.heartbeats) == {"check-nodes", "other"}
    beat = found.heartbeat()
    assert beat is not None
    assert (beat.tick_at, beat.holder, beat.token, beat.summary) == (NOW, "pod-a", 7, {"task": "check-nodes"})
    assert beat.finished_at <= found.now


def test_a_state_of_an_older_revision_is_not_current(farm: Farm) -> None:
    ids = farm.fill(1)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        write_states(connection, [(ids["bbb-1"], farm.state(), 1.0, None)])
    farm.run("UPDATE nodes SET revision = 2")
    node = snapshot(farm).nodes["bbb-1"]
    assert node.state == farm.state()
    assert node.current is None


def test_deleted_objects_are_not_mirrored(farm: Farm) -> None:
    farm.fill(2)
    farm.run("UPDATE nodes SET deleted_at = now() WHERE name = 'bbb-1'")
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_clusters(connection, "default", [], complete=True, keys=farm.keys)
    found = snapshot(farm)
    assert found.clusters == {}
    assert set(found.nodes) == {"bbb-2"}


def test_a_blocked_clusters_reason_is_that_of_its_nodes_unless_they_have_one_of_their_own(farm: Farm) -> None:
    blocked = farm.cluster(blocked_reason="CASecretNotFound", blocked_message="no Secret")
    own = farm.node("own", secret=None, blocked_reason="SecretKeyNotFound", blocked_message="no key")
    farm.fill([farm.node("bare"), own], [blocked])
    found = snapshot(farm).nodes
    assert (found["bare"].blocked_reason, found["bare"].blocked_message) == ("CASecretNotFound", "no Secret")
    assert (found["own"].blocked_reason, found["own"].blocked_message) == ("SecretKeyNotFound", "no key")


def test_meetings_that_have_not_ended_are_known_of_nodes_that_are_not_polled(farm: Farm) -> None:
    filled = Meetings(farm)
    filled.write(filled.meeting("open"), filled.meeting("over", node_id=filled.nodes["bbb-2"]))

    def known(*nodes: NodeRow, cluster: ClusterRow | None = None) -> list[bool]:
        with transaction(farm.engine, timeout_seconds=10) as connection:
            apply_clusters(connection, "default", [cluster or farm.cluster()], complete=True, keys=farm.keys)
            apply_nodes(connection, "default", nodes, complete=False, keys=farm.keys)
        return [row.has_meetings for row in snapshot(farm).nodes.values()]

    assert known() == [False, False]
    assert known(farm.node("bbb-1", state="Disabled"), farm.node("bbb-2", state="Disabled")) == [True, True]
    filled.lose(filled.id("open"))
    filled.end(filled.id("over"))
    assert known() == [True, False]
    blocked = farm.node("bbb-1", secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret")
    assert known(blocked) == [True, False]
    assert known(farm.node("bbb-1")) == [False, False]
    assert known(cluster=farm.cluster(blocked_reason="CASecretNotFound", blocked_message="no Secret")) == [True, False]


def test_any_number_of_nodes_takes_seven_statements(farm: Farm) -> None:
    farm.fill(50)
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert len(read_snapshot(connection, "default").nodes) == 50
    assert counter.count == 7
