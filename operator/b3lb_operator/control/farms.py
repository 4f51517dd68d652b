"""What documents are made of: the live objects, the database, and what the operator knows of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from b3lb.db.farm_metrics import FarmMetrics
from b3lb.db.work import Work
from b3lb.views.values import Document, listing
from b3lb_operator.control.questions import UnavailableError
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.doctor.doctor import Doctor
from b3lb_operator.http import Check
from b3lb_operator.kube import Kube
from b3lb_operator.metrics import Look
from b3lb_operator.request_outcomes import RequestOutcomes
from b3lb_operator.sight import Sight
from b3lb_operator.store import Store

T = TypeVar("T")

FRESH_SECONDS = 2.0
"""How old what is shown may be before the next look, from the end of the last one; however many ask, it is one look."""

ASK_SECONDS = 8.0
"""How long a question of its own may take."""

MOST_ITEMS = 5_000
"""So many objects a list shows at most."""

WAIT_SECONDS = 4.0
"""How long an answer waits for a look; then it shows what was last seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farms:
    """The farms of some namespaces as this operator sees them.

    ``live`` and ``ready`` are what ``/livez`` and ``/readyz`` ask, ``leads`` is whether this operator works and does
    not stand by, ``settled`` whether it has seen what there is, and does not only just begin, ``loop_lag`` how late the
    event loop was (seconds). ``sight`` is shared with ``/metrics``, ``works``
    is read for documents only. ``outcomes`` says what became of requests.
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
    outcomes: RequestOutcomes
    doctor: Doctor
    settled: Callable[[], bool] = lambda: True

    @property
    def shows(self) -> bool:
        """Whether there is something to show: lists of an operator that begins would be empty."""
        return self.leads() and self.settled()

    async def look(self) -> Look | None:
        """Return what the database says of queues, nodes and tenants, at worst as last seen; None before that."""
        await _refresh(self.sight)
        return self.sight.last

    async def farm_metrics(self) -> FarmMetrics | None:
        """Return the same without the tenants."""
        look = await self.look()
        return None if look is None else look.farms

    async def work(self) -> Work | None:
        """Return the work of all queues, at worst as last seen; None before that."""
        await _refresh(self.works)
        return self.works.last

    async def present_work(self) -> Work:
        """Return the work of all queues as it is now.

        Raises:
            UnavailableError: The database does not say.
        """
        work = await self.work()
        if work is None or not self.works.up:
            raise UnavailableError(away(self.works.error))
        return work

    async def ask(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what the database answers.

        Raises:
            UnavailableError: It does not.
        """
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self.database.call(question)
        except DatabaseUnavailableError as error:
            raise UnavailableError(away(str(error))) from None
        except TimeoutError:
            raise UnavailableError(away("")) from None

    def listing(self, kind: str, items: Sequence[Document], *, sight: Sight[Any] | None = None) -> Document:
        """Return a list that was made of a look at the database, by default of that at queues, nodes and tenants."""
        of = self.sight if sight is None else sight
        return listing(kind, items, as_of=of.as_of, most=MOST_ITEMS, databaseUp=of.up)


async def _refresh(sight: Sight[Any]) -> None:
    # Counted from the end of a slow look: else each part of an answer that has several would begin one of its own.
    await sight.refresh(older_than=FRESH_SECONDS + sight.took, wait=WAIT_SECONDS)


def away(error: str) -> str:
    """Return what to say when the database does not answer; ``error`` is its reason, empty for none in time."""
    return f"the database cannot be used: {error or 'it does not answer in time'}; b3lb doctor says more"
