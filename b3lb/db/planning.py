"""Which configuration rows have to be written: pure functions, no database and no clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from yarl import URL

from b3lb.crypto import KeyRing, UnknownKeyError
from b3lb.db.rows import Action, ClusterRow, Existing, NodeRow, QueueRow, Row
from b3lb.db.statements import storable_text

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Difference:
    """How a wanted row differs from the existing one.

    ``repoll``: something that a poll depends on. ``seal``: the secret has to be encrypted (again).
    """

    changed: bool
    repoll: bool = False
    seal: bool = False


@dataclass(frozen=True, slots=True)
class Write(Generic[_R]):
    """One row to insert, update or revive, with its revision; ``existing`` is None for a new one."""

    action: Action
    row: _R
    existing: Existing[Any] | None
    revision: int
    repoll: bool
    seal: bool


@dataclass(frozen=True, slots=True)
class Plan(Generic[_R]):
    """What makes the existing rows equal to the wanted ones."""

    writes: tuple[Write[_R], ...] = ()
    deletes: tuple[Existing[Any], ...] = ()


def plan(
    desired: Sequence[Row],
    existing: Sequence[Existing[Row]],
    *,
    complete: bool,
    compare: Callable[[Row, Existing[Row]], Difference],
) -> Plan[Row]:
    """Return what has to be written.

    Args:
        desired: The wanted rows of one namespace, with unique names.
        existing: The rows that the database holds, deleted ones included; more than the wanted names do no harm.
        complete: Whether ``desired`` is everything, so that other existing rows are to be deleted.
        compare: How a wanted row differs from an existing one that is not deleted.

    Raises:
        ValueError: A name occurs twice.
    """
    wanted = {row.name: row for row in desired}
    if len(wanted) != len(desired):
        raise ValueError("two rows of one namespace have the same name")
    known = {item.row.name: item for item in existing}
    writes = [write for row in desired if (write := _write(row, known.get(row.name), compare)) is not None]
    obsolete = [item for item in existing if complete and not item.deleted and item.row.name not in wanted]
    return Plan(writes=tuple(writes), deletes=tuple(obsolete))


def _write(
    row: Row, existing: Existing[Row] | None, compare: Callable[[Row, Existing[Row]], Difference]
) -> Write[Row] | None:
    if existing is None:
        return Write(Action.INSERT, row, None, revision=1, repoll=True, seal=True)
    difference = compare(row, existing)
    if existing.deleted:
        return Write(Action.REVIVE, row, existing, existing.revision + 1, repoll=True, seal=difference.seal)
    if not difference.changed:
        return None
    revision = existing.revision + difference.repoll
    return Write(Action.UPDATE, row, existing, revision, repoll=difference.repoll, seal=difference.seal)


def compare_queues(row: QueueRow, existing: Existing[QueueRow]) -> Difference:
    """Compare a queue."""
    return Difference(changed=row != existing.row)


def compare_clusters(row: ClusterRow, existing: Existing[ClusterRow]) -> Difference:
    """Compare a cluster; what a poll of its nodes depends on gives them all a new revision."""
    old = existing.row
    repoll = (row.checksum_algorithm, row.timeout_seconds, row.ca_certificates) != (
        old.checksum_algorithm,
        old.timeout_seconds,
        old.ca_certificates,
    )
    return Difference(changed=row != old, repoll=repoll)


def node_comparison(namespace: str, keys: KeyRing) -> Callable[[NodeRow, Existing[NodeRow]], Difference]:
    """Return how nodes of ``namespace`` are compared."""

    def compare(row: NodeRow, existing: Existing[NodeRow]) -> Difference:
        old = existing.row
        new_secret = row.secret is not None and not _same_secret(row.secret, existing, keys, namespace)
        stale_key = row.secret is not None and existing.secret is not None and existing.secret.key_id != keys.primary
        dropped = row.secret is None and existing.secret is not None
        repoll = (
            new_secret
            or (row.uid, row.api_url, row.load_url, row.cluster) != (old.uid, old.api_url, old.load_url, old.cluster)
            or (old.blocked_reason is not None and row.blocked_reason is None)
            or (old.state == "Disabled" and row.state != "Disabled")
        )
        changed = row != old or new_secret or stale_key or dropped
        return Difference(changed=changed, repoll=repoll, seal=new_secret or stale_key)

    return compare


def secret_context(namespace: str, name: str) -> str:
    """Return the place of a node's API secret, which its encryption authenticates."""
    return f"nodes/{namespace}/{name}"


def _same_secret(secret: str, existing: Existing[NodeRow], keys: KeyRing, namespace: str) -> bool:
    if existing.secret is None:
        return False
    context = secret_context(namespace, existing.row.name)
    try:
        return keys.matches(secret, existing.secret.hash, existing.secret.key_id, context=context)
    except UnknownKeyError:
        # The key was dropped too early: nobody can read the row any more, so it is written anew.
        return False


def resolve_clusters(rows: Sequence[NodeRow], clusters: Collection[str]) -> list[NodeRow]:
    """Return the nodes with those blocked whose cluster does not exist; a reason that is there already stays."""
    return [row if row.cluster in clusters else _without_cluster(row) for row in rows]


def _without_cluster(row: NodeRow) -> NodeRow:
    if row.blocked_reason is not None:
        return dataclasses.replace(row, cluster=None)
    message = f"BBBCluster {row.cluster} does not exist" if row.cluster else "no BBBCluster is named"
    return dataclasses.replace(row, cluster=None, blocked_reason="ClusterNotFound", blocked_message=message)


def block_duplicates(rows: Sequence[NodeRow]) -> list[NodeRow]:
    """Return the nodes of one namespace with those blocked that share a server with an older one.

    The oldest (then: the first by name) keeps polling, whatever else may be wrong with it, so that mending it moves
    nothing. Disabled nodes are not polled and therefore neither block nor are blocked. A node that is blocked already
    keeps its reason.
    """
    owners: dict[str, NodeRow] = {}
    for row in sorted(rows, key=lambda row: (row.created_at, row.name)):
        if row.state != "Disabled":
            owners.setdefault(normalized_url(row.api_url), row)
    return [_blocked_by(row, owners.get(normalized_url(row.api_url), row)) for row in rows]


def _blocked_by(row: NodeRow, owner: NodeRow) -> NodeRow:
    if owner.name == row.name or row.state == "Disabled" or row.blocked_reason is not None:
        return row
    message = f"BBBNode {owner.name} polls the same server already"
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


def cleaned(row: Row) -> Row:
    """Return ``row`` with texts that PostgreSQL can store, so that it equals itself when it is read back."""
    texts: dict[str, Any] = {
        item.name: storable_text(value)
        for item in dataclasses.fields(row)
        if item.name != "secret" and isinstance(value := getattr(row, item.name), str)
    }
    return dataclasses.replace(row, **texts)
