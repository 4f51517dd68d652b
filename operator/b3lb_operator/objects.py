"""Applies the custom resources that ConfigMaps bring along: what an installation declares beside the operator.

A chart cannot make objects of a kind that its own definitions bring: the API server does not know it yet. So each
stands in a ConfigMap, and the operator applies it, owned by that ConfigMap: it goes when the ConfigMap goes. Only the
fields that stand there are set. One that somebody else changed is left to them, and so is an object that somebody else
made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import structlog

from b3lb_operator.kinds import CLUSTER, CONFIG_MAP, QUEUE, Key, Kind, Manifest
from b3lb_operator.kube import Kube, KubeError, NotFoundError

DATA_KEY = "object.json"
FIELD_MANAGER = "b3lb-objects"
REPEAT_SECONDS = 60.0
RETRY_SECONDS = 5.0
_KINDS = {kind.name: kind for kind in (CLUSTER, QUEUE)}

_log = structlog.stdlib.get_logger(__name__)


class InvalidObjectError(ValueError):
    """A ConfigMap does not hold a custom resource that may stand there."""


class ObjectApplier:
    """Makes the declared objects exist in every namespace, again and again."""

    def __init__(self, kube: Kube, *, namespaces: Sequence[str], names: Sequence[str]) -> None:
        """Take the namespaces and the names of the ConfigMaps, which are the same in each."""
        self._kube = kube
        self._keys = [Key(namespace, name) for namespace in namespaces for name in names]
        self._told: dict[Key, str] = {}

    async def run(self) -> None:
        """Apply until cancelled."""
        while True:
            done = [await self.apply(key) for key in self._keys]
            await asyncio.sleep(REPEAT_SECONDS if all(done) else RETRY_SECONDS)

    async def apply(self, key: Key) -> bool:
        """Apply the object of one ConfigMap; return False, and say why once, when that is not possible now."""
        try:
            config_map = await self._kube.get(CONFIG_MAP, key)
            kind, manifest = declared_object(config_map)
            await self._apply(kind, manifest, key.name)
            problem = ""
        except (KubeError, InvalidObjectError) as error:
            problem = str(error)
        if problem != self._told.get(key, ""):
            if problem:
                _log.warning("a declared object is not as declared", config_map=str(key), problem=problem)
            self._told[key] = problem
        return not problem

    async def _apply(self, kind: Kind, manifest: Manifest, config_map: str) -> None:
        metadata = manifest["metadata"]
        try:
            live = await self._kube.get(kind, Key(metadata["namespace"], metadata["name"]))
        except NotFoundError:
            live = None
        if live is None or _is_ours(live, config_map):
            await self._kube.apply(kind, manifest, manager=FIELD_MANAGER, force=False)


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
        names = " or ".join(_KINDS)
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
