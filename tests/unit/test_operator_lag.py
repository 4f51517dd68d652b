"""What the database does not reflect is known, and for how long."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from b3lb.db.mirror import QueueMirror, Snapshot
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, RECORD_PROFILE, TENANT
from b3lb_operator.lag import PATIENCE_SECONDS, Lag, unreflected, went_back
from tests.unit.operator_fakes import (
    NOW,
    api_secret_manifest,
    cluster_manifest,
    manifest_of,
    node_manifest,
    node_row,
    queue_manifest,
    snapshot_of,
    tenant_manifest,
)
from tests.unit.test_tenancy_status import HD, secret_row, tenant_row

OBJECTS = {CLUSTER: [cluster_manifest()], NODE: [node_manifest("a"), node_manifest("b")]}
ROWS = [node_row(manifest) for manifest in OBJECTS[NODE]]
UID = ROWS[0].uid
PROFILE = manifest_of(RECORD_PROFILE, "hd")


def test_nothing_lags_when_every_object_has_its_row() -> None:
    assert unreflected(OBJECTS, snapshot_of(*ROWS)) == set()


def test_a_row_that_lacks_or_is_of_another_generation_or_object_lags() -> None:
    first = ROWS[0]
    expected = {(UID, first.generation)}
    assert unreflected(OBJECTS, snapshot_of(ROWS[1])) == expected
    for generation in (first.generation - 1, first.generation + 1):
        other = dataclasses.replace(first, generation=generation)
        assert unreflected(OBJECTS, snapshot_of(other, ROWS[1])) == expected
    replaced = dataclasses.replace(first, uid="older")
    assert unreflected(OBJECTS, snapshot_of(replaced, ROWS[1])) == {*expected, ("older", 0)}


def test_a_cluster_without_a_row_lags() -> None:
    empty: Snapshot = dataclasses.replace(snapshot_of(*ROWS), clusters={})
    assert unreflected(OBJECTS, empty) == {("bbbclusters-default", 1)}


def test_a_queue_without_a_row_lags() -> None:
    queue = queue_manifest()
    objects = {**OBJECTS, QUEUE: [queue]}
    assert unreflected(objects, snapshot_of(*ROWS)) == {("bbbqueues-core", 1)}
    stored = dataclasses.replace(snapshot_of(*ROWS), queues={"core": QueueMirror("core", "bbbqueues-core", 1)})
    assert unreflected(objects, stored) == set()


def test_tenants_api_secrets_and_record_profiles_without_a_row_lag() -> None:
    new = {TENANT: [tenant_manifest()], API_SECRET: [api_secret_manifest()], RECORD_PROFILE: [PROFILE]}
    assert unreflected({**OBJECTS, **new}, snapshot_of(*ROWS)) == {
        ("bbbtenants-uni", 1),
        ("bbbsecrets-uni-001", 1),
        ("bbbrecordprofiles-hd", 1),
    }
    stored = dataclasses.replace(
        snapshot_of(*ROWS),
        tenants={"uni": tenant_row()},
        api_secrets={"uni-001": secret_row()},
        record_profiles={"hd": HD},
    )
    assert unreflected({**OBJECTS, **new}, stored) == set()


def test_a_row_without_an_object_lags() -> None:
    assert unreflected({**OBJECTS, NODE: OBJECTS[NODE][1:]}, snapshot_of(*ROWS)) == {(UID, 0)}


def test_a_database_went_back_when_ticks_or_revisions_are_gone_or_older() -> None:
    now = snapshot_of(*ROWS)
    assert not went_back(None, now)
    assert not went_back(now, now)
    assert not went_back(now, dataclasses.replace(snapshot_of(ROWS[0]), now=NOW + timedelta(minutes=1)))
    assert went_back(now, snapshot_of(*ROWS, tick_at=NOW - timedelta(minutes=1)))
    assert went_back(now, dataclasses.replace(now, heartbeats={}))
    first, second = (dataclasses.replace(row, id=number, revision=2) for number, row in enumerate(ROWS))
    older = dataclasses.replace(first, revision=1)
    assert went_back(snapshot_of(first, second), snapshot_of(older, second))
    assert not went_back(snapshot_of(older, second), snapshot_of(first, second))


def test_a_comparison_is_taken_once_in_ten_seconds_then_less_often_and_at_once_again_when_all_was_well() -> None:
    lag = Lag()
    lag.note({("a", 1)}, at=0)
    assert [at for at in range(1000) if lag.take_comparison(at=at)] == [3, 13, 33, 73, 153, 313, 613, 913]
    lag.note(set(), at=1000)
    lag.note(set(), at=1300, restored=True)
    assert [at for at in range(1300, 1400) if lag.take_comparison(at=at)] == [1300]
    lag.note(set(), at=1390)
    lag.note({("a", 1)}, at=1400)
    assert [at for at in range(1400, 1420) if lag.take_comparison(at=at)] == [1403, 1413]


def test_what_is_not_reflected_is_late_after_its_time_and_not_before() -> None:
    lag = Lag()
    assert lag.seconds_to_wait(at=0) is None
    lag.note({("a", 1)}, at=0)
    lag.note({("a", 1), ("b", 1)}, at=1)
    assert (lag.late(at=2.9), lag.seconds_to_wait(at=1)) == (frozenset(), PATIENCE_SECONDS - 1)
    assert (lag.late(at=3), lag.seconds_to_wait(at=3)) == (frozenset({"a"}), 1.0)
    assert (lag.late(at=4), lag.seconds_to_wait(at=4)) == (frozenset({"a", "b"}), None)


def test_what_was_reflected_meanwhile_or_changed_again_begins_anew() -> None:
    lag = Lag()
    lag.note({("a", 1), ("b", 1)}, at=0)
    lag.note({("b", 2)}, at=2)
    lag.note({("a", 1), ("b", 2)}, at=3)
    assert lag.late(at=4.9) == frozenset()
    assert lag.late(at=5) == {"b"}
