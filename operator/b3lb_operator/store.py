"""The objects as the watches last showed them: the operator's memory of the cluster.

Nothing is decided from it that a restart would lose; it saves reading the API server at every reconciliation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from b3lb_operator.kinds import JOB, SECRET, Key, Kind, Manifest, is_newer, key_of


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after; None where it was not there."""

    kind: Kind
    key: Key
    old: Manifest | None
    new: Manifest | None


class Store:
    """Objects by kind, namespace and name; of Secrets only name and resource version, never the data, of Jobs no pod.

    Whatever way a change comes in, by a watch, a list or the answer to an own write, ``on_change`` is told once.
    """

    def __init__(self, on_change: Callable[[Change], None]) -> None:
        self._objects: dict[Kind, dict[Key, Manifest]] = defaultdict(dict)
        self._on_change = on_change

    def get(self, kind: Kind, key: Key) -> Manifest | None:
        """Return an object, or None."""
        return self._objects[kind].get(key)

    def in_namespace(self, kind: Kind, namespace: str) -> Iterator[tuple[Key, Manifest]]:
        """Iterate over a copy of the objects of a kind in a namespace, sorted by name."""
        return iter(sorted((item for item in self._objects[kind].items() if item[0].namespace == namespace), key=_key))

    def observe(self, kind: Kind, event_type: str | None, manifest: Mapping[str, object]) -> None:
        """Take in a watch event; one that is older than what is known says nothing.

        Args:
            kind: The object's kind.
            event_type: ADDED, MODIFIED, DELETED, or None for an object of a list.
            manifest: The object.
        """
        slim = _slim(kind, manifest)
        key = key_of(slim)
        known = self._objects[kind].get(key)
        if known is not None and not is_newer(_version(slim), _version(known)):
            return
        if event_type == "DELETED":
            self._remove(kind, key)
            return
        self._objects[kind][key] = slim
        self._on_change(Change(kind, key, known, slim))

    def accept(self, kind: Kind, manifest: Manifest) -> None:
        """Take in the answer to an own write, unless the object was deleted or replaced meanwhile."""
        known = self._objects[kind].get(key_of(manifest))
        if known is not None and _uid(known) == _uid(manifest):
            self.observe(kind, "MODIFIED", manifest)

    def versions(self, kind: Kind, namespace: str) -> dict[Key, str]:
        """Return the resource versions of what is known; to be taken before a list for ``relist``."""
        return {key: _version(manifest) for key, manifest in self.in_namespace(kind, namespace)}

    def relist(self, kind: Kind, listed: Iterable[Manifest], known: Mapping[Key, str]) -> None:
        """Take in a complete list of a namespace.

        A watch that had to start anew says nothing of objects that went meanwhile; the list does.

        Args:
            kind: The kind that was listed.
            listed: All objects of the namespace.
            known: What ``versions`` returned before the list was asked for: only those objects can be missing from it
                because they are gone, all others may be younger than the list.
        """
        missing = dict(known)
        for manifest in listed:
            missing.pop(key_of(manifest), None)
            self.observe(kind, None, manifest)
        for key, version in missing.items():
            stored = self._objects[kind].get(key)
            if stored is not None and _version(stored) == version:
                self._remove(kind, key)

    def _remove(self, kind: Kind, key: Key) -> None:
        known = self._objects[kind].pop(key, None)
        if known is not None:
            self._on_change(Change(kind, key, known, None))


def _key(item: tuple[Key, Manifest]) -> Key:
    return item[0]


def _uid(manifest: Manifest) -> str:
    return str(manifest["metadata"]["uid"])


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def _slim(kind: Kind, manifest: Mapping[str, object]) -> Manifest:
    """Return the object without what nobody here reads; of a Secret only what identifies it."""
    metadata = dict(manifest["metadata"])  # type: ignore[call-overload]  # a Kubernetes object always has metadata
    metadata.pop("managedFields", None)
    if kind == SECRET:
        wanted = ("namespace", "name", "uid", "resourceVersion")
        return {"metadata": {field: metadata[field] for field in wanted}}
    if kind == JOB:
        # A day of finished ones is kept: what their pods were made of would take most of the memory.
        spec: Any = manifest.get("spec") or {}
        kept = {field: spec[field] for field in ("activeDeadlineSeconds", "parallelism") if field in spec}
        return {**manifest, "metadata": metadata, "spec": kept}
    return {**manifest, "metadata": metadata}
