"""Applies the custom resources that ConfigMaps bring along: what an installation declares beside the operator.

A chart cannot make objects of a kind that its own definitions bring: the API server does not know it yet. So each
stands in a ConfigMap, and the operator applies it, owned by that ConfigMap: it goes when the ConfigMap goes. Only the
fields that stand there are set. A field that somebody else changed stays theirs, and an object that somebody else made
is left alone; an Event says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from b3lb_operator.events import WARNING, EventRecorder, Happening
from b3lb_operator.kinds import CLUSTER, CONFIG_MAP, QUEUE, RECORD_PROFILE, Key, Kind, Manifest, is_deleting
from b3lb_operator.kube import ConflictError, Kube, KubeError, NotFoundError

DATA_KEY = "object.json"
FIELD_MANAGER = "b3lb-objects"
REPEAT_SECONDS = 60.0
RETRY_SECONDS = 5.0
PAUSE_SECONDS = 1.0
"""Shortest time between two rounds, however often somebody deletes a declared object."""

FOREIGN_OBJECT = "ForeignObject"
FIELD_CONFLICT = "FieldConflict"
_DECLARED = "Declared"
_KINDS = {kind.name: kind for kind in (CLUSTER, QUEUE, RECORD_PROFILE)}

_log = structlog.stdlib.get_logger(__name__)


class InvalidObjectError(ValueError):
    """A ConfigMap does not hold a custom resource that may stand there."""


class ObjectApplier:
    """Makes the declared objects exist in every namespace, again and again."""

    def __init__(self, kube: Kube, events: EventRecorder, *, namespaces: Sequence[str], names: Sequence[str]) -> None:
        """Take the namespaces and the names of the ConfigMaps, which are the same in each."""
        self._kube = kube
        self._events = events
        self._keys = [Key(namespace, name) for namespace in namespaces for name in names]
        self._told: dict[Key, str] = {}
        self._settled: dict[Key, _Settled] = {}
        self._wake = asyncio.Event()

    def request(self) -> None:
        """Look at all objects soon: one of them may be gone."""
        self._wake.set()

    async def run(self) -> None:
        """Apply until cancelled."""
        while True:
            self._wake.clear()
            done = [await self.apply(key) for key in self._keys]
            await asyncio.sleep(PAUSE_SECONDS)
            await self._wait((REPEAT_SECONDS if all(done) else RETRY_SECONDS) - PAUSE_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def apply(self, key: Key) -> bool:
        """Apply the object of one ConfigMap; return False when that is not possible now.

        An object that is not as declared is told once. Nothing is written while neither side changed.
        """
        problem, left_alone = "", None
        try:
            kind, manifest = declared_object(await self._kube.get(CONFIG_MAP, key))
            left_alone = await self._follow(key, kind, manifest)
        except (KubeError, InvalidObjectError) as error:
            problem = str(error)
        text = left_alone.happening.note if left_alone else problem
        if text and text != self._told.get(key):
            _log.warning("a declared object is not as declared", config_map=str(key), problem=text)
            if left_alone:
                self._tell(left_alone)
        self._told[key] = text
        return not problem

    async def _follow(self, key: Key, kind: Kind, manifest: Manifest) -> _LeftAlone | None:
        """Make an object as declared where it is not known to be, and return what of it is left alone."""
        metadata = manifest["metadata"]
        try:
            live = await self._kube.get(kind, Key(metadata["namespace"], metadata["name"]))
        except NotFoundError:
            live = None
        if live is not None and not _is_ours(live, key.name):
            return _LeftAlone(kind, live, Happening(_DECLARED, WARNING, FOREIGN_OBJECT, _foreign(kind, key.name)))
        settled = self._settled.get(key)
        if live is not None and settled is not None and settled.holds(manifest, live):
            return settled.left_alone
        answer, left_alone = await self._apply(kind, manifest, live=live, config_map=key.name)
        if is_deleting(answer):
            self._settled.pop(key, None)
        else:
            self._settled[key] = _Settled(manifest, answer, left_alone)
        return left_alone

    async def _apply(
        self, kind: Kind, manifest: Manifest, *, live: Manifest | None, config_map: str
    ) -> tuple[Manifest, _LeftAlone | None]:
        """Apply an object without the fields that somebody else changed; return it, and what of it is left alone."""
        try:
            return await self._kube.apply(kind, manifest, manager=FIELD_MANAGER, force=False), None
        except ConflictError as error:
            if live is None or not error.fields:
                raise
            note = _changed(config_map, error)
            rest = without_fields(manifest, error.fields)
        answer = await self._kube.apply(kind, rest, manager=FIELD_MANAGER, force=False)
        return answer, _LeftAlone(kind, live, Happening(_DECLARED, WARNING, FIELD_CONFLICT, note))

    def _tell(self, left_alone: _LeftAlone) -> None:
        happening, metadata = left_alone.happening, left_alone.manifest["metadata"]
        # The same after a restart of the operator, and whatever else changes in the object.
        seed = f"{metadata['uid']} {happening.reason} {happening.note}"
        occasion = hashlib.sha256(seed.encode()).hexdigest()[:16]
        self._events.tell(happening, kind=left_alone.kind, manifest=left_alone.manifest, occasion=occasion)


@dataclass(frozen=True, slots=True)
class _LeftAlone:
    """A live object that is not as declared, and why."""

    kind: Kind
    manifest: Manifest
    happening: Happening


@dataclass(frozen=True, slots=True)
class _Settled:
    """What was declared, the object as it was afterwards, and what of it was left alone."""

    declared: Manifest
    live: Manifest
    left_alone: _LeftAlone | None

    def holds(self, declared: Manifest, live: Manifest) -> bool:
        """Whether applying would change nothing: neither what is declared nor spec, labels and owners are others."""
        old, new = self.live["metadata"], live["metadata"]
        return (
            declared == self.declared
            and (old["uid"], old["generation"]) == (new["uid"], new["generation"])
            and all(old.get(field) == new.get(field) for field in ("labels", "ownerReferences"))
        )


def _foreign(kind: Kind, config_map: str) -> str:
    return (
        f"somebody else made this {kind.name}, so nothing of what ConfigMap {config_map} declares is applied; "
        "delete it to get the declared one, or turn that one off in the installation's values"
    )


def _changed(config_map: str, error: ConflictError) -> str:
    return (
        f"somebody else changed fields that ConfigMap {config_map} declares: they stay as they are, all others are "
        f"applied; set them as declared, or take them out of the installation's values: {error}"
    )


def without_fields(declared: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return an object without the fields of these paths; of a list that is meant in part, nothing is left.

    Args:
        declared: The object.
        paths: As in a conflict of server-side apply, e.g. ``.spec.tickSeconds`` or ``.metadata.labels.b3lb.io/x``. The
            dots of a name are not told from those between names, so the names that are there decide.
    """
    rest: dict[str, Any] = {}
    for name, value in declared.items():
        inner = [path.removeprefix(f".{name}") for path in paths if path.startswith(f".{name}")]
        if any(path == "" or path.startswith("[") for path in inner):
            continue
        below = [path for path in inner if path.startswith(".")]
        rest[name] = without_fields(value, below) if below and isinstance(value, Mapping) else value
    return rest


def declared_object(config_map: Manifest) -> tuple[Kind, Manifest]:
    """Return kind and manifest of the object in a ConfigMap, in the ConfigMap's namespace and owned by it.

    Raises:
        InvalidObjectError: There is none, or one of a kind that may not stand there.
    """
    metadata = config_map["metadata"]
    try:
        declared = json.loads((config_map.get("data") or {}).get(DATA_KEY, ""))
        kind = _KINDS[declared["kind"]]
        name, labels = declared["metadata"]["name"], declared["metadata"].get("labels", {})
        spec = declared.get("spec", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        *others, last = _KINDS
        names = f"{', '.join(others)} or {last}"
        raise InvalidObjectError(f"its key {DATA_KEY} has to hold a {names} as JSON") from None
    owner = {"apiVersion": "v1", "kind": CONFIG_MAP.name, "name": metadata["name"], "uid": metadata["uid"]}
    return kind, {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": name,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def _is_ours(live: Manifest, config_map: str) -> bool:
    owners = live["metadata"].get("ownerReferences", ())
    return any((owner.get("kind"), owner.get("name")) == (CONFIG_MAP.name, config_map) for owner in owners)
