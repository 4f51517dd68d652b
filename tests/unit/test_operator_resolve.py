"""From custom resources and Secrets to rows: what is missing or wrong becomes a reason, never an exception."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.configuration import NodeRow
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, RECORD_PROFILE, SECRET, TENANT, Manifest
from b3lb_operator.resolve import (
    Secrets,
    Surroundings,
    configure,
    resolve_cluster,
    resolve_node,
    resolve_queue,
    secret_names,
)
from tests.unit.certificates import certificate
from tests.unit.operator_fakes import (
    api_secret_manifest,
    cluster_manifest,
    manifest_of,
    node_manifest,
    queue_manifest,
    secret_manifest,
    tenant_manifest,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
_FIELDS = st.sampled_from(
    [
        "host",
        "apiUrl",
        "loadUrl",
        "secretRef",
        "clusterRef",
        "state",
        "weightPercent",
        "tls",
        "tasks",
        "slug",
        "clusterRefs",
        "limits",
        "tenantRef",
        "subId",
        "recordProfileRefs",
        "resources",
        "webcam",
    ]
)


def raw_secret(name: str, data: dict[str, Any] | None) -> Manifest:
    return {**manifest_of(SECRET, name), "data": data}


def test_a_node_becomes_a_row_with_everything_from_its_spec() -> None:
    manifest = node_manifest(
        host=None, apiUrl="https://bbb.example.org:8443/x/api/", maxMeetings=5, maxAttendees=100, weightPercent=200
    )
    row = resolve_node(manifest, {"one-api": secret_manifest("one-api", secret="key\n")})
    assert (row.api_url, row.load_url) == (
        "https://bbb.example.org:8443/x/api",
        "https://bbb.example.org:8443/b3lb/load",
    )
    assert (row.cluster, row.state, row.weight_percent, row.max_meetings, row.max_attendees) == (
        "default",
        "Active",
        200,
        5,
        100,
    )
    assert (row.secret, row.blocked_reason) == ("key", None)
    assert row.created_at == datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        (None, "SecretNotFound", "Secret one-api does not exist"),
        (raw_secret("one-api", None), "SecretKeyNotFound", "has no key secret"),
        (raw_secret("one-api", {}), "SecretKeyNotFound", "has no key secret"),
        (secret_manifest("one-api", other="x"), "SecretKeyNotFound", "has no key secret"),
        (secret_manifest("one-api", secret=""), "InvalidSecret", "is empty"),
        (secret_manifest("one-api", secret=" \n"), "InvalidSecret", "is empty"),
        (secret_manifest("one-api", secret="x" * 1025), "InvalidSecret", "longer than 1024"),
        (secret_manifest("one-api", secret="a\nb"), "InvalidSecret", "line breaks"),
        (raw_secret("one-api", {"secret": base64.b64encode(b"\xff\xfe").decode()}), "InvalidSecret", "not text"),
        (raw_secret("one-api", {"secret": "no base64!"}), "InvalidSecret", "not text"),
    ],
)
def test_a_secret_that_cannot_be_used_blocks_with_the_exact_reason(
    secret: Manifest | None, reason: str, words: str
) -> None:
    row = resolve_node(node_manifest(), {"one-api": secret})
    assert (row.secret, row.blocked_reason) == (None, reason)
    assert words in (row.blocked_message or "")


def test_no_message_holds_a_secrets_value() -> None:
    row = resolve_node(node_manifest(), {"one-api": secret_manifest("one-api", secret="hidden\nhidden")})
    assert "hidden" not in repr(row)


@pytest.mark.parametrize(
    ("state", "expected"), [("Active", "Draining"), ("Cordoned", "Draining"), ("Disabled", "Disabled")]
)
def test_a_node_that_is_being_deleted_drains_unless_it_is_disabled(state: str, expected: str) -> None:
    manifest = node_manifest(state=state, metadata={"deletionTimestamp": "2026-03-01T11:00:00Z"})
    assert resolve_node(manifest, {"one-api": None}).state == expected


@pytest.mark.parametrize(
    "spec", [{}, {"host": 5}, {"host": "a", "apiUrl": "https://b/api", "secretRef": {"name": "s"}}]
)
def test_a_spec_that_this_program_cannot_read_is_a_reason(spec: dict[str, Any]) -> None:
    manifest = {**node_manifest(), "spec": spec}
    row = resolve_node(manifest, {})
    assert row.blocked_reason == "InvalidSpec"
    assert row.blocked_message


def test_a_cluster_becomes_a_row_with_everything_from_its_spec() -> None:
    bundle = certificate()
    manifest = cluster_manifest(
        load={"attendeeFactor": 2, "meetingFactor": 3, "cpuTerms": 4, "cpuMaximum": 5},
        checksumAlgorithm="sha512",
        health={"timeoutSeconds": 6, "unhealthyAfter": 7, "healthyAfter": 8},
        massFailureGuard={"sharePercent": 60, "minimumNodes": 9, "maximumSeconds": 10},
        tls={"caSecretRef": {"name": "ca"}},
        lostMeetings={"endAfterSeconds": 60},
    )
    row, block = resolve_cluster(manifest, {"ca": secret_manifest("ca", **{"ca.crt": bundle})})
    assert block is None
    assert row is not None
    assert row.load == LoadFormula(2, 3, 4, 5)
    assert (row.checksum_algorithm, row.timeout_seconds, row.unhealthy_after, row.healthy_after) == ("sha512", 6, 7, 8)
    assert row.guard == GuardPolicy(60, 9, 10)
    assert row.ca_certificates == bundle
    assert row.blocked_reason is None
    assert row.lost_meetings_seconds == 60


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (secret_manifest("uploads", nonce="a-nonce"), None),
        (None, "UploadSecretNotFound"),
        (secret_manifest("uploads", other="x"), "UploadSecretKeyNotFound"),
        (secret_manifest("uploads", nonce=" "), "InvalidUploadSecret"),
    ],
)
def test_a_cluster_whose_upload_secret_cannot_be_had_says_so_and_is_polled_all_the_same(
    secret: Manifest | None, reason: str | None
) -> None:
    cluster = cluster_manifest(uploadSecretRef={"name": "uploads"})
    assert secret_names({CLUSTER: [cluster]}) == {"uploads"}
    row, block = resolve_cluster(cluster, {"uploads": secret})
    assert row is not None
    assert (row.secret, row.blocked_reason) == ("a-nonce" if reason is None else None, None)
    assert (None if block is None else block.reason) == reason
    assert "a-nonce" not in repr(row)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, "SecretNotFound"),
        (secret_manifest("ca", other="x"), "SecretKeyNotFound"),
        (secret_manifest("ca", **{"ca.crt": "no PEM"}), "InvalidCertificates"),
        (secret_manifest("ca", **{"ca.crt": ""}), "InvalidCertificates"),
    ],
)
def test_certificates_that_cannot_be_had_are_a_reason_and_the_rest_of_the_cluster_counts(
    secret: Manifest | None, reason: str
) -> None:
    cluster = cluster_manifest(health={"timeoutSeconds": 9}, tls={"caSecretRef": {"name": "ca"}})
    configuration = configure({CLUSTER: [cluster]}, secrets={"ca": secret}, surroundings=Surroundings())
    assert configuration.blocks["default"].reason == reason
    assert "known before for this spec, or not polled if there are none" in configuration.blocks["default"].message
    (row,) = configuration.clusters
    assert (row.timeout_seconds, row.ca_certificates) == (9, None)
    assert row.blocked_reason == {"SecretNotFound": "CASecretNotFound", "SecretKeyNotFound": "CASecretKeyNotFound"}.get(
        reason, reason
    )
    assert row.blocked_message == f"BBBCluster default: {configuration.blocks['default'].message}"


def rows_of(nodes: list[Manifest], secrets: Secrets, surroundings: Surroundings) -> list[NodeRow]:
    """Return the rows of nodes in their surroundings."""
    return configure({NODE: nodes}, secrets=secrets, surroundings=surroundings).nodes


def test_nodes_of_a_cluster_that_cannot_be_read_are_blocked_and_say_why() -> None:
    cluster = cluster_manifest(checksumAlgorithm="md5")
    node = node_manifest()
    surroundings = Surroundings.of([cluster], [node])
    (row,) = rows_of([node], {"one-api": secret_manifest("one-api", secret="s")}, surroundings)
    assert row.blocked_reason == "ClusterNotFound"
    assert "checksumAlgorithm" in (row.blocked_message or "")


def test_of_two_nodes_with_one_address_the_younger_is_blocked() -> None:
    old = node_manifest("old", host="bbb.example.org")
    young = node_manifest(
        "young",
        host=None,
        apiUrl="https://BBB.example.org:443/bigbluebutton/api/",
        metadata={"creationTimestamp": "2026-03-01T11:00:00Z"},
    )
    secrets = {f"{name}-api": secret_manifest(f"{name}-api", secret="s") for name in ("old", "young")}
    surroundings = Surroundings.of([], [young, old])
    first, row = rows_of([old, young], secrets, surroundings)
    assert first.blocked_reason is None
    assert row.blocked_reason == "DuplicateURL"
    assert "old" in (row.blocked_message or "")


def conditions(status: str) -> Manifest:
    return {"conditions": [{"type": "Ready", "status": status, "reason": "…", "message": "…"}]}


@pytest.mark.parametrize("status", [conditions("False"), conditions("Unknown"), {}])
def test_a_deleted_node_that_is_not_ready_leaves_its_server_to_its_replacement(status: Manifest) -> None:
    old = {**node_manifest("old", host="bbb.example.org"), "status": status}
    young = node_manifest("young", host="bbb.example.org", metadata={"creationTimestamp": "2026-03-01T11:00:00Z"})
    assert Surroundings.of([], [old, young]).duplicates.keys() == {"young"}
    leaving = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-03-01T11:30:00Z"}}
    assert Surroundings.of([], [leaving, young]).duplicates.keys() == {"old"}
    assert Surroundings.of([], [leaving]).duplicates == {}


def test_a_deleted_node_that_is_ready_keeps_its_server_and_its_replacement_is_told_how_to_end_that() -> None:
    metadata = {"deletionTimestamp": "2026-03-01T11:30:00Z"}
    old = {**node_manifest("old", host="bbb.example.org", metadata=metadata), "status": conditions("True")}
    young = node_manifest("young", host="bbb.example.org", metadata={"creationTimestamp": "2026-03-01T11:00:00Z"})
    assert Surroundings.of([], [old, young]).duplicates == {
        "young": "BBBNode old polls the same server already; it is being deleted and waits for its meetings to end: "
        "with the annotation b3lb.io/force-delete=true it goes at once"
    }


def test_what_a_node_lacks_itself_goes_before_its_address() -> None:
    surroundings = Surroundings(duplicates={"one": "BBBNode old polls the same server already"})
    (row,) = rows_of([node_manifest()], {"one-api": None}, surroundings)
    assert row.blocked_reason == "SecretNotFound"


def test_nodes_to_which_others_make_a_difference_are_found() -> None:
    first, second, third = (node_manifest(name, host="same.example.org") for name in "abc")
    alone = Surroundings.of([], [first])
    three = Surroundings.of([], [first, second, third])
    assert three.affected(alone, []) == {"b", "c"}
    without_oldest = Surroundings.of([], [second, third])
    assert without_oldest.affected(three, []) == {"b", "c"}
    broken = Surroundings.of([cluster_manifest(checksumAlgorithm="md5")], [first])
    assert broken.affected(alone, [first]) == {"a"}
    assert alone.affected(broken, [first]) == {"a"}
    assert broken.affected(broken, [first]) == set()


def test_a_queue_becomes_a_row_and_one_that_cannot_be_read_has_none() -> None:
    row = resolve_queue(queue_manifest(tickSeconds=15, maxInFlight=7, suspend=True))
    assert row is not None
    assert dataclasses.astuple(row)[3:] == (("check-nodes",), 15, 7, True)
    assert resolve_queue(queue_manifest(tickSeconds=7)) is None


def test_all_secrets_that_are_named_are_asked_for() -> None:
    clusters = [
        cluster_manifest(),
        cluster_manifest("b", tls={"caSecretRef": {"name": "ca"}}),
        cluster_manifest("c", tls=1),
    ]
    nodes = [node_manifest("a"), node_manifest("b"), {**node_manifest("c"), "spec": {}}]
    assert secret_names({CLUSTER: clusters, NODE: nodes}) == {"a-api", "b-api", "ca"}


@given(st.dictionaries(_FIELDS, _JSON, max_size=6))
def test_no_spec_whatever_is_in_it_raises(spec: dict[str, Any]) -> None:
    objects = {
        kind: [{**manifest, "spec": spec}]
        for kind, manifest in (
            (CLUSTER, cluster_manifest()),
            (NODE, node_manifest()),
            (QUEUE, queue_manifest()),
            (TENANT, tenant_manifest()),
            (API_SECRET, api_secret_manifest()),
            (RECORD_PROFILE, manifest_of(RECORD_PROFILE, "standard")),
        )
    }
    surroundings = Surroundings.of(objects[CLUSTER], objects[NODE], objects[TENANT])
    configuration = configure(objects, secrets=dict.fromkeys(secret_names(objects)), surroundings=surroundings)
    rows = (configuration.nodes, configuration.tenants, configuration.api_secrets, configuration.record_profiles)
    assert [len(found) for found in rows] == [1, 1, 1, 1]
