"""Recordings: planned as their rows and their BBBRecordings say, and shown by them.

Everything follows from rows and objects: an object is made for what is in work, held or failed, its uid is noted in the
row, and one that is missing although its uid stands there was deleted by somebody, which cancels. No finalizer is
needed for that, so none can hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from b3lb.db.recordings_in_work import RecordingsInWork
from b3lb.db.render_plan import forget_all_objects, forget_objects, plan_renders
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.steering import Recording, Wish, is_missing, queue_positions
from b3lb.resources import BBBQueueSpec, BBBRecordingSpec
from b3lb.tasks import RENDER_RECORD
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.events import RECORDING_DELETED, Teller, object_deleted
from b3lb_operator.kinds import QUEUE, RECORDING, Key, Manifest, is_deleting
from b3lb_operator.kube import ConflictError, Kube, KubeError, NotFoundError
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.recordings import RecordQueue, build_recording, is_to_go, recording_status, was_shown
from b3lb_operator.resolve import parse_spec
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store

T = TypeVar("T")

COALESCE_SECONDS = 0.5
"""Not every notification is of a recording, and several of them come together."""

RECHECK_SECONDS = 10.0
RETRY_SECONDS = 2.0
AT_ONCE_SECONDS = 0.05
MOST_OBJECTS = 200
"""So many objects are made and so many deleted at a time; the rest follows at once."""

_REQUESTS_AT_A_TIME = 16

_log = structlog.stdlib.get_logger(__name__)


class RecordingReconciler:
    """Looks at all recordings of a namespace that are in work, or have or should have a BBBRecording."""

    def __init__(
        self,
        *,
        kube: Kube,
        store: Store,
        database: Database,
        writer: StatusWriter,
        events: Teller,
        missed: Collection[str] = (),
    ) -> None:
        """Take the parts; nothing is done in a namespace before `begin` was called for it.

        Args:
            kube: Where the objects are made and deleted.
            store: The live objects.
            database: Where the recordings are.
            writer: Writes a status when it is due.
            events: Tells of objects that go.
            missed: The kinds, by their plurals, that were not defined at one time: what is missing of them went with
                its definition, and nobody deleted it.
        """
        self._kube = kube
        self._store = store
        self._database = database
        self._writer = writer
        self._events = events
        self._listed: set[str] = set()
        self._missed = missed
        self._begun: set[str] = set()

    def begin(self, namespace: str) -> None:
        """Note that the live objects of a namespace are all known: from now on one that is missing was deleted."""
        self._listed.add(namespace)

    async def reconcile(self, namespace: str) -> float | None:
        """Bring rows and objects of a namespace on; return after how many seconds to look again at the latest."""
        if namespace not in self._listed:
            return None
        try:
            return await self._reconcile(namespace)
        except DatabaseUnavailableError:
            return RETRY_SECONDS

    async def _reconcile(self, namespace: str) -> float:
        if RECORDING.plural in self._missed and namespace not in self._begun:
            await self._database.call(lambda connection: forget_all_objects(connection, namespace))
        self._begun.add(namespace)
        queue = self._queue(namespace)
        objects = self._objects(namespace)
        seen = await self._plan(namespace, queue, objects)
        deleted = await self._deleted(namespace, seen.recordings, objects)
        if deleted:
            objects = self._objects(namespace)
            seen = await self._plan(namespace, queue, objects, deleted)
        delays = [
            await self._create(namespace, seen.recordings, objects),
            await self._remove(seen, objects),
            await self._show(seen, objects, queue),
        ]
        return min(delays)

    def _objects(self, namespace: str) -> dict[str, Manifest]:
        """Return the live BBBRecordings by name; those that are being deleted are none any more."""
        found = self._store.in_namespace(RECORDING, namespace)
        return {key.name: manifest for key, manifest in found if not is_deleting(manifest)}

    def _queue(self, namespace: str) -> RecordQueue:
        for key, manifest in self._store.in_namespace(QUEUE, namespace):
            spec = parse_spec(BBBQueueSpec, manifest)
            if not isinstance(spec, Block) and RENDER_RECORD in spec.tasks and not is_deleting(manifest):
                return _record_queue(key.name, spec)
        return RecordQueue(None)

    async def _plan(
        self, namespace: str, queue: RecordQueue, objects: Mapping[str, Manifest], deleted: Sequence[str] = ()
    ) -> RecordingsInWork:
        wishes = {name: wish for name, manifest in objects.items() if (wish := _wish(manifest)) is not None}
        return await self._database.call(
            lambda connection: plan_renders(connection, namespace, queue=queue.name, wishes=wishes, deleted=deleted)
        )

    async def _deleted(
        self, namespace: str, recordings: Iterable[Recording], objects: Mapping[str, Manifest]
    ) -> list[str]:
        """Return the uids of the objects that people deleted, as the API server itself has it."""
        names = dict.fromkeys(objects, "")
        missing = [item for item in recordings if is_missing(item, names)][:MOST_OBJECTS]
        gone = await _at_a_time(missing, lambda recording: self._is_gone(namespace, recording))
        uids = [recording.object_uid for recording in gone if recording.object_uid is not None]
        if uids and not await self._is_defined(namespace):
            _log.warning("BBBRecordings went with their definition or namespace", namespace=namespace)
            await self._database.call(lambda connection: forget_all_objects(connection, namespace))
            return []
        for recording in gone:
            _log.info("a BBBRecording was deleted", namespace=namespace, name=recording.name)
            self._events.tell(
                object_deleted(in_work=recording.is_in_work),
                kind=RECORDING,
                manifest=_was(namespace, recording),
                occasion=f"{recording.object_uid}.deleted",
            )
        return uids

    async def _is_gone(self, namespace: str, recording: Recording) -> Recording | None:
        try:
            live = await self._kube.get(RECORDING, Key(namespace, recording.name))
        except NotFoundError:
            return recording
        self._store.observe(RECORDING, "MODIFIED", live)
        same = live["metadata"]["uid"] == recording.object_uid
        return recording if same and is_deleting(live) else None

    async def _is_defined(self, namespace: str) -> bool:
        """Whether objects go one by one only: their definition is there, and their namespace is to stay."""
        if RECORDING.plural not in await self._kube.served(RECORDING.api_version):
            return False
        live = await self._kube.get_namespace(namespace)
        return bool((live.get("status") or {}).get("phase") != "Terminating")

    async def _create(self, namespace: str, recordings: Iterable[Recording], objects: Mapping[str, Manifest]) -> float:
        """Make the objects that are missing; their uids are noted with the next look, which follows at once."""
        missing = [
            item for item in recordings if item.is_shown and item.object_uid is None and item.name not in objects
        ]
        made = await _at_a_time(missing[:MOST_OBJECTS], lambda recording: self._make(namespace, recording))
        if len(made) < min(len(missing), MOST_OBJECTS):
            return RETRY_SECONDS
        return AT_ONCE_SECONDS if missing else RECHECK_SECONDS

    async def _make(self, namespace: str, recording: Recording) -> Manifest | None:
        try:
            manifest = await self._kube.create(RECORDING, build_recording(recording, namespace))
        except ConflictError:
            # The watch is late, or the one before has not gone yet.
            try:
                manifest = await self._kube.get(RECORDING, Key(namespace, recording.name))
            except NotFoundError:
                return None
        except KubeError as error:
            _log.warning("BBBRecording not made", namespace=namespace, name=recording.name, error=str(error))
            return None
        self._store.observe(RECORDING, "ADDED", manifest)
        return None if is_deleting(manifest) else manifest

    async def _remove(self, seen: RecordingsInWork, objects: Mapping[str, Manifest]) -> float:
        """Delete the objects that have told what they had to; that is noted first, so that it cancels nothing."""
        known = {recording.name: recording for recording in seen.recordings}
        over = [item for item in objects.values() if is_to_go(known.get(item["metadata"]["name"]), item, seen.now)]
        doomed = over[:MOST_OBJECTS]
        names = {manifest["metadata"]["name"] for manifest in doomed}
        noted = [item.id for item in seen.recordings if item.name in names and item.object_uid is not None]
        if noted:
            await self._database.call(lambda connection: forget_objects(connection, noted))
        await _at_a_time(doomed, lambda manifest: self._delete(manifest, known.get(manifest["metadata"]["name"])))
        return AT_ONCE_SECONDS if len(over) > len(doomed) else RECHECK_SECONDS

    async def _delete(self, manifest: Manifest, recording: Recording | None) -> None:
        metadata = manifest["metadata"]
        if was_shown(manifest) and (recording is None or recording.state is RecordSetState.DELETING):
            occasion = f"{metadata['uid']}.deleted"
            self._events.tell(RECORDING_DELETED, kind=RECORDING, manifest=manifest, occasion=occasion)
        try:
            await self._kube.delete(RECORDING, Key(metadata["namespace"], metadata["name"]), uid=metadata["uid"])
        except (NotFoundError, ConflictError):
            return
        except KubeError as error:
            _log.warning("BBBRecording not deleted", name=metadata["name"], error=str(error))

    async def _show(self, seen: RecordingsInWork, objects: Mapping[str, Manifest], queue: RecordQueue) -> float:
        """Write the statuses that changed and are due; return after how many seconds the next is."""
        positions = queue_positions(seen.recordings, queue.priority)
        shown = [(recording, objects[recording.name]) for recording in seen.recordings if recording.name in objects]

        async def write(item: tuple[Recording, Manifest]) -> float | None:
            recording, manifest = item
            status = recording_status(
                recording, manifest, queue=queue, position=positions.get(recording.id), now=seen.now
            )
            try:
                return await self._writer.write(RECORDING, _key(manifest), status)
            except KubeError as error:
                _log.warning("status not written", name=recording.name, error=str(error))
                return RETRY_SECONDS

        return min(await _at_a_time(shown, write), default=RECHECK_SECONDS)


def _record_queue(name: str, spec: BBBQueueSpec) -> RecordQueue:
    window = spec.window
    hours = "" if window is None else f"{window.start} to {window.end} ({spec.time_zone or 'Etc/UTC'})"
    return RecordQueue(name, suspended=spec.suspend, priority=spec.priority, window=spec.opening, hours=hours)


def _key(manifest: Manifest) -> Key:
    return Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _was(namespace: str, recording: Recording) -> Manifest:
    """Return what an Event tells of a BBBRecording that is gone."""
    metadata = {"namespace": namespace, "name": recording.name, "uid": recording.object_uid, "resourceVersion": ""}
    return {"metadata": metadata}


def _wish(manifest: Manifest) -> Wish | None:
    """Return what a BBBRecording asks for, None if nobody can read it: then all stays as it is."""
    spec = parse_spec(BBBRecordingSpec, manifest)
    if isinstance(spec, Block):
        return None
    return Wish(
        uid=manifest["metadata"]["uid"],
        priority=spec.priority,
        paused=spec.paused,
        retry=spec.retry,
        cancel=spec.cancel,
    )


_I = TypeVar("_I")


async def _at_a_time(items: Sequence[_I], work: Callable[[_I], Awaitable[T | None]]) -> list[T]:
    """Do something with each item, some at a time; return what came of it, without None."""
    limit = asyncio.Semaphore(_REQUESTS_AT_A_TIME)

    async def one(item: _I) -> T | None:
        async with limit:
            return await work(item)

    results: list[Any] = await asyncio.gather(*(one(item) for item in items))
    return [result for result in results if result is not None]
