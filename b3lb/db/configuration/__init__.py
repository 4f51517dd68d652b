"""Writes the operator's view of the custom resources into the configuration tables, as sets.

Each ``apply_*`` takes at most six statements whatever the number of rows, and writes only rows that differ. A row
that the database does not take fails all, unless there is a list ``refused`` for such rows: then all others are stored,
with savepoints, that is with more statements.
"""

from b3lb.db.configuration.api_secrets import apply_secrets
from b3lb.db.configuration.clusters import apply_clusters
from b3lb.db.configuration.nodes import apply_nodes
from b3lb.db.configuration.plain import apply_queues, apply_record_profiles, apply_tenants
from b3lb.db.configuration.store import delete_by_uid
from b3lb.db.planning import (
    Difference,
    Plan,
    Write,
    api_secret_context,
    block_duplicates,
    node_comparison,
    normalized_url,
    plan,
    resolve_clusters,
    resolve_tenants,
    secret_context,
)
from b3lb.db.refusals import Refused
from b3lb.db.rows import (
    Action,
    ApiSecretRow,
    Changed,
    ClusterRow,
    Existing,
    Kind,
    NodeRow,
    QueueRow,
    RecordProfileRow,
    Row,
    TenantRow,
)

__all__ = [
    "Action",
    "ApiSecretRow",
    "Changed",
    "ClusterRow",
    "Difference",
    "Existing",
    "Kind",
    "NodeRow",
    "Plan",
    "QueueRow",
    "RecordProfileRow",
    "Refused",
    "Row",
    "TenantRow",
    "Write",
    "api_secret_context",
    "apply_clusters",
    "apply_nodes",
    "apply_queues",
    "apply_record_profiles",
    "apply_secrets",
    "apply_tenants",
    "block_duplicates",
    "delete_by_uid",
    "node_comparison",
    "normalized_url",
    "plan",
    "resolve_clusters",
    "resolve_tenants",
    "secret_context",
]
