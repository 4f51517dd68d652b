"""Brings the custom resources into the configuration tables: changes within a moment, everything every so often.

One task does both, so that a batch of changes and a full comparison never overlap. Whatever fails is tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from b3lb.crypto import KeyRing
from b3lb.db.configuration import Changed, Refused
from b3lb.db.configuration import Kind as RowKind
from b3lb_operator.apply import refusal, store_configuration
from b3lb_operator.database import Database, DatabaseUnavailableError, RowRefusedError
from b3lb_operator.kinds import (
    API_SECRET,
    CLUSTER,
    CRON_JOB,
    JOB,
    NODE,
    PART_OF_LABEL,
    QUEUE,
    RECORD_PROFILE,
    RECORDING,
    SECRET,
    SECRET_FIELDS,
    TENANT,
    Key,
    Kind,
    Manifest,
)
from b3lb_operator.kube import Kube, KubeError, NotFoundError
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve import Configuration, Secrets, Surroundings, configure, referred_names, secret_names
from b3lb_operator.store import Store

BATCH_SECONDS = 0.05
FULL_SECONDS = 600.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
SETTLING_SECONDS = 5.0
"""So long after the start the watches have listed what there is, whether or not it could be compared."""

LISTED_SECRETS = 20
"""From so many Secrets on, one list is cheaper than reading them one by one."""

_ROW_KINDS = {
    CLUSTER: RowKind.CLUSTER,
    NODE: RowKind.NODE,
    QUEUE: RowKind.QUEUE,
    TENANT: RowKind.TENANT,
    API_SECRET: RowKind.SECRET,
    RECORD_PROFILE: RowKind.RECORD_PROFILE,
}

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Namespace:
    """What is known of one namespace between two batches.

    ``dirty`` maps changed objects to their uid; ``queues`` are those that the database does not take.
    """

    full_wanted: bool = True
    compared: bool = False
    dirty: dict[tuple[Kind, Key], str] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    clusters: dict[str, ClusterOutcome] = field(default_factory=dict)
    queues: dict[str, Block] = field(default_factory=dict)


class Sync:
    """The one writer of the configuration tables."""

    def __init__(
        self,
        *,
        kube: Kube,
        store: Store,
        database: Database,
        keys: KeyRing,
        namespaces: Collection[str],
        on_stored: Callable[[str, list[Changed]], None],
        on_compared: Callable[[str], None],
    ) -> None:
        """Take the parts.

        Args:
            kube: Where Secrets and complete lists are read.
            store: The live objects.
            database: Where the rows go.
            keys: What encrypts the secrets of nodes and tenants.
            namespaces: All namespaces.
            on_stored: Called with a namespace and what was written there.
            on_compared: Called with a namespace after a full comparison.
        """
        self._kube = kube
        self._store = store
        self._database = database
        self._keys = keys
        self._namespaces = {namespace: _Namespace() for namespace in namespaces}
        self._on_stored = on_stored
        self._on_compared = on_compared
        self._wake = asyncio.Event()
        self._full_at = 0.0
        self._began_at: float | None = None
        self._error = ""
        self._database_error = ""

    def mark(self, kind: Kind, key: Key, uid: str) -> None:
        """Note that a custom resource changed, or that it is gone.

        The ``uid`` may be empty when only something changed to which the object refers.
        """
        namespace = self._namespaces.get(key.namespace)
        if namespace is None:
            return
        namespace.dirty[(kind, key)] = uid or namespace.dirty.get((kind, key), "")
        if kind == TENANT:
            self._mark_namesakes(key)
        self._wake.set()

    def _mark_namesakes(self, tenant: Key) -> None:
        """Note the tenants of other namespaces with the same name, that is: slug, for only one of them may use it."""
        for name, namespace in self._namespaces.items():
            other = Key(name, tenant.name)
            if other != tenant and self._store.get(TENANT, other) is not None:
                namespace.dirty.setdefault((TENANT, other), "")

    def request_full(self) -> None:
        """Compare everything as soon as possible."""
        self._full_at = asyncio.get_running_loop().time() + FULL_SECONDS
        for state in self._namespaces.values():
            state.full_wanted = True
        self._wake.set()

    def cluster_outcome(self, key: Key) -> ClusterOutcome | None:
        """Return what storing a BBBCluster led to, None while nothing is known of it."""
        namespace = self._namespaces.get(key.namespace)
        return None if namespace is None else namespace.clusters.get(key.name)

    def queue_block(self, key: Key) -> Block | None:
        """Return why the database does not hold a BBBQueue as it is written, None if it does or nothing is known."""
        namespace = self._namespaces.get(key.namespace)
        return None if namespace is None else namespace.queues.get(key.name)

    @property
    def storing_error(self) -> str:
        """Why changes cannot be stored, empty while they can."""
        return self._database_error

    def compared(self, namespace: str) -> bool:
        """Whether everything in a namespace was compared at least once."""
        return self._namespaces[namespace].compared

    def settled(self) -> bool:
        """Whether what there is has come in: it was compared, or by now the watches alone have listed it."""
        if all(state.compared for state in self._namespaces.values()):
            return True
        return self._began_at is not None and asyncio.get_running_loop().time() - self._began_at > SETTLING_SECONDS

    def problem(self) -> str | None:
        """Return what is wrong, for the readiness check."""
        missing = [namespace for namespace, state in self._namespaces.items() if not state.compared]
        if not missing:
            return f"changes cannot be stored: {self._database_error}" if self._database_error else None
        where = ", ".join(missing)
        return f"not compared with the database yet: {where}" + (self._error and f" ({self._error})")

    async def run(self) -> None:
        """Work until cancelled."""
        self._began_at = asyncio.get_running_loop().time()
        self.request_full()
        failures = 0
        while True:
            await self._wait()
            try:
                await self._step()
            except DatabaseUnavailableError as error:
                # The database logs its outages itself.
                self._note(str(error), told=not isinstance(error, RowRefusedError))
                self._database_error = str(error)
            except KubeError as error:
                self._note(str(error))
                self._database_error = ""
            except Exception as error:  # noqa: BLE001 - a bug must not end the one writer; what it was to do is kept
                _log.error("synchronisation failed", exc_info=error)
                self._note(type(error).__name__)
            else:
                failures = 0
                self._error = self._database_error = ""
                continue
            self._wake.set()
            longest = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            failures += 1
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads retries

    async def _wait(self) -> None:
        """Wait until there is something to do and a database to do it with."""
        await self._database.connected.wait()
        try:
            async with asyncio.timeout_at(self._full_at):
                await self._wake.wait()
        except TimeoutError:
            self.request_full()
        await asyncio.sleep(BATCH_SECONDS)

    async def _step(self) -> None:
        """Do all that there is to do; one namespace's trouble does not keep the others waiting."""
        self._wake.clear()
        wanting = {namespace: state for namespace, state in self._namespaces.items() if state.full_wanted}
        # All lists before any row: whose a slug is follows from the tenants of all namespaces.
        errors = await self._each(wanting, self._relist)
        listed = {namespace: state for namespace, state in wanting.items() if not state.full_wanted}
        errors += await self._each(listed, self._compare)
        changed = {
            namespace: state
            for namespace, state in self._namespaces.items()
            if state.dirty and not state.full_wanted and namespace not in listed
        }
        errors += await self._each(changed, self._batch)
        if errors:
            raise errors[0]

    async def _each(
        self, namespaces: Mapping[str, _Namespace], work: Callable[[str, _Namespace], Awaitable[None]]
    ) -> list[Exception]:
        """Do something to each namespace; return what went wrong."""
        errors: list[Exception] = []
        for namespace, state in namespaces.items():
            try:
                await work(namespace, state)
            except Exception as error:  # noqa: BLE001 - raised again when all had their turn
                errors.append(error)
        return errors

    async def _relist(self, namespace: str, state: _Namespace) -> None:
        """Bring the store up to date with all objects of a namespace, read afresh."""
        state.full_wanted = False
        try:
            await self._list(namespace)
        except BaseException:
            state.full_wanted = True
            raise
        # From here on a change marks its object again; all that came before is in the store.
        state.dirty.clear()

    async def _list(self, namespace: str) -> None:
        selectors = {**dict.fromkeys((*_ROW_KINDS, RECORDING), ""), CRON_JOB: PART_OF_LABEL, JOB: PART_OF_LABEL}
        known = {kind: self._store.versions(kind, namespace) for kind in selectors}
        reads = (self._kube.list_all(kind, namespace, label_selector=text) for kind, text in selectors.items())
        for kind, listed in zip(selectors, await asyncio.gather(*reads), strict=True):
            self._store.relist(kind, listed, known[kind])

    async def _compare(self, namespace: str, state: _Namespace) -> None:
        """Make all rows of a namespace equal to all its objects."""
        objects = {kind: self._live(kind, namespace) for kind in _ROW_KINDS}
        try:
            await self._write(namespace, state, objects, surroundings=self._surroundings(namespace), dirty=None)
        except BaseException:
            state.full_wanted = True
            raise
        state.compared = True
        self._on_compared(namespace)

    def _surroundings(self, namespace: str) -> Surroundings:
        tenants = [manifest for other in self._namespaces for manifest in self._live(TENANT, other)]
        return Surroundings.of(self._live(CLUSTER, namespace), self._live(NODE, namespace), tenants)

    async def _batch(self, namespace: str, state: _Namespace) -> None:
        """Bring what changed into the rows."""
        dirty, state.dirty = state.dirty, {}
        surroundings = self._surroundings(namespace)
        names = surroundings.affected(state.surroundings, self._live(NODE, namespace))
        affected = {(NODE, Key(namespace, name)) for name in names}
        changed = dirty.keys() | affected
        # What they refer to goes with them, so that a row that got lost is there again, and nothing is called missing.
        referred = referred_names({kind: self._found(kind, changed) for kind in (NODE, API_SECRET)})
        changed |= {(kind, Key(namespace, name)) for kind, names in referred.items() for name in names}
        objects = {kind: self._found(kind, changed) for kind in _ROW_KINDS}
        try:
            await self._write(namespace, state, objects, surroundings=surroundings, dirty=dirty)
        except BaseException:
            state.dirty = {**dirty, **state.dirty}
            raise

    async def _write(
        self,
        namespace: str,
        state: _Namespace,
        objects: Mapping[Kind, list[Manifest]],
        *,
        surroundings: Surroundings,
        dirty: Mapping[tuple[Kind, Key], str] | None,
    ) -> None:
        """Store the rows of objects; without ``dirty`` they are all that there are, else those that changed."""
        secrets = await self._read_secrets(namespace, secret_names(objects))
        configuration = configure(objects, secrets=secrets, surroundings=surroundings)
        gone = _gone(dirty or {}, configuration)
        changes, refused = await self._store_rows(namespace, configuration, complete=dirty is None, gone=gone)
        state.surroundings = surroundings
        outcomes = _outcomes(objects[CLUSTER], configuration, _blocks(refused, RowKind.CLUSTER))
        state.clusters = outcomes if dirty is None else {**state.clusters, **outcomes}
        written = {row.name for row in configuration.queues}
        others = {} if dirty is None else {name: block for name, block in state.queues.items() if name not in written}
        state.queues = {**others, **_blocks(refused, RowKind.QUEUE)}
        self._on_stored(namespace, changes)

    async def _store_rows(
        self, namespace: str, configuration: Configuration, *, complete: bool, gone: Mapping[RowKind, Collection[str]]
    ) -> tuple[list[Changed], list[Refused]]:
        """Store rows; if the database does not take one of them, all others."""
        store = partial(
            store_configuration,
            namespace=namespace,
            configuration=configuration,
            complete=complete,
            keys=self._keys,
            gone=gone,
        )
        try:
            return await self._database.call(store), []
        except RowRefusedError:
            # The failed statement ended the transaction; the next one has savepoints, which the usual one need not pay.
            refused: list[Refused] = []
        changes = await self._database.call(partial(store, refused=refused))
        for item in refused:
            fields = {"namespace": namespace, "kind": str(item.kind), "name": item.name, "rule": item.rule}
            _log.warning("the database does not take a row; all others are stored", **fields)
        return changes, refused

    async def _read_secrets(self, namespace: str, names: Collection[str]) -> Secrets:
        """Return the Secrets of these names, None for those that do not exist."""
        if len(names) < LISTED_SECRETS:
            found = await asyncio.gather(*(self._read_secret(Key(namespace, name)) for name in names))
            return dict(zip(names, found, strict=True))
        secrets: dict[str, Manifest | None] = dict.fromkeys(names)
        async for page in self._kube.pages(SECRET, namespace, field_selector=SECRET_FIELDS):
            secrets.update((name, item) for item in page if (name := item["metadata"]["name"]) in secrets)
        return secrets

    async def _read_secret(self, key: Key) -> Manifest | None:
        try:
            return await self._kube.get(SECRET, key)
        except NotFoundError:
            return None

    def _live(self, kind: Kind, namespace: str) -> list[Manifest]:
        return [manifest for _, manifest in self._store.in_namespace(kind, namespace)]

    def _found(self, kind: Kind, changed: Iterable[tuple[Kind, Key]]) -> list[Manifest]:
        found = (self._store.get(kind, key) for other, key in changed if other == kind)
        return [manifest for manifest in found if manifest is not None]

    def _note(self, error: str, *, told: bool = False) -> None:
        if error != self._error and not told:
            _log.warning("synchronisation waits", error=error)
        self._error = error


def _blocks(refused: Iterable[Refused], kind: RowKind) -> dict[str, Block]:
    return {item.name: refusal(item.rule) for item in refused if item.kind is kind}


def _outcomes(
    clusters: Iterable[Manifest], configuration: Configuration, refused: Mapping[str, Block]
) -> dict[str, ClusterOutcome]:
    """Return what storing these clusters led to, by name."""
    outcomes = {}
    for manifest in clusters:
        metadata = manifest["metadata"]
        block = refused.get(metadata["name"]) or configuration.blocks.get(metadata["name"])
        outcomes[metadata["name"]] = ClusterOutcome(metadata["uid"], metadata["generation"], block)
    return outcomes


def _gone(dirty: Mapping[tuple[Kind, Key], str], configuration: Configuration) -> dict[RowKind, list[str]]:
    """Return the uids of the changed objects that have no row any more: deleted ones, and those nobody can read."""
    names = {
        CLUSTER: {row.name for row in configuration.clusters},
        NODE: {row.name for row in configuration.nodes},
        QUEUE: {row.name for row in configuration.queues},
        TENANT: {row.name for row in configuration.tenants},
        API_SECRET: {row.name for row in configuration.api_secrets},
        RECORD_PROFILE: {row.name for row in configuration.record_profiles},
    }
    gone: dict[RowKind, list[str]] = {}
    for (kind, key), uid in dirty.items():
        if key.name not in names[kind]:
            gone.setdefault(_ROW_KINDS[kind], []).append(uid)
    return gone
