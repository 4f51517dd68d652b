"""BBBCluster: its status follows from its nodes and its guard; it owns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from b3lb.resources import BBBNodeSpec
from b3lb_operator.kinds import Manifest
from b3lb_operator.manifests.cluster_status import ClusterFacts, ClusterOutcome, build_cluster_status
from b3lb_operator.view import View


def cluster_status(
    manifest: Manifest,
    view: View,
    *,
    nodes: Sequence[tuple[BBBNodeSpec, Mapping[str, Any]]],
    outcome: ClusterOutcome | None,
) -> dict[str, Any] | None:
    """Return the status that a BBBCluster should have.

    None while what was said before a restart still stands, for the database was not read yet.

    Args:
        manifest: The live object.
        view: What is known of its namespace.
        nodes: Spec and status of every node that refers to it.
        outcome: What the last attempt to store it led to.
    """
    metadata = manifest["metadata"]
    uid, generation = metadata["uid"], metadata["generation"]
    old = manifest.get("status") or {}
    if old and view.snapshot is None and view.freshness.outdated(view.now) is None:
        return None
    row = view.cluster(metadata["name"])
    own = row if row is not None and row.uid == uid else None
    current = outcome if outcome is not None and (outcome.uid, outcome.generation) == (uid, generation) else None
    block = current.block if current is not None else None
    facts = ClusterFacts(
        generation=generation,
        freshness=view.freshness,
        nodes=nodes,
        block=block,
        stored=current is not None and block is None and own is not None and own.generation == generation,
        missing=own is None and view.is_readable,
        guard=None if own is None else own.guard,
    )
    return build_cluster_status(facts, old=old, now=view.now)
