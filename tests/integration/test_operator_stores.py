"""From custom resources to rows on real PostgreSQL: one transaction, and nothing is written twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration import Changed, Kind
from b3lb.db.engine import count_statements, transaction
from b3lb_operator.apply import store_configuration
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, RECORD_PROFILE, TENANT, Manifest
from b3lb_operator.kinds import Kind as ObjectKind
from b3lb_operator.resolve import Surroundings, configure, secret_names
from tests.unit.operator_fakes import (
    api_secret_manifest,
    cluster_manifest,
    manifest_of,
    node_manifest,
    queue_manifest,
    secret_manifest,
    tenant_manifest,
)

pytestmark = pytest.mark.integration

KEYS = KeyRing.generate()
Objects = Mapping[ObjectKind, Sequence[Manifest]]


def store(
    engine: sa.Engine,
    objects: Objects,
    *,
    complete: bool,
    gone: Mapping[Kind, Sequence[str]] | None = None,
    namespace: str = "farm",
) -> list[Changed]:
    secrets = {name: secret_manifest(name, secret=f"value of {name}") for name in secret_names(objects)}
    surroundings = Surroundings.of(objects.get(CLUSTER, ()), objects.get(NODE, ()), objects.get(TENANT, ()))
    configuration = configure(objects, secrets=secrets, surroundings=surroundings)
    with transaction(engine, timeout_seconds=10) as connection:
        return store_configuration(connection, namespace, configuration, complete=complete, keys=KEYS, gone=gone or {})


def everything(number: int) -> dict[ObjectKind, list[Manifest]]:
    """Return as many tenants, secrets, profiles and nodes as wanted, and what else there is."""
    tenants = [f"t{chr(97 + index)}" for index in range(number)]
    return {
        CLUSTER: [cluster_manifest()],
        NODE: [node_manifest(f"n{index}") for index in range(number)],
        QUEUE: [queue_manifest()],
        TENANT: [tenant_manifest(name, limits={"meetings": 5}) for name in tenants],
        API_SECRET: [api_secret_manifest(f"{name}-001", secretRef={"name": "given"}) for name in tenants],
        RECORD_PROFILE: [manifest_of(RECORD_PROFILE, f"p{index}", {"width": 1280}) for index in range(number)],
    }


def test_what_is_stored_reads_back_equal_so_that_a_second_comparison_writes_nothing(engine: sa.Engine) -> None:
    objects = everything(3)
    assert len(store(engine, objects, complete=True)) == 14
    assert store(engine, objects, complete=True) == []
    assert store(engine, objects, complete=False) == []


def test_a_tenant_and_its_secret_of_one_batch_find_each_other(engine: sa.Engine) -> None:
    objects = everything(1)
    store(engine, {API_SECRET: objects[API_SECRET]}, complete=False)
    assert blocked(engine) == ["TenantNotFound"]
    store(engine, {TENANT: objects[TENANT], API_SECRET: objects[API_SECRET]}, complete=False)
    assert blocked(engine) == [None]
    gone = {Kind.TENANT: ["bbbtenants-ta"]}
    store(engine, {API_SECRET: objects[API_SECRET]}, complete=False, gone=gone)
    assert blocked(engine) == ["TenantNotFound"]


def blocked(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT blocked_reason FROM secrets ORDER BY id").scalars())


@pytest.mark.parametrize("complete", [True, False])
def test_any_number_of_objects_takes_the_same_few_statements(engine: sa.Engine, *, complete: bool) -> None:
    counts = []
    for number in (1, 20):
        with count_statements(engine) as counter:
            store(engine, everything(number), complete=complete, namespace=f"farm-{number}")
        counts.append(counter.count)
    assert counts[0] == counts[1] <= 24
