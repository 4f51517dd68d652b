"""Brings the custom resources into the configuration tables: changes within a moment, everything every so often.

One task does both, so that a batch of changes and a full comparison never overlap. Whatever fails is tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from b3lb.crypto import KeyRing
from b3lb.db.configuration import Changed
from b3lb.db.configuration import Kind as RowKind
from b3lb_operator.apply import store_configuration
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import (
    CLUSTER,
    CRON_JOB,
    JOB,
    NODE,
    PART_OF_LABEL,
    QUEUE,
    SECRET,
    SECRET_FIELDS,
    Key,
    Kind,
    Manifest,
)
from b3lb_operator.kube import Kube, KubeError, NotFoundError
from b3lb_operator.manifests.cluster_status import ClusterOutcome
from b3lb_operator.resolve import Configuration, Secrets, Surroundings, configure, secret_names
from b3lb_operator.store import Store

BATCH_SECONDS = 0.05
FULL_SECONDS = 600.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
LISTED_SECRETS = 20
"""From so many Secrets on, one list is cheaper than reading them one by one."""

_ROW_KINDS = {CLUSTER: RowKind.CLUSTER, NODE: RowKind.NODE, QUEUE: RowKind.QUEUE}

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Namespace:
    """What is known of one namespace between two batches; ``dirty`` maps changed objects to their uid."""

    full_wanted: bool = True
    compared: bool = False
    dirty: dict[tuple[Kind, Key], str] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    clusters: dict[str, ClusterOutcome] = field(default_factory=dict)


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
            keys: What encrypts the nodes' secrets.
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
        self._error = ""
        self._database_error = ""

    def mark(self, kind: Kind, key: Key, uid: str) -> None:
        """Note that an object (BBBCluster, BBBNode or BBBQueue) changed, or that it is gone.

        The ``uid`` may be empty when only something changed to which the object refers.
        """
        namespace = self._namespaces.get(key.namespace)
        if namespace is not None:
            namespace.dirty[(kind, key)] = uid or namespace.dirty.get((kind, key), "")
            self._wake.set()

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

    def compared(self, namespace: str) -> bool:
        """Whether everything in a namespace was compared at least once."""
        return self._namespaces[namespace].compared

    def problem(self) -> str | None:
        """Return what is wrong, for the readiness check."""
        missing = [namespace for namespace, state in self._namespaces.items() if not state.compared]
        if not missing:
            return f"changes cannot be stored: {self._database_error}" if self._database_error else None
        where = ", ".join(missing)
        return f"not compared with the database yet: {where}" + (self._error and f" ({self._error})")

    async def run(self) -> None:
        """Work until cancelled."""
        self.request_full()
        failures = 0
        while True:
            await self._wait()
            try:
                await self._step()
            except (KubeError, DatabaseUnavailableError) as error:
                self._note(str(error))
                self._database_error = str(error) if isinstance(error, DatabaseUnavailableError) else ""
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
        errors: list[Exception] = []
        for namespace, state in self._namespaces.items():
            try:
                if state.full_wanted:
                    await self._compare(namespace, state)
                elif state.dirty:
                    await self._batch(namespace, state)
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)
        if errors:
            raise errors[0]

    async def _compare(self, namespace: str, state: _Namespace) -> None:
        """Make all rows of a namespace equal to all its objects, read afresh."""
        state.full_wanted = False
        try:
            await self._compare_all(namespace, state)
        except BaseException:
            state.full_wanted = True
            raise

    async def _compare_all(self, namespace: str, state: _Namespace) -> None:
        selectors = {CLUSTER: "", NODE: "", QUEUE: "", CRON_JOB: PART_OF_LABEL, JOB: PART_OF_LABEL}
        known = {kind: self._store.versions(kind, namespace) for kind in selectors}
        reads = (self._kube.list_all(kind, namespace, label_selector=text) for kind, text in selectors.items())
        for kind, listed in zip(selectors, await asyncio.gather(*reads), strict=True):
            self._store.relist(kind, listed, known[kind])
        # From here on a change marks its object again; all that came before is in the store.
        state.dirty.clear()
        objects = {kind: self._live(kind, namespace) for kind in _ROW_KINDS}
        surroundings = Surroundings.of(objects[CLUSTER], objects[NODE])
        await self._write(namespace, state, objects, surroundings=surroundings, dirty=None)
        state.compared = True
        self._on_compared(namespace)

    async def _batch(self, namespace: str, state: _Namespace) -> None:
        """Bring what changed into the rows."""
        dirty, state.dirty = state.dirty, {}
        nodes = self._live(NODE, namespace)
        surroundings = Surroundings.of(self._live(CLUSTER, namespace), nodes)
        affected = {(NODE, Key(namespace, name)) for name in surroundings.affected(state.surroundings, nodes)}
        changed = dirty.keys() | affected
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
        secrets = await self._read_secrets(namespace, secret_names(objects[CLUSTER], objects[NODE]))
        configuration = configure(
            clusters=objects[CLUSTER],
            nodes=objects[NODE],
            queues=objects[QUEUE],
            secrets=secrets,
            surroundings=surroundings,
        )
        gone = _gone(dirty or {}, configuration)
        changes = await self._database.call(
            lambda connection: store_configuration(
                connection, namespace, configuration, complete=dirty is None, keys=self._keys, gone=gone
            )
        )
        state.surroundings = surroundings
        outcomes = _outcomes(objects[CLUSTER], configuration)
        state.clusters = outcomes if dirty is None else {**state.clusters, **outcomes}
        self._on_stored(namespace, changes)

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

    def _note(self, error: str) -> None:
        if error != self._error:
            _log.warning("synchronisation waits", error=error)
        self._error = error


def _outcomes(clusters: Iterable[Manifest], configuration: Configuration) -> dict[str, ClusterOutcome]:
    """Return what storing these clusters led to, by name."""
    outcomes = {}
    for manifest in clusters:
        metadata = manifest["metadata"]
        block = configuration.blocks.get(metadata["name"])
        outcomes[metadata["name"]] = ClusterOutcome(metadata["uid"], metadata["generation"], block)
    return outcomes


def _gone(dirty: Mapping[tuple[Kind, Key], str], configuration: Configuration) -> dict[RowKind, list[str]]:
    """Return the uids of the changed objects that have no row any more: deleted ones, and those nobody can read."""
    names = {
        CLUSTER: {row.name for row in configuration.clusters},
        NODE: {row.name for row in configuration.nodes},
        QUEUE: {row.name for row in configuration.queues},
    }
    gone: dict[RowKind, list[str]] = {}
    for (kind, key), uid in dirty.items():
        if key.name not in names[kind]:
            gone.setdefault(_ROW_KINDS[kind], []).append(uid)
    return gone
