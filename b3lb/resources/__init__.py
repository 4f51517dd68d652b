"""The custom resources as types: the source of the CRDs."""

from b3lb.resources.base import API_VERSION, CATEGORY, GROUP, VERSION, Resource
from b3lb.resources.cluster import CLUSTER, BBBClusterSpec, BBBClusterStatus
from b3lb.resources.node import NODE, BBBNodeSpec, BBBNodeStatus, DesiredState
from b3lb.resources.queue import QUEUE, BBBQueueSpec, BBBQueueStatus

RESOURCES = (CLUSTER, NODE, QUEUE)
"""Every kind of the group, in the order in which they are created."""

__all__ = [
    "API_VERSION",
    "CATEGORY",
    "CLUSTER",
    "GROUP",
    "NODE",
    "QUEUE",
    "RESOURCES",
    "VERSION",
    "BBBClusterSpec",
    "BBBClusterStatus",
    "BBBNodeSpec",
    "BBBNodeStatus",
    "BBBQueueSpec",
    "BBBQueueStatus",
    "DesiredState",
    "Resource",
]
