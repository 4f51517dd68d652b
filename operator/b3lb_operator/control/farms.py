"""What documents are made of: the live objects, the database, and what the operator knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from b3lb.db.work import Work
from b3lb_operator.control.questions import UnavailableError
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.http import Check
from b3lb_operator.kube import Kube
from b3lb_operator.metrics import Look
from b3lb_operator.sight import Sight
from b3lb_operator.store import Store

T = TypeVar("T")

FRESH_SECONDS = 2.0
"""How old what is shown may be before the next look; however many ask, there is one look in this time."""

WAIT_SECONDS = 4.0
"""How long an answer waits for a look; then it shows what was last seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farms:
    """The farms of some namespaces as this operator sees them.

    ``live`` and ``ready`` are what ``/livez`` and ``/readyz`` ask, ``leads`` is whether this operator works and does
    not stand by, ``loop_lag`` how late the event loop was (seconds). ``sight`` is shared with ``/metrics``, ``works``
    is read for documents only.
    """

    namespaces: Sequence[str]
    store: Store
    database: Database
    kube: Kube
    live: Sequence[Check]
    ready: Sequence[Check]
    leads: Callable[[], bool]
    loop_lag: Callable[[], float]
    sight: Sight[Look]
    works: Sight[Work]

    async def look(self) -> Look | None:
        """Return what the database says of queues, nodes and tenants, at worst as last seen; None before that."""
        await self.sight.refresh(older_than=FRESH_SECONDS, wait=WAIT_SECONDS)
        return self.sight.last

    async def work(self) -> Work | None:
        """Return the work of all queues, at worst as last seen; None before that."""
        await self.works.refresh(older_than=FRESH_SECONDS, wait=WAIT_SECONDS)
        return self.works.last

    async def ask(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what the database answers.

        Raises:
            UnavailableError: It does not.
        """
        try:
            return await self.database.call(question)
        except DatabaseUnavailableError as error:
            raise UnavailableError(f"the database cannot be used: {error}") from None


def as_of(look: Look | None) -> datetime | None:
    """Return when a look was, by the database's clock; None for none."""
    return None if look is None else look.farms.now
