"""Which configuration rows have to be written: pure functions, no database and no clock."""

from b3lb.db.planning.api_secrets import api_secret_comparison, resolve_tenants
from b3lb.db.planning.clusters import cluster_comparison
from b3lb.db.planning.nodes import block_duplicates, node_comparison, normalized_url, resolve_clusters
from b3lb.db.planning.plans import Difference, Plan, Write, cleaned, compare_rows, plan
from b3lb.db.planning.sealing import api_secret_context, reseal, secret_context, upload_secret_context

__all__ = [
    "Difference",
    "Plan",
    "Write",
    "api_secret_comparison",
    "api_secret_context",
    "block_duplicates",
    "cleaned",
    "cluster_comparison",
    "compare_rows",
    "node_comparison",
    "normalized_url",
    "plan",
    "reseal",
    "resolve_clusters",
    "resolve_tenants",
    "secret_context",
    "upload_secret_context",
]
