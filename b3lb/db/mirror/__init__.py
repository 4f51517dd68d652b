"""What the operator mirrors into the status of the custom resources: one consistent look at a namespace."""

from b3lb.db.mirror.nodes import ClusterMirror, NodeMirror
from b3lb.db.mirror.queues import QueueMirror
from b3lb.db.mirror.snapshot import Heartbeat, Snapshot, read_snapshot
from b3lb.db.mirror.tenants import ApiSecretMirror, RecordProfileMirror, TenantMirror

__all__ = [
    "ApiSecretMirror",
    "ClusterMirror",
    "Heartbeat",
    "NodeMirror",
    "QueueMirror",
    "RecordProfileMirror",
    "Snapshot",
    "TenantMirror",
    "read_snapshot",
]
