"""Which objects name which others, so that an event of one wakes those that wait for it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from b3lb.resources.secret import generated_secret_name
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, SECRET, TENANT, Key, Kind, Manifest


class Ref(NamedTuple):
    """An object of a kind."""

    kind: Kind
    key: Key


class ReferenceIndex:
    """Referring objects by the object that they name."""

    def __init__(self) -> None:
        self._targets: dict[Ref, frozenset[Ref]] = {}
        self._referrers: defaultdict[Ref, set[Ref]] = defaultdict(set)

    def update(self, referrer: Ref, targets: frozenset[Ref]) -> None:
        """Note what ``referrer`` names now; nothing when it is gone."""
        old = self._targets.pop(referrer, frozenset())
        for target in old - targets:
            self._referrers[target].discard(referrer)
            if not self._referrers[target]:
                del self._referrers[target]
        for target in targets - old:
            self._referrers[target].add(referrer)
        if targets:
            self._targets[referrer] = targets

    def referrers(self, target: Ref) -> frozenset[Ref]:
        """Return who names ``target``."""
        return frozenset(self._referrers.get(target, ()))


def targets_of(kind: Kind, manifest: Manifest) -> frozenset[Ref]:
    """Return what an object's row depends on; whatever in it is malformed names nothing.

    That clusters of a tenant or profiles of an API secret are missing is said by the status only, which is compared
    with all objects at every look.
    """
    metadata = manifest["metadata"]
    namespace = metadata["namespace"]
    spec = manifest.get("spec")
    if kind == NODE:
        named = {
            (SECRET, _text(spec, "secretRef", "name")),
            (CLUSTER, _text(spec, "clusterRef", "name") or "default"),
        }
    elif kind == CLUSTER:
        named = {
            (SECRET, _text(spec, "tls", "caSecretRef", "name")),
            (SECRET, _text(spec, "uploadSecretRef", "name")),
        }
    elif kind == API_SECRET:
        named = {
            (SECRET, _text(spec, "secretRef", "name") or generated_secret_name(metadata["name"])),
            (TENANT, _text(spec, "tenantRef", "name")),
        }
    else:
        named = set()
    return frozenset(Ref(target, Key(namespace, name)) for target, name in named if name)


def _text(value: Any, *path: str) -> str:
    for field in path:
        value = value.get(field) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
