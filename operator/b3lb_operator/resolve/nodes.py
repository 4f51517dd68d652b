"""From clusters, nodes and queues to their rows.

What is missing or wrong never raises: it becomes the reason why an object cannot be worked with.
"""

from __future__ import annotations

import dataclasses
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from b3lb.db.configuration import ClusterRow, NodeRow, QueueRow
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula
from b3lb.resources import BBBClusterSpec, BBBNodeSpec, BBBQueueSpec, DesiredState
from b3lb.resources.conditions import (
    ClusterReason,
    ConditionStatus,
    NodeBlock,
    NodeCondition,
    find_condition,
    parse_time,
)
from b3lb_operator.kinds import Manifest, is_deleting
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve.specs import Secrets, parse_spec, secret_text, shared_secret

LONGEST_BUNDLE = 1024 * 1024

_MEANWHILE = (
    "meanwhile nodes are verified by the certificates known before for this spec, or not polled if there are none"
)

_NODE_REASONS: dict[str, NodeBlock] = {
    ClusterReason.SECRET_NOT_FOUND: NodeBlock.CA_SECRET_NOT_FOUND,
    ClusterReason.SECRET_KEY_NOT_FOUND: NodeBlock.CA_SECRET_KEY_NOT_FOUND,
    ClusterReason.INVALID_CERTIFICATES: NodeBlock.INVALID_CERTIFICATES,
}
"""What the nodes of a cluster say whose certificates cannot be had, by what the cluster says."""


_UPLOAD_REASONS: dict[str, ClusterReason] = {
    NodeBlock.SECRET_NOT_FOUND: ClusterReason.UPLOAD_SECRET_NOT_FOUND,
    NodeBlock.SECRET_KEY_NOT_FOUND: ClusterReason.UPLOAD_SECRET_KEY_NOT_FOUND,
    NodeBlock.INVALID_SECRET: ClusterReason.INVALID_UPLOAD_SECRET,
}
"""What a cluster says whose upload secret cannot be had, by what is wrong with the Secret."""


def resolve_cluster(manifest: Manifest, secrets: Secrets) -> tuple[ClusterRow | None, Block | None]:
    """Return the row of a BBBCluster, and why it cannot be used as it is written."""
    spec = parse_spec(BBBClusterSpec, manifest)
    if isinstance(spec, Block):
        return None, spec
    certificates = _certificates(spec, secrets)
    block = certificates if isinstance(certificates, Block) else None
    upload = _upload_secret(spec, secrets)
    metadata = manifest["metadata"]
    row = ClusterRow(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        load=LoadFormula(
            attendee_factor=spec.load.attendee_factor,
            meeting_factor=spec.load.meeting_factor,
            cpu_terms=spec.load.cpu_terms,
            cpu_maximum=spec.load.cpu_maximum,
        ),
        checksum_algorithm=spec.checksum_algorithm,
        timeout_seconds=spec.health.timeout_seconds,
        unhealthy_after=spec.health.unhealthy_after,
        healthy_after=spec.health.healthy_after,
        guard=GuardPolicy(
            share_percent=spec.mass_failure_guard.share_percent,
            minimum_nodes=spec.mass_failure_guard.minimum_nodes,
            maximum_seconds=spec.mass_failure_guard.maximum_seconds,
        ),
        ca_certificates=None if isinstance(certificates, Block) else certificates,
        lost_meetings_seconds=spec.lost_meetings.end_after_seconds,
        blocked_reason=None if block is None else str(_NODE_REASONS[block.reason]),
        blocked_message=None if block is None else f"BBBCluster {metadata['name']}: {block.message}",
        secret=upload if isinstance(upload, str) else None,
    )
    # Without an upload secret its nodes are polled all the same.
    return row, block or (upload if isinstance(upload, Block) else None)


def resolve_node(
    manifest: Manifest, secrets: Secrets | None, *, unusable: Block | None = None, duplicate: str | None = None
) -> NodeRow:
    """Return the row of a BBBNode.

    Args:
        manifest: The BBBNode.
        secrets: The Secrets; None leaves the API secret out, for a look at the addresses only.
        unusable: Why the cluster that the node names has no row.
        duplicate: What to say of the older node that names the same server.
    """
    metadata = manifest["metadata"]
    row = NodeRow(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        cluster=None,
        api_url="",
        load_url="",
        secret=None,
        created_at=parse_time(metadata["creationTimestamp"]),
    )
    spec = parse_spec(BBBNodeSpec, manifest)
    if isinstance(spec, Block):
        return dataclasses.replace(row, blocked_reason=spec.reason, blocked_message=spec.message)
    secret = None if secrets is None else shared_secret(secrets, spec.secret_ref.name, spec.secret_ref.key)
    block = _block(spec, secret, unusable=unusable, duplicate=duplicate)
    leaving = is_deleting(manifest) and spec.state is not DesiredState.DISABLED
    return dataclasses.replace(
        row,
        cluster=spec.cluster_ref.name,
        api_url=spec.api_url,
        load_url=spec.load_url,
        secret=secret if isinstance(secret, str) else None,
        state=str(DesiredState.DRAINING if leaving else spec.state),
        weight_percent=spec.weight_percent,
        max_meetings=spec.max_meetings,
        max_attendees=spec.max_attendees,
        blocked_reason=None if block is None else str(block.reason),
        blocked_message=None if block is None else block.message,
    )


def _block(
    spec: BBBNodeSpec, secret: str | Block | None, *, unusable: Block | None, duplicate: str | None
) -> Block | None:
    """Return why a node cannot be polled; what its own spec says goes before what is said of its address."""
    if unusable is not None:
        message = f"BBBCluster {spec.cluster_ref.name} cannot be used: {unusable.message}"
        return Block(NodeBlock.CLUSTER_NOT_FOUND, message)
    if isinstance(secret, Block):
        return secret
    return None if duplicate is None else Block(NodeBlock.DUPLICATE_URL, duplicate)


def resolve_queue(manifest: Manifest) -> QueueRow | None:
    """Return the row of a BBBQueue, None when its spec cannot be read."""
    spec = parse_spec(BBBQueueSpec, manifest)
    if isinstance(spec, Block):
        return None
    metadata = manifest["metadata"]
    return QueueRow(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        tasks=tuple(spec.tasks),
        tick_seconds=spec.tick_seconds,
        max_in_flight=spec.max_in_flight,
        suspend=spec.suspend,
    )


def gives_way(manifest: Manifest) -> bool:
    """Whether a node leaves its server to another node: it is being deleted, and is not Ready."""
    ready = find_condition((manifest.get("status") or {}).get("conditions", ()), NodeCondition.READY)
    return is_deleting(manifest) and (ready is None or ready["status"] != ConditionStatus.TRUE)


def cluster_name(manifest: Manifest) -> str | None:
    """Return the name of the BBBCluster that a BBBNode refers to."""
    spec = parse_spec(BBBNodeSpec, manifest)
    return None if isinstance(spec, Block) else spec.cluster_ref.name


def _upload_secret(spec: BBBClusterSpec, secrets: Secrets) -> str | Block | None:
    """Return a cluster's upload secret, None if it names none, or why it cannot be had."""
    ref = spec.upload_secret_ref
    if ref is None:
        return None
    found = shared_secret(secrets, ref.name, ref.key)
    if isinstance(found, Block):
        return Block(_UPLOAD_REASONS[found.reason], f"{found.message}; meanwhile no recording is taken")
    return found


def _certificates(spec: BBBClusterSpec, secrets: Secrets) -> str | Block | None:
    """Return the PEM bundle of a cluster, None for the system's, or why there is none.

    It is written anew from what was read, so that comments, indentation and other blocks, which not every program
    takes, cannot make the polls fail on what is accepted here.
    """
    ref = spec.tls.ca_secret_ref
    if ref is None:
        return None
    text = secret_text(secrets, ref.name, ref.key, longest=LONGEST_BUNDLE)
    if isinstance(text, Block):
        reason = ClusterReason.INVALID_CERTIFICATES if text.reason == NodeBlock.INVALID_SECRET else text.reason
        return Block(reason, f"{text.message}; {_MEANWHILE}")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        bundle = "".join(item.public_bytes(serialization.Encoding.PEM).decode() for item in found)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle)
    except ssl.SSLError as error:
        message = f"key {ref.key} of Secret {ref.name} holds certificates that cannot be used ({error.reason})"
        return Block(ClusterReason.INVALID_CERTIFICATES, f"{message}; {_MEANWHILE}")
    except (ValueError, x509.InvalidVersion):
        message = f"key {ref.key} of Secret {ref.name} holds no certificates in PEM"
        return Block(ClusterReason.INVALID_CERTIFICATES, f"{message}; {_MEANWHILE}")
    return bundle
