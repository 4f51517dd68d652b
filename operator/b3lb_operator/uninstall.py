"""What an uninstallation does for BBBNodes, which no operator will let go any more.

Where their definition goes with the installation, they are deleted first. The operator lets go of nodes that are to be
deleted by force. Where it does not run (any more), nobody would take the finalizer away, and the definition's deletion
would wait for ever: then it is taken away here.

Where the definition stays, the nodes stay, and only the finalizer is taken away, once the operator is gone: otherwise
the deletion of a node or of its namespace would wait for ever. The operator of a new installation adds it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from b3lb_operator.kinds import NODE, Key, Manifest, key_of
from b3lb_operator.kube import Kube, KubeError, NotFoundError
from b3lb_operator.manifests.drain import FORCE_ANNOTATION
from b3lb_operator.reconcilers.node import FINALIZER

OPERATOR_SECONDS = 20.0
POLL_SECONDS = 1.0

_log = structlog.stdlib.get_logger(__name__)


async def delete_nodes(kube: Kube, namespaces: Sequence[str]) -> None:
    """Delete every BBBNode of the namespaces, running meetings or not, and wait until they are gone.

    Raises:
        KubeError: The API server is away or refuses.
    """
    uids = {}
    for namespace in namespaces:
        for manifest in await kube.list_all(NODE, namespace):
            uids[key_of(manifest)] = manifest["metadata"]["uid"]
    for key in uids:
        await _delete(kube, key)
    _log.info("nodes deleted", count=len(uids))
    if not await _gone(kube, namespaces):
        _log.warning("the operator does not let go of the nodes: doing it here")
        for key, uid in uids.items():
            await _let_go(kube, key, uid)


async def release_nodes(kube: Kube, namespaces: Sequence[str]) -> None:
    """Take the operator's finalizer from every BBBNode of the namespaces; nothing else of them changes.

    A namespace that cannot be read does not keep the others waiting.

    Raises:
        KubeError: The API server is away or refuses, for one of the namespaces at least.
    """
    errors: list[KubeError] = []
    for namespace in namespaces:
        try:
            await _release_namespace(kube, namespace)
        except NotFoundError:
            # No definition, no nodes.
            continue
        except KubeError as error:
            _log.warning("nodes not released", namespace=namespace, error=str(error))
            errors.append(error)
    if errors:
        raise errors[0]


async def _release_namespace(kube: Kube, namespace: str) -> None:
    """Look again until none has the finalizer: an operator may be about to end, and not have lost its rights yet."""
    for _ in range(round(OPERATOR_SECONDS / POLL_SECONDS)):
        held = [item for item in await kube.list_all(NODE, namespace) if FINALIZER in _finalizers(item)]
        if not held:
            return
        for manifest in held:
            await _let_go(kube, key_of(manifest), manifest["metadata"]["uid"])
        _log.info("nodes released", namespace=namespace, count=len(held))
        await asyncio.sleep(POLL_SECONDS)
    _log.warning("another operator holds the nodes again and again: left to it", namespace=namespace)


def _finalizers(manifest: Manifest) -> Sequence[str]:
    found: Sequence[str] = manifest["metadata"].get("finalizers", ())
    return found


async def _delete(kube: Kube, key: Key) -> None:
    try:
        await kube.patch(NODE, key, {"metadata": {"annotations": {FORCE_ANNOTATION: "true"}}})
        await kube.delete(NODE, key)
    except NotFoundError:
        return


async def _gone(kube: Kube, namespaces: Sequence[str]) -> bool:
    for _ in range(round(OPERATOR_SECONDS / POLL_SECONDS)):
        if not [manifest for namespace in namespaces for manifest in await kube.list_all(NODE, namespace)]:
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _let_go(kube: Kube, key: Key, uid: str) -> None:
    try:
        await kube.patch_finalizers(
            NODE, key, uid=uid, change=lambda names: [name for name in names if name != FINALIZER]
        )
    except NotFoundError:
        return
