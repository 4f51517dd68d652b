"""How a node's row differs from the existing one, and which nodes cannot be polled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

from yarl import URL

from b3lb.crypto import KeyRing
from b3lb.db.planning.plans import Difference
from b3lb.db.planning.sealing import compare_secret, secret_context
from b3lb.db.rows import Existing, NodeRow


def node_comparison(namespace: str, keys: KeyRing) -> Callable[[NodeRow, Existing[NodeRow]], Difference]:
    """Return how nodes of ``namespace`` are compared.

    Another server, another secret, or the end of a time without polls: what was known of the health says nothing any
    more. A change of anything else keeps it, for it may come while the whole farm seems to fail.
    """

    def compare(row: NodeRow, existing: Existing[NodeRow]) -> Difference:
        old = existing.row
        secret = compare_secret(row.secret, existing.secret, keys, context=secret_context(namespace, old.name))
        anew = (
            secret.new
            or row.api_url != old.api_url
            or (old.blocked_reason is not None and row.blocked_reason is None)
            or (old.state == "Disabled" and row.state != "Disabled")
        )
        repoll = anew or (row.uid, row.load_url, row.cluster) != (old.uid, old.load_url, old.cluster)
        return Difference(changed=row != old or bool(secret), repoll=repoll, anew=anew, seal=secret.seal)

    return compare


def resolve_clusters(rows: Sequence[NodeRow], clusters: Collection[str]) -> list[NodeRow]:
    """Return the nodes with those blocked whose cluster does not exist; a reason that is there already stays."""
    return [row if row.cluster in clusters else _without_cluster(row) for row in rows]


def _without_cluster(row: NodeRow) -> NodeRow:
    if row.blocked_reason is not None:
        return dataclasses.replace(row, cluster=None)
    message = f"BBBCluster {row.cluster} does not exist" if row.cluster else "no BBBCluster is named"
    return dataclasses.replace(row, cluster=None, blocked_reason="ClusterNotFound", blocked_message=message)


def block_duplicates(
    rows: Sequence[NodeRow], *, yielding: Collection[str] = (), hints: Mapping[str, str] | None = None
) -> list[NodeRow]:
    """Return the nodes of one namespace with those blocked that share a server with an older one.

    The oldest (then: the first by name) keeps polling, whatever else may be wrong with it, so that mending it moves
    nothing. Disabled nodes are not polled and therefore neither block nor are blocked. A node that is blocked already
    keeps its reason.

    Args:
        rows: The nodes.
        yielding: The names of those that block none but each other, however old they are.
        hints: What to say more of a node, by name, to those that it blocks.
    """
    owners: dict[str, NodeRow] = {}
    for row in sorted(rows, key=lambda row: (row.name in yielding, row.created_at, row.name)):
        if row.state != "Disabled":
            owners.setdefault(normalized_url(row.api_url), row)
    return [_blocked_by(row, owners.get(normalized_url(row.api_url), row), hints or {}) for row in rows]


def _blocked_by(row: NodeRow, owner: NodeRow, hints: Mapping[str, str]) -> NodeRow:
    if owner.name == row.name or row.state == "Disabled" or row.blocked_reason is not None:
        return row
    message = f"BBBNode {owner.name} polls the same server already"
    if owner.name in hints:
        message = f"{message}; {hints[owner.name]}"
    return dataclasses.replace(row, blocked_reason="DuplicateURL", blocked_message=message)


def normalized_url(url: str) -> str:
    """Return ``url`` so that two spellings of one address are equal (RFC 3986, 6.2.2 and 6.2.3).

    Case of scheme and host, the scheme's own port, a trailing dot of the host and trailing slashes make no difference.
    """
    try:
        parts = URL(url.strip())
        host = (parts.raw_host or "").rstrip(".").lower()
        return f"{parts.scheme}://{host}:{parts.port}{parts.raw_path.rstrip('/')}?{parts.raw_query_string}"
    except ValueError:
        return url
