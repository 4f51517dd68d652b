"""How a cluster's row differs from the existing one."""

from __future__ import annotations

from collections.abc import Callable

from b3lb.crypto import KeyRing
from b3lb.db.planning.plans import Difference
from b3lb.db.planning.sealing import SecretDifference, compare_secret, upload_secret_context
from b3lb.db.rows import ClusterRow, Existing


def cluster_comparison(namespace: str, keys: KeyRing) -> Callable[[ClusterRow, Existing[ClusterRow]], Difference]:
    """Return how the clusters of ``namespace`` are compared."""

    def compare(row: ClusterRow, existing: Existing[ClusterRow]) -> Difference:
        context = upload_secret_context(namespace, existing.row.name)
        return compare_clusters(row, existing, compare_secret(row.secret, existing.secret, keys, context=context))

    return compare


def compare_clusters(row: ClusterRow, existing: Existing[ClusterRow], secret: SecretDifference) -> Difference:
    """Compare a cluster; what a poll of its nodes depends on gives them all a new revision.

    Only after a block, while which they were not polled, their health is judged anew. The upload secret concerns no
    poll.
    """
    old = existing.row
    freed = old.blocked_reason is not None and row.blocked_reason is None
    requests = (row.checksum_algorithm, row.timeout_seconds, row.ca_certificates) != (
        old.checksum_algorithm,
        old.timeout_seconds,
        old.ca_certificates,
    )
    return Difference(changed=row != old or bool(secret), repoll=requests or freed, anew=freed, seal=secret.seal)
