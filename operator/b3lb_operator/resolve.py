"""From custom resources and Secrets to configuration rows: pure functions.

What is missing or wrong never raises: it becomes the reason why an object cannot be worked with.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from pydantic import BaseModel, ValidationError

from b3lb.db.configuration import ClusterRow, NodeRow, QueueRow, block_duplicates
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula
from b3lb.resources import BBBClusterSpec, BBBNodeSpec, BBBQueueSpec, DesiredState
from b3lb.resources.conditions import ClusterReason, NodeBlock, parse_time
from b3lb_operator.kinds import Manifest, is_deleting
from b3lb_operator.manifests.facts import Block

LONGEST_SECRET = 1024
LONGEST_BUNDLE = 1024 * 1024

# Nodes are never polled unverified: one with a certificate of the missing authority fails meanwhile, as TLS.
_MEANWHILE = "meanwhile nodes are verified by the certificates known before, or by the system's when there are none"

Secrets = Mapping[str, Manifest | None]
"""Secret's name → the Secret, None when there is none; all that are asked for are there."""

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What objects of one namespace are to look like in the database.

    ``blocks`` says, by name, which of the clusters cannot be used as they are written, and why. For those among them
    that have a row, the certificates cannot be had now, and those in the database stay.
    """

    clusters: list[ClusterRow] = field(default_factory=list)
    nodes: list[NodeRow] = field(default_factory=list)
    queues: list[QueueRow] = field(default_factory=list)
    blocks: dict[str, Block] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node's row depends on beside the node and its Secret.

    ``duplicates``: nodes that name the server of an older one, with what to say of them. ``unusable``: clusters whose
    spec cannot be read, so that they have no row, with the reason.
    """

    duplicates: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, Block] = field(default_factory=dict)

    @classmethod
    def of(cls, clusters: Iterable[Manifest], nodes: Iterable[Manifest]) -> Surroundings:
        """Return the surroundings that all objects of a namespace make up."""
        rows = [resolve_node(manifest, None) for manifest in nodes]
        readable = [row for row in rows if row.blocked_reason is None]
        blocked = [row for row in block_duplicates(readable) if row.blocked_reason is not None]
        specs = {manifest["metadata"]["name"]: parse_spec(BBBClusterSpec, manifest) for manifest in clusters}
        return cls(
            duplicates={row.name: row.blocked_message or "" for row in blocked},
            unusable={name: spec for name, spec in specs.items() if isinstance(spec, Block)},
        )

    def affected(self, before: Surroundings, nodes: Iterable[Manifest]) -> set[str]:
        """Return the names of the nodes to which this makes a difference."""
        clusters = {
            name
            for name in self.unusable.keys() | before.unusable.keys()
            if name not in self.unusable or name not in before.unusable
        }
        names = {name for name, _ in self.duplicates.items() ^ before.duplicates.items()}
        return names | {manifest["metadata"]["name"] for manifest in nodes if cluster_name(manifest) in clusters}


def configure(
    *,
    clusters: Iterable[Manifest],
    nodes: Iterable[Manifest],
    queues: Iterable[Manifest],
    secrets: Secrets,
    surroundings: Surroundings,
) -> Configuration:
    """Return the rows of the given objects; nothing in them raises."""
    configuration = Configuration()
    for manifest in clusters:
        row, block = resolve_cluster(manifest, secrets)
        if row is not None:
            configuration.clusters.append(row)
        if block is not None:
            configuration.blocks[manifest["metadata"]["name"]] = block
    configuration.nodes.extend(resolve_node(manifest, secrets, surroundings) for manifest in nodes)
    configuration.queues.extend(row for row in map(resolve_queue, queues) if row is not None)
    return configuration


def parse_spec(model: type[S], manifest: Manifest) -> S | Block:
    """Return the typed spec of an object, or why it cannot be read."""
    try:
        return model.model_validate(manifest.get("spec", {}))
    except ValidationError as error:
        problems = (f"{'.'.join(('spec', *map(str, item['loc'])))}: {item['msg']}" for item in error.errors())
        # The reason has the same name for every kind.
        return Block(str(NodeBlock.INVALID_SPEC), "; ".join(problems)[:LONGEST_SECRET])


def secret_names(clusters: Iterable[Manifest], nodes: Iterable[Manifest]) -> set[str]:
    """Return the names of all Secrets that the objects refer to."""
    names: set[str] = set()
    for manifest in nodes:
        node = parse_spec(BBBNodeSpec, manifest)
        if not isinstance(node, Block):
            names.add(node.secret_ref.name)
    for manifest in clusters:
        cluster = parse_spec(BBBClusterSpec, manifest)
        if not isinstance(cluster, Block) and cluster.tls.ca_secret_ref is not None:
            names.add(cluster.tls.ca_secret_ref.name)
    return names


def resolve_cluster(manifest: Manifest, secrets: Secrets) -> tuple[ClusterRow | None, Block | None]:
    """Return the row of a BBBCluster, and why it cannot be used as it is written."""
    spec = parse_spec(BBBClusterSpec, manifest)
    if isinstance(spec, Block):
        return None, spec
    certificates = _certificates(spec, secrets)
    block = certificates if isinstance(certificates, Block) else None
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
    )
    return row, block


def resolve_node(manifest: Manifest, secrets: Secrets | None, surroundings: Surroundings | None = None) -> NodeRow:
    """Return the row of a BBBNode.

    Args:
        manifest: The BBBNode.
        secrets: The Secrets; None leaves the API secret out, for a look at the addresses only.
        surroundings: The other objects of the namespace.
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
    secret = _api_secret(spec, secrets)
    block = _block(row.name, spec, secret, surroundings or Surroundings())
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


def _block(name: str, spec: BBBNodeSpec, secret: str | Block | None, surroundings: Surroundings) -> Block | None:
    """Return why a node cannot be polled; what its own spec says goes before what is said of its address."""
    unusable = surroundings.unusable.get(spec.cluster_ref.name)
    if unusable is not None:
        message = f"BBBCluster {spec.cluster_ref.name} cannot be used: {unusable.message}"
        return Block(NodeBlock.CLUSTER_NOT_FOUND, message)
    if isinstance(secret, Block):
        return secret
    if name in surroundings.duplicates:
        return Block(NodeBlock.DUPLICATE_URL, surroundings.duplicates[name])
    return None


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


def cluster_name(manifest: Manifest) -> str | None:
    """Return the name of the BBBCluster that a BBBNode refers to."""
    spec = parse_spec(BBBNodeSpec, manifest)
    return None if isinstance(spec, Block) else spec.cluster_ref.name


def secret_text(secrets: Secrets, name: str, key: str, *, longest: int) -> str | Block:
    """Return the value of a key of a Secret without surrounding white space, or why there is none."""
    secret = secrets[name]
    if secret is None:
        return Block(NodeBlock.SECRET_NOT_FOUND, f"Secret {name} does not exist")
    data = secret.get("data") or {}
    if key not in data:
        return Block(NodeBlock.SECRET_KEY_NOT_FOUND, f"Secret {name} has no key {key}")
    where = f"the value of key {key} of Secret {name}"
    try:
        text = base64.b64decode(data[key], validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return Block(NodeBlock.INVALID_SECRET, f"{where} is not text (UTF-8)")
    if not text:
        return Block(NodeBlock.INVALID_SECRET, f"{where} is empty")
    if len(text) > longest:
        return Block(NodeBlock.INVALID_SECRET, f"{where} is longer than {longest} characters")
    return text


def _api_secret(spec: BBBNodeSpec, secrets: Secrets | None) -> str | Block | None:
    if secrets is None:
        return None
    ref = spec.secret_ref
    text = secret_text(secrets, ref.name, ref.key, longest=LONGEST_SECRET)
    if isinstance(text, str) and not text.isprintable():
        message = f"the value of key {ref.key} of Secret {ref.name} has line breaks or control characters"
        return Block(NodeBlock.INVALID_SECRET, message)
    return text


def _certificates(spec: BBBClusterSpec, secrets: Secrets) -> str | Block | None:
    """Return the PEM bundle of a cluster, None for the system's, or why there is none."""
    ref = spec.tls.ca_secret_ref
    if ref is None:
        return None
    text = secret_text(secrets, ref.name, ref.key, longest=LONGEST_BUNDLE)
    if isinstance(text, Block):
        reason = ClusterReason.INVALID_CERTIFICATES if text.reason == NodeBlock.INVALID_SECRET else text.reason
        return Block(reason, f"{text.message}; {_MEANWHILE}")
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        message = f"key {ref.key} of Secret {ref.name} holds no certificates in PEM"
        return Block(ClusterReason.INVALID_CERTIFICATES, f"{message}; {_MEANWHILE}")
    return text
