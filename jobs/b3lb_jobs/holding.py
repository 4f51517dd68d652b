"""Work that takes longer than a lease may last: the lease is renewed meanwhile, so a dead holder never blocks long."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from b3lb.db.leases import LONGEST_LEASE_SECONDS, Lease, acquire
from b3lb.logs import get_logger
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError

RENEW_SECONDS = 40.0
"""So often a lease is renewed: two renewals may fail before it expires."""

Result = TypeVar("Result")
_log = get_logger(__name__)


@dataclass(slots=True)
class Holding:
    """A lease as it was renewed last."""

    database: Database
    lease: Lease

    async def during(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await ``work`` while the lease is held.

        Raises:
            TransientError: Somebody else took the lease; the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=RENEW_SECONDS))[0]:
                self._renew()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _renew(self) -> None:
        name, holder = self.lease.name, self.lease.holder
        try:
            with self.database.transaction() as connection:
                renewed = acquire(connection, name, holder=holder, ttl_seconds=LONGEST_LEASE_SECONDS)
        except TransientError as error:
            _log.warning("lease not renewed; it is tried again", lease=name, reason=str(error))
            return
        if renewed is None:
            raise TransientError(f"the lease {name} was taken away")
        self.lease = renewed
