"""Tenants, API secrets and record profiles on a real API server: accepted within seconds, and what is lost heals."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    API_VERSION,
    OperatorCluster,
    bbb_cluster,
    bbb_record_profile,
    bbb_secret,
    bbb_tenant,
    install_definitions,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

GENERATED = "uni-001-api-secret"
KINDS = ("bbbtenant", "bbbsecret", "bbbrecordprofile")


@pytest.fixture(scope="module")
def plane_with_definitions(plane: ControlPlane) -> ControlPlane:
    """A control plane of this file's own, whose definitions a test deletes."""
    install_definitions(plane)
    return plane


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path) as running:
        yield running
    assert running.problems() == []


def fill(cluster: OperatorCluster) -> None:
    """Create one object of each kind and wait until all are accepted."""
    cluster.apply(bbb_cluster(), bbb_record_profile(), bbb_tenant(), bbb_secret(recordProfileRefs=[{"name": "hd"}]))
    expect_accepted(cluster)


def expect_accepted(cluster: OperatorCluster, *, within: float = 5) -> None:
    for kind, name in zip(KINDS, ("uni", "uni-001", "hd"), strict=True):
        accepted(cluster, kind, name, "True/Accepted", within=within)


def accepted(cluster: OperatorCluster, kind: str, name: str, value: str, *, within: float = 5) -> None:
    cluster.expect_condition(kind, name, value, type_="Accepted", within=within)


def given(value: str, name: str = "given") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"secret": value}}


def value_of(cluster: OperatorCluster, name: str = GENERATED) -> str:
    """Return the value of a core Secret, empty when there is none."""
    return base64.b64decode(cluster.get("secret", name).get("data", {}).get("secret", "")).decode()


def rows(cluster: OperatorCluster, statement: str) -> list[tuple[Any, ...]]:
    with cluster.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def present(cluster: OperatorCluster) -> list[tuple[Any, ...]]:
    """Return kind, name and ID of the rows that are not deleted."""
    return rows(
        cluster,
        "SELECT 'tenant', name, id FROM tenants WHERE deleted_at IS NULL UNION ALL "
        "SELECT 'secret', name, id FROM secrets WHERE deleted_at IS NULL UNION ALL "
        "SELECT 'profile', name, id FROM record_profiles WHERE deleted_at IS NULL ORDER BY 1, 2",
    )


def secret_hash(cluster: OperatorCluster) -> bytes | None:
    """Return the keyed hash of the stored API secret: it tells that the value is another one."""
    ((found,),) = rows(cluster, "SELECT secret_hash FROM secrets WHERE name = 'uni-001'")
    return None if found is None else bytes(found)


def test_a_tenant_and_its_secret_are_accepted_within_five_seconds_and_the_api_secret_is_generated(
    cluster: OperatorCluster,
) -> None:
    fill(cluster)
    secret = cluster.get("secret", GENERATED)
    owner = cluster.get("bbbsecret", "uni-001")
    assert re.fullmatch(r"[A-Za-z0-9]{48}", value_of(cluster))
    assert secret["metadata"]["labels"] == {"app.kubernetes.io/part-of": "b3lb"}
    assert secret["metadata"]["ownerReferences"] == [
        {
            "apiVersion": API_VERSION,
            "kind": "BBBSecret",
            "name": "uni-001",
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert owner["status"]["secretRef"] == {"name": GENERATED, "key": "secret"}
    assert cluster.condition("bbbtenant", "uni", "LimitReached") == "False/NoLimits"
    assert cluster.get("bbbtenant", "uni")["status"]["secrets"] == 1
    assert rows(cluster, "SELECT slug, cluster_names FROM tenants") == [("UNI", ["default"])]
    assert rows(cluster, "SELECT sub_id, record_profile_names, blocked_reason FROM secrets") == [(1, ["hd"], None)]
    assert value_of(cluster) not in cluster.log.read_text()
    events = cluster.kubectl("get", "events.events.k8s.io", "-o", "json")
    assert value_of(cluster) not in events
    assert ("uni", "Accepted") in cluster.events()


def test_every_missing_reference_is_a_reason_and_heals_when_it_appears(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_secret(secretRef={"name": "given"}, recordProfileRefs=[{"name": "hd"}]))
    accepted(cluster, "bbbsecret", "uni-001", "False/SecretNotFound")
    cluster.apply(given("first"))
    accepted(cluster, "bbbsecret", "uni-001", "False/TenantNotFound")
    cluster.apply(bbb_tenant())
    accepted(cluster, "bbbtenant", "uni", "False/ClusterNotFound")
    accepted(cluster, "bbbsecret", "uni-001", "False/TenantNotAccepted")
    cluster.apply(bbb_cluster())
    accepted(cluster, "bbbtenant", "uni", "True/Accepted")
    accepted(cluster, "bbbsecret", "uni-001", "False/RecordProfileNotFound")
    cluster.apply(bbb_record_profile())
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    cluster.patch("bbbtenant", "uni", {"spec": {"enabled": False}})
    accepted(cluster, "bbbtenant", "uni", "False/Disabled")
    accepted(cluster, "bbbsecret", "uni-001", "False/TenantDisabled")
    cluster.kubectl("delete", "bbbtenant", "uni")
    accepted(cluster, "bbbsecret", "uni-001", "False/TenantNotFound")


def test_a_given_secret_that_changes_is_in_the_row_within_five_seconds(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_cluster(), bbb_tenant(), given("first"), bbb_secret(secretRef={"name": "given"}))
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    first = secret_hash(cluster)
    cluster.apply(given("second"))
    cluster.expect("the row changes", lambda: secret_hash(cluster) not in {first, None}, within=5)
    cluster.kubectl("delete", "secret", "given")
    accepted(cluster, "bbbsecret", "uni-001", "False/SecretNotFound")
    assert secret_hash(cluster) is None
    assert not cluster.get("secret", GENERATED)


def test_a_generated_secret_that_was_deleted_is_generated_anew_and_a_changed_one_is_used(
    cluster: OperatorCluster,
) -> None:
    fill(cluster)
    first, stored = value_of(cluster), secret_hash(cluster)
    cluster.kubectl("delete", "secret", GENERATED)
    cluster.expect("there is another", lambda: value_of(cluster) not in {first, ""}, within=5)
    cluster.expect("the row follows", lambda: secret_hash(cluster) not in {stored, None}, within=5)
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    cluster.patch("secret", GENERATED, {"stringData": {"secret": "chosen"}})
    second = secret_hash(cluster)
    cluster.expect("the row follows", lambda: secret_hash(cluster) != second, within=5)
    time.sleep(1)
    assert value_of(cluster) == "chosen"


def test_a_secret_of_that_name_that_is_somebody_elses_is_a_conflict_and_stays(cluster: OperatorCluster) -> None:
    cluster.apply(given("theirs", GENERATED), bbb_cluster(), bbb_tenant(), bbb_secret())
    accepted(cluster, "bbbsecret", "uni-001", "False/SecretConflict")
    assert value_of(cluster) == "theirs"
    cluster.kubectl("delete", "secret", GENERATED)
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    assert len(value_of(cluster)) == 48


def test_a_deleted_api_secret_takes_its_value_along_and_comes_back_as_the_same_row(cluster: OperatorCluster) -> None:
    fill(cluster)
    first, before = value_of(cluster), present(cluster)
    cluster.kubectl("delete", "bbbsecret", "uni-001")
    cluster.expect("its row is deleted", lambda: len(present(cluster)) == 2, within=5)
    cluster.expect("the Secret is gone", lambda: not cluster.get("secret", GENERATED), within=30)
    cluster.apply(bbb_secret())
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    assert present(cluster) == before
    assert value_of(cluster) not in {first, ""}


def test_one_that_is_deleted_and_created_again_at_once_gets_a_new_value_when_the_old_is_collected(
    cluster: OperatorCluster,
) -> None:
    fill(cluster)
    first = value_of(cluster)
    cluster.kubectl("delete", "bbbsecret", "uni-001")
    cluster.apply(bbb_secret())
    cluster.expect("there is another", lambda: value_of(cluster) not in {first, ""}, within=30)
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")


def test_of_two_namespaces_the_older_tenant_has_the_slug_and_the_other_heals_when_it_goes(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> None:
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, others=["a-second"]) as cluster:
        cluster.apply(bbb_cluster(), bbb_tenant())
        accepted(cluster, "bbbtenant", "uni", "True/Accepted")
        time.sleep(1.1)
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [bbb_cluster(), bbb_tenant()]})
        cluster.plane.kubectl("--namespace=a-second", "apply", "-f", "-", input=text)

        def reason() -> str:
            path = '{.status.conditions[?(@.type=="Accepted")].reason}'
            return cluster.plane.kubectl("--namespace=a-second", "get", "bbbtenant", "uni", "-o", f"jsonpath={path}")

        cluster.expect("the younger is refused", lambda: reason() == "SlugInUse", within=5)
        assert cluster.condition("bbbtenant", "uni", "Accepted") == "True/Accepted"
        before = cluster.plane.kubectl(
            "--namespace=a-second", "get", "bbbtenant", "uni", "-o", "jsonpath={.metadata.resourceVersion}"
        )
        cluster.process.stop()
        cluster.start()
        time.sleep(3)
        after = cluster.plane.kubectl(
            "--namespace=a-second", "get", "bbbtenant", "uni", "-o", "jsonpath={.metadata.resourceVersion}"
        )
        assert after == before
        cluster.kubectl("delete", "bbbtenant", "uni")
        cluster.expect("the younger is accepted", lambda: reason() == "Accepted", within=5)
    assert cluster.problems() == []


def count(cluster: OperatorCluster, *, meetings: int) -> None:
    """Do what a tick with that many meetings of ten attendees each does to the database, for every secret."""
    with cluster.engine.begin() as connection:
        connection.execute(
            sa.text(
                "WITH node AS (INSERT INTO nodes (namespace, name, uid, generation, created_at, api_url, load_url, "
                "blocked_reason) VALUES ('elsewhere', 'test', 'test', 1, now(), '', '', 'Test') "
                "ON CONFLICT (namespace, name) DO UPDATE SET generation = 1 RETURNING id) "
                "INSERT INTO meetings (node_id, internal_id, meeting_id, secret_id, state, created_at, first_seen_at, "
                "attendees, digest) SELECT node.id, secrets.id || '-' || number, '', secrets.id, 'open', now(), now(), "
                "10, '' FROM node, secrets, generate_series(1, :meetings) AS number "
                "ON CONFLICT (node_id, internal_id) DO NOTHING"
            ),
            {"meetings": meetings},
        )
        connection.execute(
            sa.text(
                "INSERT INTO secret_states (secret_id, list_digest, meetings, attendees) "
                "SELECT id, '', :meetings, 10 * :meetings FROM secrets "
                "ON CONFLICT (secret_id) DO UPDATE SET meetings = excluded.meetings, attendees = excluded.attendees"
            ),
            {"meetings": meetings},
        )
        connection.execute(
            sa.text(
                "INSERT INTO heartbeats (namespace, task, tick_at, started_at, finished_at, holder, token) "
                "VALUES (:namespace, 'update-secrets-lists', now(), now(), now(), 'test', 1) "
                "ON CONFLICT (namespace, task) DO UPDATE SET finished_at = now()"
            ),
            {"namespace": cluster.namespace},
        )
    cluster.tick()


def test_usage_follows_the_database_and_a_reached_limit_is_said_at_once(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_cluster(), bbb_tenant(limits={"meetings": 5}), bbb_secret(limits={"attendees": 40}))
    accepted(cluster, "bbbsecret", "uni-001", "True/Accepted")
    count(cluster, meetings=1)
    cluster.expect_condition("bbbtenant", "uni", "False/BelowLimits", type_="LimitReached", within=5)
    assert cluster.get("bbbsecret", "uni-001")["status"]["usage"] == {
        "meetings": 1,
        "attendees": 10,
        "listeners": 0,
        "voices": 0,
        "videos": 0,
        "moderators": 0,
    }
    count(cluster, meetings=4)
    cluster.expect_condition("bbbsecret", "uni-001", "True/AttendeeLimitReached", type_="LimitReached", within=5)
    assert cluster.condition("bbbtenant", "uni", "LimitReached") == "False/BelowLimits"
    count(cluster, meetings=5)
    cluster.expect_condition("bbbtenant", "uni", "True/MeetingLimitReached", type_="LimitReached", within=5)
    cluster.expect_condition("bbbsecret", "uni-001", "True/MeetingLimitReached", type_="LimitReached", within=5)
    assert cluster.get("bbbtenant", "uni")["status"]["usage"]["meetings"] == 5
    versions = cluster.versions()
    count(cluster, meetings=5)
    time.sleep(3)
    assert cluster.versions() == versions


def test_a_restart_writes_nothing_and_repeats_no_event(cluster: OperatorCluster) -> None:
    fill(cluster)
    time.sleep(1)
    before, events, stored = cluster.versions(), cluster.events(), stored_rows(cluster)
    cluster.process.stop()
    cluster.start()
    time.sleep(12)
    assert (cluster.versions(), cluster.events(), stored_rows(cluster)) == (before, events, stored)


def stored_rows(cluster: OperatorCluster) -> list[tuple[Any, ...]]:
    """Return the rows' versions: any write changes them."""
    return [
        row
        for table in ("tenants", "secrets", "record_profiles")
        for row in rows(cluster, f"SELECT name, xmin::text::bigint FROM {table} ORDER BY name")  # noqa: S608 - tables of ours
    ]


def test_what_was_deleted_while_the_operator_was_down_is_seen_at_its_start(cluster: OperatorCluster) -> None:
    fill(cluster)
    cluster.process.kill()
    for kind, name in zip(KINDS, ("uni", "uni-001", "hd"), strict=True):
        cluster.kubectl("delete", kind, name)
    cluster.start()
    assert present(cluster) == []


def test_a_lost_database_is_filled_again_from_the_custom_resources(cluster: OperatorCluster) -> None:
    fill(cluster)
    value = value_of(cluster)
    names = [row[:2] for row in present(cluster)]
    with cluster.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")

    def filled() -> bool:
        if rows(cluster, "SELECT to_regclass('record_profiles')") == [(None,)]:
            return False
        return [row[:2] for row in present(cluster)] == names

    cluster.expect("everything is there again", filled, within=20)
    expect_accepted(cluster)
    assert value_of(cluster) == value


def test_definitions_that_are_deleted_and_created_again_delete_the_rows_and_revive_them(
    cluster: OperatorCluster,
) -> None:
    fill(cluster)
    before = present(cluster)
    definitions = [f"{kind}s.b3lb.io" for kind in KINDS]
    cluster.plane.kubectl("delete", "crd", *definitions)
    cluster.expect("the rows are deleted", lambda: present(cluster) == [], within=10)
    install_definitions(cluster.plane)
    cluster.expect("the Secret is gone", lambda: not cluster.get("secret", GENERATED), within=60)
    cluster.apply(bbb_record_profile(), bbb_tenant(), bbb_secret(recordProfileRefs=[{"name": "hd"}]))
    expect_accepted(cluster, within=15)
    assert present(cluster) == before
