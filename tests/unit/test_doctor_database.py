"""What the doctor says of the database, of keys and of itself, from facts that tests make up."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from b3lb.crypto import KeyRing
from b3lb.db.schema import SchemaRange
from b3lb.db.sealed_rows import SealedRow
from b3lb.db.tables import SCHEMA_VERSION
from b3lb.db.vital_signs import VitalSigns
from b3lb.findings import Finding, FindingStatus
from b3lb_operator.doctor.database import DatabaseFacts, check_database
from b3lb_operator.doctor.doctor import read_job_secret
from b3lb_operator.doctor.keys import JobSecret, KeyFacts, check_keys
from b3lb_operator.doctor.operator import OperatorFacts, check_operator
from tests.unit.operator_fakes import NOW, secret_manifest

OLD, NEW = KeyRing.generate("k1"), KeyRing.generate("k2")
BOTH = KeyRing.parse(f"{NEW.export()},{OLD.export()}")


def signs(**fields: Any) -> VitalSigns:
    """Return those of a server that is well."""
    values: dict[str, Any] = {
        "version": 160004,
        "version_text": "16.4",
        "in_recovery": False,
        "size_bytes": 5 * 2**20,
        "connections_left": 80,
        "clock": NOW,
        "own_clock": NOW,
        "latency": timedelta(milliseconds=0.4),
        "schema": SchemaRange(SCHEMA_VERSION, 1),
    }
    return VitalSigns(**{**values, **fields})


def of_database(**fields: Any) -> dict[str, Finding]:
    return {item.check: item for item in check_database(DatabaseFacts(signs=signs(**fields)))}


def row(name: str, keys: KeyRing, *, deleted: bool = False) -> SealedRow:
    """Return the row of a node whose secret some keys sealed."""
    made = SealedRow(kind="bbbnode", namespace="farm", name=name, deleted=deleted, key_id="", ciphertext=b"")
    sealed = keys.encrypt("a-secret", context=made.context)
    return dataclasses.replace(made, key_id=sealed.key_id, ciphertext=sealed.ciphertext)


def of_keys(*rows: SealedRow, keys: KeyRing, job_secrets: tuple[JobSecret, ...] = ()) -> list[Finding]:
    return list(check_keys(KeyFacts(rows=rows, keys=keys, job_secrets=job_secrets)))


def test_a_database_that_is_well_has_a_line_for_each_property() -> None:
    findings = of_database()
    assert {item.status for item in findings.values()} == {FindingStatus.OK}
    assert findings["DatabaseVersion"].message == "PostgreSQL 16.4"
    assert findings["DatabaseSize"].message == "it takes 5 MiB"
    assert findings["DatabaseLatency"].message == "a statement that does nothing takes 0.4 ms"
    assert not any(item.remedy for item in findings.values())


@pytest.mark.parametrize(
    ("fields", "check", "status", "message"),
    [
        (
            {"version": 130010, "version_text": "13.10"},
            "DatabaseVersion",
            "failed",
            "PostgreSQL 13.10 is older than 14",
        ),
        (
            {"in_recovery": True},
            "DatabaseReachable",
            "failed",
            "the server is a standby, which nothing can be written to",
        ),
        ({"schema": None}, "DatabaseSchema", "failed", "the database has no schema yet; the operator creates it"),
        (
            {"latency": timedelta(milliseconds=30)},
            "DatabaseLatency",
            "warning",
            "a statement that does nothing takes 30.0 ms",
        ),
        (
            {"latency": timedelta(seconds=1)},
            "DatabaseLatency",
            "failed",
            "a statement that does nothing takes 1000.0 ms",
        ),
        ({"clock": NOW + timedelta(seconds=9)}, "DatabaseClock", "warning", "its clock is 9 s ahead of the operator's"),
        ({"clock": NOW - timedelta(minutes=5)}, "DatabaseClock", "failed", "its clock is 300 s behind the operator's"),
        ({"connections_left": 9}, "DatabaseConnections", "warning", "9 more connections are possible"),
        ({"connections_left": 0}, "DatabaseConnections", "failed", "0 more connections are possible"),
    ],
)
def test_each_fault_of_the_database_has_its_line_and_a_remedy(
    fields: dict[str, Any], check: str, status: str, message: str
) -> None:
    finding = of_database(**fields)[check]
    assert (finding.status, finding.message) == (status, message)
    assert finding.remedy


def test_a_database_that_is_away_is_one_failure_which_names_its_secret() -> None:
    facts = DatabaseFacts(signs=None, error="connection refused", namespace="farm", secret="b3lb-database")
    (finding,) = check_database(facts)
    assert (finding.check, finding.status) == ("DatabaseReachable", FindingStatus.FAILED)
    assert finding.message == "the database cannot be used: connection refused"
    assert "kubectl get -n farm secret b3lb-database" in finding.remedy


def test_secrets_under_the_present_key_are_well() -> None:
    readable, rotation = of_keys(row("one", NEW), row("two", NEW), keys=NEW)
    assert (readable.status, readable.message) == ("ok", "all 2 stored secrets can be decrypted")
    assert (rotation.status, rotation.message) == ("ok", "all are under k2")


def test_a_rotation_that_is_not_finished_is_counted() -> None:
    readable, rotation = of_keys(row("one", OLD), row("two", NEW), row("three", OLD, deleted=True), keys=BOTH)
    assert readable.status == "ok"
    assert (rotation.status, rotation.message) == ("warning", "the rotation is not finished: 2 under k1, 1 under k2")
    assert "kubectl rollout restart deployment/b3lb-operator" in rotation.remedy


def test_an_old_key_that_nothing_needs_may_be_dropped() -> None:
    _, rotation = of_keys(row("one", NEW), keys=BOTH)
    assert rotation.message == "all are under k2; k1 may be dropped when no rotation is going on"


def test_secrets_of_a_lost_key_fail_and_those_of_deleted_objects_only_warn() -> None:
    live, _ = of_keys(row("one", OLD), row("two", NEW), keys=NEW)
    assert (live.status, live.message) == (
        "failed",
        "1 of 2 stored secrets cannot be decrypted (bbbnode/one); needed: k1, configured: k2",
    )
    deleted, _ = of_keys(row("one", OLD, deleted=True), row("two", NEW), keys=NEW)
    assert deleted.status == "warning"


@pytest.mark.parametrize(
    ("secret", "status", "message"),
    [
        (JobSecret(namespace="farm", name="keys", keys=NEW), "ok", "the pods' keys open all that is stored"),
        (JobSecret(namespace="farm", name="database"), "ok", "the pods find in it what they need"),
        (
            JobSecret(namespace="farm", name="keys", keys=OLD),
            "failed",
            "the pods' keys do not open 1 of 1 stored secrets; needed: k2, configured: k1",
        ),
        (
            JobSecret(namespace="farm", name="keys", problem="it does not exist"),
            "failed",
            "the pods cannot use it: it does not exist",
        ),
    ],
)
def test_each_state_of_the_pods_secrets_is_told(secret: JobSecret, status: str, message: str) -> None:
    *_, finding = of_keys(row("one", NEW), keys=NEW, job_secrets=(secret,))
    assert (finding.status, finding.message) == (status, message)
    assert bool(finding.remedy) == (status != "ok")


def test_pods_without_the_key_that_encrypts_fail_before_anything_is_stored_under_it() -> None:
    secret = JobSecret(namespace="farm", name="keys", keys=OLD)
    *_, finding = of_keys(row("one", OLD), keys=BOTH, job_secrets=(secret,))
    assert finding.message == "the pods lack the key k2, with which the operator encrypts"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "it has no key keys"),
        ({"keys": "k1"}, "encryption key 1 is not of the form id:base64"),
    ],
)
def test_a_secret_of_the_pods_that_is_of_no_use_is_named_without_its_value(data: dict[str, str], problem: str) -> None:
    encoded = secret_manifest("keys", **data)["data"]
    assert read_job_secret(encoded, namespace="farm", name="keys", key="keys").problem == problem


def test_no_finding_about_keys_holds_a_key_or_a_value() -> None:
    secret = JobSecret(namespace="farm", name="keys", keys=OLD)
    text = repr(of_keys(row("one", NEW), keys=NEW, job_secrets=(secret,)))
    assert "a-secret" not in text
    assert not any(part.partition(":")[2] in text for part in (OLD.export(), NEW.export()))


def test_the_operators_own_problems_are_failures_and_a_late_loop_is_a_warning() -> None:
    well = list(check_operator(OperatorFacts()))
    assert [item.status for item in well] == ["ok", "ok", "ok"]
    ill = check_operator(OperatorFacts(not_live=["the watch has ended"], not_ready=["no database"], lag_seconds=2.0))
    assert [(item.check, item.status, item.message) for item in ill] == [
        ("OperatorLive", "failed", "the watch has ended"),
        ("OperatorReady", "failed", "no database"),
        ("OperatorLag", "warning", "its event loop was up to 2.0 s late: it lacks CPU"),
    ]
