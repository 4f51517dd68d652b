"""BBBCluster: the policies that a group of nodes shares."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from b3lb.resources.base import Column, DataKey, ObjectName, Resource, Schema, Status, condition_path
from b3lb.resources.conditions import ClusterCondition


class ChecksumAlgorithm(StrEnum):
    """Hash functions by which BBB signs API calls."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class LoadSpec(Schema):
    """How a node's load is computed; the node with the least load gets the next meeting."""

    attendee_factor: int = Field(default=1, ge=0, le=1000, description="Load of one attendee.")
    meeting_factor: int = Field(
        default=30, ge=0, le=10000, description="Load of one meeting, whatever its size: room for those who join later."
    )
    cpu_terms: int = Field(
        default=6,
        ge=1,
        le=10,
        description="Number of powers of the CPU's use (0..1) that are added up; more terms keep a half-used node "
        "attractive and repel meetings more sharply near full use.",
    )
    cpu_maximum: int = Field(default=5000, ge=0, le=100000, description="Load of a fully used CPU.")


class HealthSpec(Schema):
    """When a node counts as healthy."""

    timeout_seconds: int = Field(
        default=5,
        ge=1,
        le=30,
        description="Time that a node has for one poll as a whole: DNS, connection, TLS and answer. Not more than the "
        "queue's tickSeconds, else nodes that hang cost ticks.",
    )
    unhealthy_after: int = Field(
        default=3, ge=1, le=20, description="Failed polls in a row after which a Ready node is not Ready any more."
    )
    healthy_after: int = Field(
        default=2, ge=1, le=20, description="Good polls in a row after which a node that was not Ready is Ready again."
    )


class MassFailureGuardSpec(Schema):
    """When failures of many nodes at once are held to be a fault on this side, so that all nodes keep their state."""

    share_percent: int = Field(
        default=50, ge=1, le=100, description="Share of the Ready nodes that fail in the same round, in percent."
    )
    minimum_nodes: int = Field(
        default=3, ge=1, le=1000, description="Least number of nodes that fail in the same round."
    )
    maximum_seconds: int = Field(
        default=600, ge=0, le=86400, description="Longest time that the guard holds; after it failures count again."
    )


class LostMeetingsSpec(Schema):
    """What becomes of the meetings of a node that is not healthy: they are hidden, and come back with it."""

    end_after_seconds: int = Field(
        default=86400,
        ge=0,
        le=2592000,
        description="Time after which a lost meeting counts as ended; 0: at once.",
    )


class CASecretReference(Schema):
    """A key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(default="ca.crt", description="Key of the Secret whose value is the PEM bundle.")


class TLSSpec(Schema):
    """How the nodes' certificates are verified."""

    ca_secret_ref: CASecretReference | None = Field(
        default=None,
        description="Certificate authorities (PEM) that sign the nodes' certificates; absent: those of the system.",
    )


class UploadSecretReference(Schema):
    """A key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(
        default="nonce",
        description="Key of the Secret whose value the servers show as nonce when they upload recordings.",
    )


class BBBClusterSpec(Schema):
    """Policies of a group of nodes."""

    load: LoadSpec = Field(default_factory=LoadSpec, description="How a node's load is computed.")
    checksum_algorithm: ChecksumAlgorithm = Field(
        default=ChecksumAlgorithm.SHA256,
        description="Hash function that signs API calls; must be among supportedChecksumAlgorithms of every node.",
    )
    health: HealthSpec = Field(default_factory=HealthSpec, description="When a node counts as healthy.")
    mass_failure_guard: MassFailureGuardSpec = Field(
        default_factory=MassFailureGuardSpec,
        description="When failures of many nodes at once are held to be a fault on this side (DNS, routing): all nodes "
        "then keep their state and the condition MassFailure is True.",
    )
    lost_meetings: LostMeetingsSpec = Field(
        default_factory=LostMeetingsSpec,
        description="What becomes of the meetings of a node that is not healthy: they are hidden, and come back with "
        "it.",
    )
    tls: TLSSpec = Field(default_factory=TLSSpec, description="How the nodes' certificates are verified.")
    upload_secret_ref: UploadSecretReference | None = Field(
        default=None,
        description="What the cluster's servers show to upload recordings; absent: no recording of theirs is taken.",
    )


class NodeCounts(Schema):
    """Numbers of nodes."""

    total: int = Field(ge=0, description="Nodes that refer to this cluster.")
    ready: int = Field(ge=0, description="Nodes with the condition Ready.")
    schedulable: int = Field(ge=0, description="Nodes that get new meetings.")
    summary: str = Field(max_length=32, description="Ready nodes of all nodes, for kubectl get.")


class BBBClusterStatus(Status):
    """What is observed of a group of nodes."""

    nodes: NodeCounts | None = Field(default=None, description="Numbers of nodes.")
    meetings: int | None = Field(
        default=None, ge=0, description="Meetings on all Ready nodes; absent when none is known."
    )
    attendees: int | None = Field(
        default=None, ge=0, description="Attendees on all Ready nodes; absent when none is known."
    )
    headroom_attendees: int | None = Field(
        default=None,
        ge=0,
        description="Attendees that the schedulable nodes take until each has its maxAttendees, 0 when all are full; "
        "absent when one of them has none, and when there is neither a schedulable nor a full node.",
    )


CLUSTER = Resource(
    kind="BBBCluster",
    plural="bbbclusters",
    short_name="bbbc",
    description="A group of BigBlueButton servers with common policies for load, health and TLS.",
    spec=BBBClusterSpec,
    status=BBBClusterStatus,
    columns=(
        Column("Nodes", ".status.nodes.summary", description="Ready nodes of all nodes."),
        Column("Meetings", ".status.meetings", "integer"),
        Column("Attendees", ".status.attendees", "integer"),
        Column("Headroom", ".status.headroomAttendees", "integer", description="Attendees until maxAttendees."),
        Column("Mass Failure", condition_path(ClusterCondition.MASS_FAILURE)),
        Column("Ready", condition_path(ClusterCondition.READY), description="Whether its policies are in use."),
        Column("Reason", condition_path(ClusterCondition.READY, "reason"), description="Why (not) Ready."),
        Column("Message", condition_path(ClusterCondition.READY, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
