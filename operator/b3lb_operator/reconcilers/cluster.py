"""BBBCluster: its status follows from its nodes and its guard; it owns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from b3lb.resources import BBBNodeSpec
from b3lb_operator.kinds import Manifest
from b3lb_operator.manifests.cluster_status import ClusterFacts, build_cluster_status
from b3lb_operator.manifests.facts import Block
from b3lb_operator.view import View


def cluster_status(
    manifest: Manifest, view: View, *, nodes: Sequence[tuple[BBBNodeSpec, Mapping[str, Any]]], block: Block | None
) -> dict[str, Any]:
    """Return the status that a BBBCluster should have.

    Args:
        manifest: The live object.
        view: What is known of its namespace.
        nodes: Spec and status of every node that refers to it.
        block: Why it cannot be used as it is written.
    """
    metadata = manifest["metadata"]
    row = view.cluster(metadata["name"])
    facts = ClusterFacts(
        generation=metadata["generation"],
        freshness=view.freshness,
        nodes=nodes,
        block=block,
        guard=None if row is None else row.guard,
    )
    return build_cluster_status(facts, old=manifest.get("status") or {}, now=view.now)
