"""Deletes all BBBNodes, for an uninstallation that takes their definition away.

The operator lets go of nodes that are to be deleted by force. Where it does not run (any more), nobody would take the
finalizer away, and the definition's deletion would wait for ever: then it is taken away here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from b3lb_operator.kinds import NODE, Key, key_of
from b3lb_operator.kube import Kube, NotFoundError
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
