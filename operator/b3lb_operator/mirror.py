"""Mirrors the database into the status of clusters and nodes: by notification, and slowly in any case.

Every pass builds the whole status of every object and compares it with the live one, so nothing is lost with a
notification, and an unchanged namespace costs no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from b3lb.db.mirror import Snapshot, read_snapshot
from b3lb.resources import BBBNodeSpec
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import CLUSTER, NODE, Key, Kind, Manifest, is_deleting
from b3lb_operator.kube import KubeError, UnavailableError
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.manifests.facts import Block
from b3lb_operator.reconcilers.cluster import cluster_status
from b3lb_operator.reconcilers.node import node_status
from b3lb_operator.resolve import parse_spec
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store
from b3lb_operator.view import View

COALESCE_SECONDS = 0.2
RECHECK_SECONDS = 10.0
RETRY_SECONDS = 2.0
_WRITES_AT_A_TIME = 16

_log = structlog.stdlib.get_logger(__name__)

Status = dict[str, Any]


class ClusterOutcomes(Protocol):
    """Knows which clusters were stored, and which of them cannot be used as they are written."""

    def cluster_outcome(self, key: Key) -> ClusterOutcome | None:
        """Return what storing a cluster led to, None while nothing is known of it."""


class Mirror:
    """The status of all clusters and nodes of one namespace."""

    def __init__(
        self,
        namespace: str,
        *,
        store: Store,
        database: Database,
        writer: StatusWriter,
        clusters: ClusterOutcomes,
        on_deleting: Callable[[Key], None],
    ) -> None:
        """Take the parts.

        Args:
            namespace: The namespace.
            store: The live objects.
            database: What is mirrored.
            writer: Writes a status when it is due.
            clusters: Knows which clusters were stored.
            on_deleting: Called, after every look at the database, with every node that is being deleted.
        """
        self._namespace = namespace
        self._store = store
        self._database = database
        self._writer = writer
        self._clusters = clusters
        self._on_deleting = on_deleting
        self._wake = asyncio.Event()
        self._snapshot: Snapshot | None = None
        self._read_at = asyncio.get_running_loop().time()
        self._error = ""
        self._write_error = ""

    def request(self) -> None:
        """Look at the database as soon as possible."""
        self._wake.set()

    def view(self) -> View:
        """Return what is known of the namespace now."""
        age = timedelta(seconds=asyncio.get_running_loop().time() - self._read_at)
        return View.of(self._snapshot, age=age, error=self._error, now=datetime.now(UTC))

    async def run(self) -> None:
        """Work until cancelled."""
        due = RECHECK_SECONDS
        while True:
            try:
                async with asyncio.timeout(due):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                due = await self._pass()
            except Exception as error:  # noqa: BLE001 - a bug must not end the mirror; the next pass builds all anew
                _log.error("mirror failed", namespace=self._namespace, exc_info=error)
                due = RECHECK_SECONDS
            await asyncio.sleep(COALESCE_SECONDS)

    async def _pass(self) -> float:
        """Read, compare and write once; return after how many seconds to do so again at the latest."""
        await self._read()
        view = self.view()
        nodes = dict(self._store.in_namespace(NODE, self._namespace))
        statuses = {key: node_status(manifest, view) for key, manifest in nodes.items()}
        clusters = self._cluster_statuses(nodes, statuses, view)
        delay = await self._write([*_present(NODE, statuses), *_present(CLUSTER, clusters)])
        for key, manifest in nodes.items():
            if is_deleting(manifest):
                self._on_deleting(key)
        return min(delay, RECHECK_SECONDS)

    async def _read(self) -> None:
        """Look at the database; when that fails, what was last seen stays and grows old."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._snapshot = await self._database.call(lambda connection: read_snapshot(connection, self._namespace))
        except DatabaseUnavailableError as error:
            if self._error != str(error):
                _log.warning("mirror waits", namespace=self._namespace, error=str(error))
            self._error = str(error)
        except Exception as error:  # noqa: BLE001 - a bug must not keep statuses from saying that nothing is known
            _log.error("mirror failed", namespace=self._namespace, exc_info=error)
            self._error = type(error).__name__
        else:
            self._error = ""
            self._read_at = began

    def _cluster_statuses(
        self, nodes: Mapping[Key, Manifest], statuses: Mapping[Key, Status | None], view: View
    ) -> dict[Key, Status | None]:
        members: dict[str, list[tuple[BBBNodeSpec, Mapping[str, Any]]]] = {}
        for key, manifest in nodes.items():
            spec = parse_spec(BBBNodeSpec, manifest)
            if not isinstance(spec, Block):
                status = statuses[key] or manifest.get("status") or {}
                members.setdefault(spec.cluster_ref.name, []).append((spec, status))
        return {
            key: cluster_status(
                manifest, view, nodes=members.get(key.name, ()), outcome=self._clusters.cluster_outcome(key)
            )
            for key, manifest in self._store.in_namespace(CLUSTER, self._namespace)
        }

    async def _write(self, wanted: Collection[tuple[Kind, Key, Status]]) -> float:
        """Write what is due; return after how many seconds the next is."""
        limit = asyncio.Semaphore(_WRITES_AT_A_TIME)
        errors: list[KubeError] = []

        async def write(kind: Kind, key: Key, status: Status) -> float | None:
            async with limit:
                # One unanswered request is enough to know that the others would wait for nothing.
                if any(isinstance(error, UnavailableError) for error in errors):
                    return RETRY_SECONDS
                try:
                    return await self._writer.write(kind, key, status)
                except KubeError as error:
                    errors.append(error)
                    return RETRY_SECONDS

        delays = await asyncio.gather(*(write(*item) for item in wanted))
        self._report(str(errors[0]) if errors else "")
        return min((delay for delay in delays if delay is not None), default=RECHECK_SECONDS)

    def _report(self, error: str) -> None:
        if error and error != self._write_error:
            _log.warning("statuses not written", namespace=self._namespace, error=error)
        self._write_error = error


def _present(kind: Kind, statuses: Mapping[Key, Status | None]) -> Iterable[tuple[Kind, Key, Status]]:
    return ((kind, key, status) for key, status in statuses.items() if status is not None)
