"""Whether the process still does its work: its event loop turns, and its watches still show what happens.

A Lease is renewed every 15 s and has to come back through the watch within 60 s. The time is counted only over an
unbroken series of renewals that the API server accepted: while the API server itself is away renewals fail, the watch
rightly shows nothing, and a restart would not help, so the process counts as alive; the clock starts anew with the
first renewal that succeeds again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from b3lb_operator.kinds import LEASE, Key, Manifest
from b3lb_operator.kube import ConflictError, Kube, KubeError, NotFoundError

LEASE_NAME = "b3lb-operator"
RENEW_SECONDS = 15.0
SEEN_WITHIN_SECONDS = 60.0
LONGEST_LAG_SECONDS = 5.0
_BEAT_SECONDS = 0.5
_REMEMBERED_BEATS = 120

_log = structlog.stdlib.get_logger(__name__)


class WatchMonitor:
    """Compares the renewals that the API server accepted with those that the watch showed; times in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unseen_since: float | None = None
        self._last_accepted = ""
        self._last_seen = ""

    def accepted(self, renew_time: str) -> None:
        """The API server accepted a renewal; renew times grow."""
        self._last_accepted = renew_time
        if self._last_seen < renew_time and self._unseen_since is None:
            self._unseen_since = self._clock()

    def failed(self) -> None:
        """A renewal failed: nothing can be said about the watch until one succeeds again."""
        self._unseen_since = None

    def seen(self, renew_time: str) -> None:
        """The watch showed a renewal."""
        self._last_seen = max(self._last_seen, renew_time)
        self._unseen_since = self._clock() if self._last_seen < self._last_accepted else None

    def problem(self) -> str | None:
        """Return what is wrong, or None."""
        if self._unseen_since is None:
            return None
        age = self._clock() - self._unseen_since
        if age <= SEEN_WITHIN_SECONDS:
            return None
        return f"the watch has not shown the lease's renewals for {age:.0f} s although the API server accepts them"


class LoopMonitor:
    """Measures how late the event loop runs what is due."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Nothing is due as long as nothing beats, as in an operator that stands by.
        self._due = math.inf
        self._lags: deque[float] = deque(maxlen=_REMEMBERED_BEATS)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._due = self._clock() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._lags.append(max(0.0, self._clock() - self._due))

    def longest_lag(self) -> float:
        """Return how late the loop was at the worst of the last minute, in seconds."""
        return max([*self._lags, self._clock() - self._due, 0.0])

    def problem(self) -> str | None:
        """Return what is wrong, or None."""
        lag = self._clock() - self._due
        return None if lag < LONGEST_LAG_SECONDS else f"the event loop is {lag:.1f} s late"


class LeaseRenewer:
    """Renews the operator's Lease; nobody is excluded by it, its only use is to be seen again."""

    def __init__(self, kube: Kube, monitor: WatchMonitor, *, namespace: str, identity: str) -> None:
        self._kube = kube
        self._monitor = monitor
        self._key = Key(namespace, LEASE_NAME)
        self._identity = identity
        self._warned = False

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        """Renew once; a failure is noted, logged at its first time and not raised."""
        renew_time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": 60, "renewTime": renew_time}
        try:
            await self._write(spec)
        except KubeError as error:
            self._monitor.failed()
            if not self._warned:
                _log.warning("lease not renewed", lease=str(self._key), error=str(error))
            self._warned = True
        else:
            self._monitor.accepted(renew_time)
            self._warned = False

    async def _write(self, spec: Manifest) -> None:
        try:
            await self._kube.patch(LEASE, self._key, {"spec": spec})
        except NotFoundError:
            metadata = {"namespace": self._key.namespace, "name": self._key.name}
            lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
            try:
                await self._kube.create(LEASE, lease)
            except ConflictError:
                await self._kube.patch(LEASE, self._key, {"spec": spec})
