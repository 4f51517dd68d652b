"""How a cluster's row differs from the existing one."""

from __future__ import annotations

from b3lb.db.planning.plans import Difference
from b3lb.db.rows import ClusterRow, Existing


def compare_clusters(row: ClusterRow, existing: Existing[ClusterRow]) -> Difference:
    """Compare a cluster; what a poll of its nodes depends on gives them all a new revision.

    Only after a block, while which they were not polled, their health is judged anew.
    """
    old = existing.row
    freed = old.blocked_reason is not None and row.blocked_reason is None
    requests = (row.checksum_algorithm, row.timeout_seconds, row.ca_certificates) != (
        old.checksum_algorithm,
        old.timeout_seconds,
        old.ca_certificates,
    )
    return Difference(changed=row != old, repoll=requests or freed, anew=freed)
