"""What the schema of the custom resources accepts, the tables take; if they did not, only that object would suffer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    ApiSecretRow,
    Changed,
    ClusterRow,
    NodeRow,
    QueueRow,
    RecordProfileRow,
    Refused,
    TenantRow,
)
from b3lb.db.engine import count_statements, create_engine, transaction
from b3lb.db.meetings import load_attribution
from b3lb.db.secret_states import closed_reason
from b3lb.db.tables import record_profiles, secrets, tenants
from b3lb_operator.apply import store_configuration
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, RECORD_PROFILE, TENANT, Kind, Manifest
from b3lb_operator.resolve import Configuration, Surroundings, configure, secret_names
from tests.integration.database_farm import CREATED

pytestmark = pytest.mark.integration

CRDS = Path(__file__).resolve().parents[2] / "crds"
KEYS = KeyRing.generate()
SECRETS = {"api": {"data": {"secret": "c2VjcmV0"}}}
HOSTS = st.sampled_from(["bbb1.example.org", "10.0.0.1"])
URLS = st.sampled_from(["https://bbb1.example.org/bigbluebutton/api", "http://[2001:db8::1]:8080/api"])
# Beside limits these have patterns or CEL rules; the values keep to them, else the spec would not get into a row.
TEXTS: dict[str, st.SearchStrategy[Any]] = {
    "host": HOSTS,
    "apiUrl": URLS,
    "loadUrl": URLS,
    "name": st.sampled_from(["api", "default", "a" * 253]),
    "key": st.sampled_from(["secret", "k" * 253]),
    "schedule": st.just("* * * * *"),
    "tasks": st.lists(st.sampled_from(["check-nodes", "t" * 63]), min_size=1, max_size=2, unique=True),
    "resources": st.just({}),
    "timeZone": st.just("Europe/Berlin"),
    "start": st.sampled_from(["20:00", "00:00"]),
    "end": st.sampled_from(["06:00", "23:59"]),
    "rateLimit": st.sampled_from(["1/h", "99999/s"]),
    "image": st.just("b3lb:test"),
    "slug": st.just("UNI"),
    "tenantRef": st.just({"name": "uni"}),
    "clusterRefs": st.just([{"name": "default"}, {"name": "c" * 253}]),
    "recordProfileRefs": st.just([{"name": "p" * 253}]),
    "width": st.sampled_from([320, 3840]),
    "height": st.sampled_from([240, 2160]),
    "webcam": st.just({"sizePercent": 90}),
    "backdrop": st.just("#00aaFF"),
}


def schema_of(kind: Kind) -> dict[str, Any]:
    definition = yaml.safe_load((CRDS / f"b3lb.io_{kind.plural}.yaml").read_text(encoding="utf-8"))
    spec: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def values(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what the schema accepts for a field; numbers are most often at their limits."""
    if name in TEXTS:
        return TEXTS[name]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        limits = schema["minimum"], schema["maximum"]
        return st.sampled_from(limits) | st.integers(*limits)
    assert schema["type"] == "object", name
    return objects(schema)


def objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: values(name, field) for name, field in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def manifests(kind: Kind) -> st.SearchStrategy[Manifest]:
    def made(spec: dict[str, Any], generation: int) -> Manifest:
        if kind == NODE and ("host" in spec) == ("apiUrl" in spec):
            spec = {**{name: value for name, value in spec.items() if name != "apiUrl"}, "host": "bbb.example.org"}
        name = {TENANT: "uni", API_SECRET: f"uni-{spec.get('subId', 0):03d}"}.get(kind, "default")
        metadata = {"namespace": "farm", "name": name, "uid": "u", "generation": generation}
        return {"metadata": {**metadata, "creationTimestamp": "2026-03-01T10:00:00Z"}, "spec": spec}

    return st.builds(made, objects(schema_of(kind)), st.sampled_from([1, 2**63 - 1]))


@pytest.fixture(scope="module")
def module_engine(module_database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(module_database_url, application_name="b3lb-tests")
    yield engine
    engine.dispose()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(cluster=manifests(CLUSTER), node=manifests(NODE), queue=manifests(QUEUE))
def test_whatever_the_schema_of_the_custom_resources_accepts_can_be_stored(
    module_engine: sa.Engine, cluster: Manifest, node: Manifest, queue: Manifest
) -> None:
    references = (
        node["spec"]["secretRef"],
        (cluster["spec"].get("tls") or {}).get("caSecretRef", {}),
        cluster["spec"].get("uploadSecretRef") or {},
    )
    names = [reference.get("name") for reference in references]
    configuration = configure(
        {CLUSTER: [cluster], NODE: [node], QUEUE: [queue]},
        secrets={**dict.fromkeys(filter(None, names)), **SECRETS},
        surroundings=Surroundings(),
    )
    assert [len(configuration.clusters), len(configuration.nodes), len(configuration.queues)] == [1, 1, 1]
    assert configuration.nodes[0].blocked_reason != "InvalidSpec"
    with module_engine.connect() as connection:
        changes = store_configuration(connection, "farm", configuration, complete=True, keys=KEYS, gone={})
        assert len(changes) == 3
        connection.rollback()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tenant=manifests(TENANT), api_secret=manifests(API_SECRET), profile=manifests(RECORD_PROFILE))
def test_whatever_the_schemas_of_tenants_secrets_and_record_profiles_accept_can_be_stored(
    module_engine: sa.Engine, tenant: Manifest, api_secret: Manifest, profile: Manifest
) -> None:
    objects = {TENANT: [tenant], API_SECRET: [api_secret], RECORD_PROFILE: [profile]}
    known = {**dict.fromkeys(secret_names(objects)), **SECRETS}
    configuration = configure(objects, secrets=known, surroundings=Surroundings())
    assert configuration.tenants[0].blocked_reason is None
    assert configuration.record_profiles[0].blocked_reason is None
    assert configuration.api_secrets[0].blocked_reason != "InvalidSpec"
    with module_engine.connect() as connection:
        changes = store_configuration(connection, "farm", configuration, complete=True, keys=KEYS, gone={})
        assert len(changes) == 3
        connection.rollback()


class Stored:
    """What a full synchronisation of these rows wrote, refused and left in the tables."""

    def __init__(self, engine: sa.Engine, configuration: Configuration, *, isolated: bool = True) -> None:
        self.refused: list[Refused] = []
        with transaction(engine, timeout_seconds=10) as connection, count_statements(engine) as counter:
            self.changes: list[Changed] = store_configuration(
                connection,
                "farm",
                configuration,
                complete=True,
                keys=KEYS,
                gone={},
                refused=self.refused if isolated else None,
            )
        self.statements = counter.count

    @property
    def rules(self) -> list[tuple[str, str]]:
        return [(item.name, item.rule) for item in self.refused]

    @property
    def names(self) -> set[str]:
        return {change.name for change in self.changes}


def node(name: str, **changes: Any) -> NodeRow:
    row = NodeRow(name, f"uid-{name}", 1, "default", f"https://{name}/api", f"https://{name}/load", "secret", CREATED)
    return dataclasses.replace(row, **changes)


def some(nodes: Sequence[NodeRow] = (), **cluster: Any) -> Configuration:
    row = dataclasses.replace(ClusterRow(name="default", uid="c", generation=1), **cluster)
    return Configuration(clusters=[row], nodes=list(nodes), queues=[QueueRow("core", "q", 1, ("check-nodes",))])


def test_a_bad_row_of_each_kind_keeps_no_other_from_being_stored(engine: sa.Engine) -> None:
    configuration = Configuration(
        clusters=[ClusterRow("default", "c", 1), ClusterRow("bad-cluster", "b", 1, timeout_seconds=99)],
        nodes=[node("good"), node("bad-node", weight_percent=5000), node("worse", max_meetings=2**40)],
        queues=[QueueRow("core", "q", 1, ("check-nodes",)), QueueRow("bad-queue", "r", 1, ("x",), tick_seconds=0)],
    )
    with pytest.raises(sa.exc.DBAPIError):
        Stored(engine, configuration, isolated=False)
    stored = Stored(engine, configuration)
    assert stored.rules == [
        ("bad-cluster", "clusters_timeout_seconds_check"),
        ("bad-node", "nodes_weight_percent_check"),
        ("worse", "NumericValueOutOfRange"),
        ("bad-queue", "queues_tick_seconds_check"),
    ]
    assert stored.names == {"default", "good", "core", "bad-node", "worse"}
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, blocked_reason FROM nodes ORDER BY name").all()
        polled = connection.exec_driver_sql("SELECT name FROM clusters").scalars().all()
    blocked = "DatabaseRefused"
    assert [tuple(row) for row in rows] == [("bad-node", blocked), ("good", None), ("worse", blocked)]
    assert polled == ["default"]


def tenant(name: str = "uni", **changes: Any) -> TenantRow:
    return dataclasses.replace(TenantRow(name, f"uid-{name}", 1, CREATED, slug=name.upper()), **changes)


def api_secret(sub_id: int, **changes: Any) -> ApiSecretRow:
    name = f"uni-{sub_id:03d}"
    row = ApiSecretRow(
        name=name, uid=f"uid-{name}", generation=1, created_at=CREATED, tenant="uni", sub_id=sub_id, secret="secret"
    )
    return dataclasses.replace(row, **changes)


def blocked(engine: sa.Engine, table: sa.Table) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table.c.name, table.c.blocked_reason).order_by(table.c.name)).all()
    return [tuple(row) for row in rows]


def test_refused_tenants_secrets_and_profiles_are_blocked_and_keep_no_other_from_being_stored(
    engine: sa.Engine,
) -> None:
    refused = "DatabaseRefused"
    configuration = Configuration(
        tenants=[tenant(), tenant("bad", meeting_limit=0)],
        api_secrets=[api_secret(1), api_secret(2, attendee_limit=2**40), api_secret(1000)],
        record_profiles=[
            RecordProfileRow("good", "g", 1, is_default=True, spec={"width": 1920}),
            RecordProfileRow("bad", "p", 2**63, is_default=True, spec={}),
        ],
    )
    stored = Stored(engine, configuration)
    assert stored.rules == [
        ("bad", "tenants_limits_check"),
        ("uni-002", "NumericValueOutOfRange"),
        ("uni-1000", "secrets_sub_id_check"),
        ("bad", "NumericValueOutOfRange"),
    ]
    assert blocked(engine, tenants) == [("bad", refused), ("uni", None)]
    # Without this sub-ID, or this generation, there is no row.
    assert blocked(engine, secrets) == [("uni-001", None), ("uni-002", refused)]
    assert blocked(engine, record_profiles) == [("good", None)]


def test_the_meetings_of_a_refused_tenant_and_secret_stay_their_own(engine: sa.Engine) -> None:
    bad = Configuration(
        tenants=[tenant(generation=2, attendee_limit=2**40)],
        api_secrets=[api_secret(1, generation=2, meeting_limit=0)],
    )
    Stored(engine, Configuration(tenants=[tenant()], api_secrets=[api_secret(1)]))
    stored = Stored(engine, bad)
    assert stored.names == {"uni", "uni-001"}
    assert (blocked(engine, tenants), blocked(engine, secrets)) == (
        [("uni", "DatabaseRefused")],
        [("uni-001", "DatabaseRefused")],
    )
    with engine.connect() as connection:
        assert set(load_attribution(connection, "farm")) == {("UNI", 1)}
        reasons = connection.execute(sa.select(closed_reason).select_from(secrets.outerjoin(tenants))).scalars().all()
    assert reasons == [""]


def test_a_node_that_is_refused_again_is_not_written_again_and_a_mended_one_heals(engine: sa.Engine) -> None:
    Stored(engine, some([node("one")]))
    bad = some([node("one", generation=2, weight_percent=5000)])
    assert Stored(engine, bad).names == {"one"}
    again = Stored(engine, bad)
    assert (again.names, again.rules) == (set(), [("one", "nodes_weight_percent_check")])
    (change,) = Stored(engine, some([node("one", generation=3, weight_percent=50)])).changes
    assert change.repoll


def test_a_cluster_that_is_refused_stays_as_it_was_and_its_nodes_are_polled_on(engine: sa.Engine) -> None:
    Stored(engine, some([node("one")]))
    stored = Stored(engine, some([node("one")], generation=2, timeout_seconds=99))
    assert (stored.changes, stored.rules) == ([], [("default", "clusters_timeout_seconds_check")])
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT timeout_seconds, generation FROM clusters").one() == (5, 1)
        assert connection.exec_driver_sql("SELECT revision, blocked_reason FROM nodes").one() == (1, None)


def test_savepoints_are_paid_only_after_a_row_was_refused(engine: sa.Engine) -> None:
    usual = Stored(engine, some([node(f"bbb-{number}") for number in range(20)]), isolated=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE nodes, clusters, queues CASCADE")
    isolated = Stored(engine, some([node(f"bbb-{number}") for number in range(20)]))
    assert (usual.statements, isolated.statements) == (17, 23)
