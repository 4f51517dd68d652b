"""The rows of many objects at once, and what they depend on beside themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from b3lb.db.configuration import (
    ApiSecretRow,
    ClusterRow,
    NodeRow,
    QueueRow,
    RecordProfileRow,
    TenantRow,
    block_duplicates,
)
from b3lb.resources import BBBClusterSpec, BBBNodeSpec
from b3lb_operator.kinds import (
    API_SECRET,
    CLUSTER,
    NODE,
    QUEUE,
    RECORD_PROFILE,
    TENANT,
    Key,
    Kind,
    Manifest,
    is_deleting,
)
from b3lb_operator.manifests.drain import FORCE_ANNOTATION
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve.nodes import cluster_name, gives_way, resolve_cluster, resolve_node, resolve_queue
from b3lb_operator.resolve.specs import Secrets, parse_spec
from b3lb_operator.resolve.tenants import (
    api_secret_ref,
    resolve_api_secret,
    resolve_record_profile,
    resolve_tenant,
    slug_owners,
    tenant_name,
)

_LEAVING = (
    "it is being deleted and waits for its meetings to end: with the annotation "
    f"{FORCE_ANNOTATION}=true it goes at once"
)

Objects = Mapping[Kind, Iterable[Manifest]]
"""Custom resources of one namespace by kind; a kind that is missing has none."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What objects of one namespace are to look like in the database.

    ``blocks`` says, by name, which of the clusters cannot be used as they are written, and why. Of those among them
    that have a row the certificates cannot be had now: the row is blocked, unless the database still has them.
    """

    clusters: list[ClusterRow] = field(default_factory=list)
    nodes: list[NodeRow] = field(default_factory=list)
    queues: list[QueueRow] = field(default_factory=list)
    tenants: list[TenantRow] = field(default_factory=list)
    api_secrets: list[ApiSecretRow] = field(default_factory=list)
    record_profiles: list[RecordProfileRow] = field(default_factory=list)
    blocks: dict[str, Block] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an object's row depends on beside the object and its Secret.

    ``duplicates``: nodes that name the server of an older one, with what to say of them. ``unusable``: clusters whose
    spec cannot be read, so that they have no row, with the reason. ``slug_owners``: the tenant that may use a slug.
    """

    duplicates: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, Block] = field(default_factory=dict)
    slug_owners: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(
        cls, clusters: Iterable[Manifest], nodes: Iterable[Manifest], tenants: Iterable[Manifest] = ()
    ) -> Surroundings:
        """Return the surroundings that clusters and nodes of one namespace and the tenants of all make up."""
        live = list(nodes)
        rows = [resolve_node(manifest, None) for manifest in live]
        readable = [row for row in rows if row.blocked_reason is None]
        yielding = {manifest["metadata"]["name"] for manifest in live if gives_way(manifest)}
        hints = {manifest["metadata"]["name"]: _LEAVING for manifest in live if is_deleting(manifest)}
        compared = block_duplicates(readable, yielding=yielding, hints=hints)
        blocked = [row for row in compared if row.blocked_reason is not None]
        specs = {manifest["metadata"]["name"]: parse_spec(BBBClusterSpec, manifest) for manifest in clusters}
        return cls(
            duplicates={row.name: row.blocked_message or "" for row in blocked},
            unusable={name: spec for name, spec in specs.items() if isinstance(spec, Block)},
            slug_owners=slug_owners(tenants),
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


def configure(objects: Objects, *, secrets: Secrets, surroundings: Surroundings) -> Configuration:
    """Return the rows of the given objects; nothing in them raises."""
    configuration = Configuration()
    for manifest in objects.get(CLUSTER, ()):
        row, block = resolve_cluster(manifest, secrets)
        if row is not None:
            configuration.clusters.append(row)
        if block is not None:
            configuration.blocks[manifest["metadata"]["name"]] = block
    for manifest in objects.get(NODE, ()):
        name = cluster_name(manifest)
        unusable = None if name is None else surroundings.unusable.get(name)
        duplicate = surroundings.duplicates.get(manifest["metadata"]["name"])
        configuration.nodes.append(resolve_node(manifest, secrets, unusable=unusable, duplicate=duplicate))
    configuration.queues.extend(row for row in map(resolve_queue, objects.get(QUEUE, ())) if row is not None)
    configuration.tenants.extend(
        resolve_tenant(manifest, surroundings.slug_owners) for manifest in objects.get(TENANT, ())
    )
    configuration.api_secrets.extend(resolve_api_secret(manifest, secrets) for manifest in objects.get(API_SECRET, ()))
    configuration.record_profiles.extend(map(resolve_record_profile, objects.get(RECORD_PROFILE, ())))
    return configuration


def referred_names(objects: Objects) -> dict[Kind, set[str]]:
    """Return the names of the clusters and tenants that nodes and API secrets refer to."""
    clusters = {name for manifest in objects.get(NODE, ()) if (name := cluster_name(manifest)) is not None}
    tenants = {name for manifest in objects.get(API_SECRET, ()) if (name := tenant_name(manifest)) is not None}
    return {CLUSTER: clusters, TENANT: tenants}


def secret_names(objects: Objects) -> set[str]:
    """Return the names of all Secrets that the objects refer to, those to be generated included."""
    names: set[str] = set()
    for manifest in objects.get(NODE, ()):
        node = parse_spec(BBBNodeSpec, manifest)
        if not isinstance(node, Block):
            names.add(node.secret_ref.name)
    for manifest in objects.get(CLUSTER, ()):
        cluster = parse_spec(BBBClusterSpec, manifest)
        if not isinstance(cluster, Block):
            refs = (cluster.tls.ca_secret_ref, cluster.upload_secret_ref)
            names |= {ref.name for ref in refs if ref is not None}
    for manifest in objects.get(API_SECRET, ()):
        ref = api_secret_ref(manifest)
        if ref is not None:
            names.add(ref.name)
    return names
