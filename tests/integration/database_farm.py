"""Rows for tests on real PostgreSQL."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    ApiSecretRow,
    ClusterRow,
    NodeRow,
    RecordProfileRow,
    TenantRow,
    apply_clusters,
    apply_nodes,
    apply_secrets,
    apply_tenants,
)
from b3lb.db.engine import transaction
from b3lb.health import NodeState
from tests.states import healthy

CREATED = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Farm:
    """A namespace of the database, filled through the operator's functions."""

    namespace = "default"

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.keys = KeyRing.generate()

    def cluster(self, name: str = "default", **changes: Any) -> ClusterRow:
        return dataclasses.replace(ClusterRow(name=name, uid=f"uid-{name}", generation=1), **changes)

    def node(self, name: str = "bbb-1", **changes: Any) -> NodeRow:
        row = NodeRow(
            name=name,
            uid=f"uid-{name}",
            generation=1,
            cluster="default",
            api_url=f"https://{name}.example.org/bigbluebutton/api",
            load_url=f"https://{name}.example.org/b3lb/load",
            secret=f"secret of {name}",
            created_at=CREATED,
        )
        return dataclasses.replace(row, **changes)

    def tenant(self, name: str = "uni", **changes: Any) -> TenantRow:
        row = TenantRow(
            name=name,
            uid=f"uid-{name}",
            generation=1,
            created_at=CREATED,
            slug=name.upper(),
            cluster_names=("default",),
        )
        return dataclasses.replace(row, **changes)

    def api_secret(self, tenant: str = "uni", sub_id: int = 1, **changes: Any) -> ApiSecretRow:
        name = f"{tenant}-{sub_id:03d}"
        row = ApiSecretRow(
            name=name,
            uid=f"uid-{name}",
            generation=1,
            created_at=CREATED,
            tenant=tenant,
            sub_id=sub_id,
            secret=f"secret of {name}",
        )
        return dataclasses.replace(row, **changes)

    def record_profile(self, name: str = "standard", **changes: Any) -> RecordProfileRow:
        row = RecordProfileRow(
            name=name, uid=f"uid-{name}", generation=1, is_default=True, spec={"width": 1920, "webcam": {"crop": False}}
        )
        return dataclasses.replace(row, **changes)

    def state(self, **changes: Any) -> NodeState:
        return healthy(**{"ready_changed_at": CREATED, "meetings": 3, "attendees": 40, "cpu": 2500, **changes})

    def fill(self, nodes: Sequence[NodeRow] | int, clusters: Sequence[ClusterRow] = ()) -> dict[str, int]:
        """Store clusters (default: one) and nodes; return the nodes' IDs by name."""
        rows = [self.node(f"bbb-{number}") for number in range(1, nodes + 1)] if isinstance(nodes, int) else nodes
        with transaction(self.engine, timeout_seconds=10) as connection:
            apply_clusters(connection, self.namespace, clusters or [self.cluster()], complete=True, keys=self.keys)
            changes = apply_nodes(connection, self.namespace, rows, complete=True, keys=self.keys)
        return {change.name: change.id for change in changes}

    def fill_tenants(self, tenants: Sequence[TenantRow], api_secrets: Sequence[ApiSecretRow]) -> dict[str, int]:
        """Store tenants and API secrets; return the IDs of the secrets that were written by name."""
        with transaction(self.engine, timeout_seconds=10) as connection:
            apply_tenants(connection, self.namespace, tenants, complete=True)
            changes = apply_secrets(connection, self.namespace, api_secrets, complete=True, keys=self.keys)
        return {change.name: change.id for change in changes}

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of an SQL statement, committed."""
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), parameters)]

    def run(self, statement: str, **parameters: Any) -> None:
        """Run an SQL statement and commit it."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), parameters)
