"""Mirrors the database into the status of all kinds but queues: by notification, and slowly in any case.

Every pass builds the whole status of every object and compares it with the live one, so nothing is lost with a
notification, and an unchanged namespace costs no request.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from b3lb.db.mirror import Snapshot, read_snapshot
from b3lb.db.refusals import REFUSED_REASON
from b3lb.resources import BBBClusterSpec, BBBNodeSpec, BBBQueueSpec
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import CLUSTER, CONFIGURED_KINDS, NODE, QUEUE, Key, Kind, Manifest, is_deleting
from b3lb_operator.kube import KubeError, UnavailableError
from b3lb_operator.lag import Lag, unreflected, went_back
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.manifests.facts import Block
from b3lb_operator.reconcilers.cluster import cluster_status
from b3lb_operator.reconcilers.node import node_status
from b3lb_operator.reconcilers.tenancy import tenancy_statuses
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


class Synchronisation(Protocol):
    """What the mirror asks of what stores the objects."""

    def cluster_outcome(self, key: Key) -> ClusterOutcome | None:
        """Return what storing a cluster led to, None while nothing is known of it."""

    @property
    def storing_error(self) -> str:
        """Why changes cannot be stored, empty while they can."""

    def queue_block(self, key: Key) -> Block | None:
        """Return why the database does not take a queue, None if it does."""

    def request_full(self) -> None:
        """Compare all objects with all rows as soon as possible."""


class Mirror:
    """The status of all clusters, nodes, tenants, API secrets and record profiles of one namespace."""

    def __init__(
        self,
        namespace: str,
        *,
        store: Store,
        database: Database,
        writer: StatusWriter,
        sync: Synchronisation,
        problem_of: Callable[[Key], str],
        on_deleting: Callable[[Key], None],
    ) -> None:
        """Take the parts.

        Args:
            namespace: The namespace.
            store: The live objects.
            database: What is mirrored.
            writer: Writes a status when it is due.
            sync: Stores the objects.
            problem_of: Returns why the core Secret of a BBBSecret could not be generated, empty without trouble.
            on_deleting: Called, after every look at the database, with every node that is being deleted.
        """
        self._namespace = namespace
        self._store = store
        self._database = database
        self._writer = writer
        self._sync = sync
        self._problem_of = problem_of
        self._on_deleting = on_deleting
        self._wake = asyncio.Event()
        self._snapshot: Snapshot | None = None
        self._read_at = asyncio.get_running_loop().time()
        self._lag = Lag()
        self._error = ""
        self._write_error = ""

    def request(self) -> None:
        """Look at the database as soon as possible."""
        self._wake.set()

    def view(self) -> View:
        """Return what is known of the namespace now."""
        now = asyncio.get_running_loop().time()
        age = timedelta(seconds=now - self._read_at)
        view = View.of(self._snapshot, age=age, error=self._error, now=datetime.now(UTC))
        return dataclasses.replace(view, late=self._lag.late(at=now), storing_error=self._sync.storing_error)

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
        before = self._snapshot
        await self._read()
        self._note_lag(before)
        view = self.view()
        nodes = dict(self._store.in_namespace(NODE, self._namespace))
        statuses = {key: node_status(manifest, view) for key, manifest in nodes.items()}
        clusters = self._cluster_statuses(nodes, statuses, view)
        tenancy = tenancy_statuses(self._store, self._namespace, view, problem_of=self._problem_of)
        delay = await self._write([*_present(NODE, statuses), *_present(CLUSTER, clusters), *tenancy])
        for key, manifest in nodes.items():
            if is_deleting(manifest):
                self._on_deleting(key)
        wait = self._lag.seconds_to_wait(at=asyncio.get_running_loop().time())
        return min(delay, RECHECK_SECONDS if wait is None else wait)

    def _note_lag(self, before: Snapshot | None) -> None:
        """Have everything compared when rows are not as they were stored: the database was restored or emptied."""
        if self._snapshot is None or self._error:
            return
        at = asyncio.get_running_loop().time()
        objects = {
            kind: [
                item for key, item in self._store.in_namespace(kind, self._namespace) if self._has_row(kind, key, item)
            ]
            for kind in CONFIGURED_KINDS
        }
        self._lag.note(unreflected(objects, self._snapshot), at=at, restored=went_back(before, self._snapshot))
        if not self._sync.storing_error and self._lag.take_comparison(at=at):
            _log.warning("the database is not as it was left: everything is compared", namespace=self._namespace)
            self._sync.request_full()

    def _has_row(self, kind: Kind, key: Key, manifest: Manifest) -> bool:
        """Whether an object should have its row: a cluster or queue that cannot be read, or is refused, need not."""
        if kind == CLUSTER:
            outcome = self._sync.cluster_outcome(key)
            refused = outcome is not None and outcome.block is not None and outcome.block.reason == REFUSED_REASON
            return not refused and not isinstance(parse_spec(BBBClusterSpec, manifest), Block)
        if kind == QUEUE:
            return self._sync.queue_block(key) is None and not isinstance(parse_spec(BBBQueueSpec, manifest), Block)
        return True

    async def _read(self) -> None:
        """Look at the database; when that fails, what was last seen stays and grows old."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._snapshot = await self._database.call(lambda connection: read_snapshot(connection, self._namespace))
        except DatabaseUnavailableError as error:
            # The database logs its outages itself, once for all namespaces.
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
                manifest, view, nodes=members.get(key.name, ()), outcome=self._sync.cluster_outcome(key)
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
