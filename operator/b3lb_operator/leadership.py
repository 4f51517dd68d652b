"""Which of several operators works: the one that holds a Lease, and nobody for a moment, but never two that write.

A leader renews its Lease every 2 s. What it may write ends 10 s after the beginning of the last renewal that the API
server accepted, by its own monotonic clock, which also runs while the process is stopped (SIGSTOP, a frozen virtual
machine); before every write to the API server and before every commit it is asked for. Others take the Lease when they
have seen it unchanged for 10 s by their own clocks, so no clock has to be right
(https://kubernetes.io/docs/concepts/architecture/leases/). While the API server is away nobody else can take the
Lease, and the leader goes on afterwards without a restart.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from b3lb_operator.kinds import LEASE, Key, Manifest
from b3lb_operator.kube import ConflictError, Kube, KubeError, NotFoundError

LEADER_LEASE_NAME = "b3lb-operator-leader"
LEASE_SECONDS = 10
RETRY_SECONDS = 2.0
_RELEASE_SECONDS = 3.0

_log = structlog.stdlib.get_logger(__name__)


class Elector:
    """One candidate; its Lease is looked at by polling, so that a dead watch cannot mislead it."""

    def __init__(
        self, kube: Kube, *, namespace: str, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take a client that is not fenced itself, and where the Lease is."""
        self._kube = kube
        self._key = Key(namespace, LEADER_LEASE_NAME)
        # Two processes of one name are two candidates.
        self._identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self._clock = clock
        self._leads_until = -math.inf
        self._version = ""
        self._unchanged_since = clock()
        self.waiting = True
        """Whether this operator stands by."""

    def problem(self) -> str | None:
        """Return why nothing may be written now, or None; may be called from any thread."""
        return None if self._clock() < self._leads_until else "this operator does not lead (any more)"

    async def acquire(self) -> None:
        """Wait until this operator leads."""
        _log.info("waiting for the lead", lease=str(self._key))
        while self.waiting:
            self.waiting = not await self._attempt()
            await asyncio.sleep(RETRY_SECONDS if self.waiting else 0)
        _log.info("leading", lease=str(self._key))

    async def keep(self) -> None:
        """Renew until another operator leads."""
        while self._leads_until > -math.inf:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self._attempt() and await self._taken():
                self._leads_until = -math.inf
        _log.warning("another operator leads", lease=str(self._key))

    async def release(self) -> None:
        """Write nothing from now on, and let another operator lead at once."""
        led = self._leads_until > -math.inf
        self._leads_until = -math.inf
        if not led:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = await self._kube.get(LEASE, self._key)
                if lease.get("spec", {}).get("holderIdentity") == self._identity:
                    await self._write(lease, {"holderIdentity": None, "leaseDurationSeconds": 1})
        except (KubeError, TimeoutError) as error:
            _log.info("the lead was not handed over", error=str(error))

    async def _attempt(self) -> bool:
        """Take or renew the Lease; return whether the API server accepted it."""
        began = self._clock()
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                accepted = await self._take()
        except (KubeError, TimeoutError) as error:
            _log.info("the lease was not renewed", lease=str(self._key), error=str(error))
            return False
        if accepted:
            self._leads_until = began + LEASE_SECONDS
        return accepted

    async def _take(self) -> bool:
        try:
            lease = await self._kube.get(LEASE, self._key)
        except NotFoundError:
            return await self._create()
        spec = lease.get("spec") or {}
        if self._version != lease["metadata"]["resourceVersion"]:
            self._version, self._unchanged_since = lease["metadata"]["resourceVersion"], self._clock()
        holder = spec.get("holderIdentity")
        if holder == self._identity:
            return await self._write(lease, self._renewal())
        expired = self._clock() - self._unchanged_since > max(LEASE_SECONDS, spec.get("leaseDurationSeconds") or 0)
        if holder and not expired:
            return False
        return await self._write(lease, {**self._renewal(), **self._claim(spec.get("leaseTransitions") or 0)})

    async def _create(self) -> bool:
        metadata = {"namespace": self._key.namespace, "name": self._key.name}
        spec = {**self._renewal(), **self._claim(-1)}
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
        try:
            await self._kube.create(LEASE, lease)
        except ConflictError:
            return False
        return True

    async def _write(self, lease: Manifest, spec: Manifest) -> bool:
        """Change the Lease unless somebody else did meanwhile."""
        patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        try:
            await self._kube.patch(LEASE, self._key, patch)
        except ConflictError:
            return False
        return True

    async def _taken(self) -> bool:
        """Whether another operator holds the Lease, as far as can be seen."""
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                lease = await self._kube.get(LEASE, self._key)
        except (KubeError, TimeoutError):
            return False
        return (lease.get("spec") or {}).get("holderIdentity") not in {None, "", self._identity}

    def _renewal(self) -> Manifest:
        return {"leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}

    def _claim(self, transitions: int) -> Manifest:
        return {"holderIdentity": self._identity, "acquireTime": _now(), "leaseTransitions": transitions + 1}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
