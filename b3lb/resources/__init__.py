"""The custom resources as types: the source of the CRDs."""

from b3lb.resources.base import API_VERSION, CATEGORY, GROUP, VERSION, Resource
from b3lb.resources.cluster import CLUSTER, BBBClusterSpec, BBBClusterStatus
from b3lb.resources.node import NODE, BBBNodeSpec, BBBNodeStatus, DesiredState
from b3lb.resources.queue import QUEUE, BBBQueueSpec, BBBQueueStatus
from b3lb.resources.record_profile import RECORD_PROFILE, BBBRecordProfileSpec, BBBRecordProfileStatus
from b3lb.resources.recording import RECORDING, BBBRecordingSpec, BBBRecordingStatus
from b3lb.resources.secret import SECRET, BBBSecretSpec, BBBSecretStatus
from b3lb.resources.tenant import TENANT, BBBTenantSpec, BBBTenantStatus

RESOURCES = (CLUSTER, NODE, TENANT, RECORD_PROFILE, SECRET, QUEUE, RECORDING)
"""Every kind of the group, in the order in which they are created."""

__all__ = [
    "API_VERSION",
    "CATEGORY",
    "CLUSTER",
    "GROUP",
    "NODE",
    "QUEUE",
    "RECORDING",
    "RECORD_PROFILE",
    "RESOURCES",
    "SECRET",
    "TENANT",
    "VERSION",
    "BBBClusterSpec",
    "BBBClusterStatus",
    "BBBNodeSpec",
    "BBBNodeStatus",
    "BBBQueueSpec",
    "BBBQueueStatus",
    "BBBRecordProfileSpec",
    "BBBRecordProfileStatus",
    "BBBRecordingSpec",
    "BBBRecordingStatus",
    "BBBSecretSpec",
    "BBBSecretStatus",
    "BBBTenantSpec",
    "BBBTenantStatus",
    "DesiredState",
    "Resource",
]
