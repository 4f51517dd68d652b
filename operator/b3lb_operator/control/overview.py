"""``/overview``: all that a page shows, in one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from b3lb.views.queues import history_items
from b3lb.views.runs import run_document
from b3lb.views.values import Document, timestamp
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.nodes import clusters, nodes
from b3lb_operator.control.ping import ping
from b3lb_operator.control.questions import Question, UnavailableError
from b3lb_operator.control.queues import queues
from b3lb_operator.control.recordings import recordings
from b3lb_operator.control.runs import active
from b3lb_operator.control.tasks import stats
from b3lb_operator.control.tenants import tenants

_PARTS: dict[str, Callable[[Farms, Question], Awaitable[Document]]] = {
    "queues": queues,
    "active": active,
    "stats": stats,
    "nodes": nodes,
    "clusters": clusters,
    "tenants": tenants,
}


async def overview(farms: Farms, question: Question) -> Document:
    """Return everything at a glance; what only the database knows is an empty list while it is away."""
    namespaces = question.namespaces(farms.namespaces)
    # Both at the same time, so that a database that hangs is waited for once; the parts find them fresh.
    await asyncio.gather(farms.look(), farms.work())
    documents = {name: await _document(document, farms, question) for name, document in _PARTS.items()}
    work, now = await farms.work(), datetime.now(UTC)
    runs = [] if work is None else [run for run in work.recent if run.namespace in namespaces]
    hours = [] if work is None else [hour for hour in work.hours if hour.namespace in namespaces]
    return {
        "kind": "Overview",
        "asOf": timestamp(farms.sight.as_of),
        "databaseUp": farms.sight.up and farms.works.up,
        "ping": await ping(farms, question),
        **({"truncated": True} if any(document.get("truncated") for document in documents.values()) else {}),
        **{name: document["items"] for name, document in documents.items()},
        "recordings": await _recordings(farms, question),
        "runs": [run_document(run) for run in runs],
        "history": history_items(hours, now=now),
    }


async def _recordings(farms: Farms, question: Question) -> list[Document]:
    """Return the newest recordings; a database that was just seen to be away is not waited for once more."""
    if not farms.sight.up:
        return []
    found: list[Document] = (await _document(recordings, farms, question))["items"]
    return found


async def _document(
    document: Callable[[Farms, Question], Awaitable[Document]], farms: Farms, question: Question
) -> Document:
    try:
        return await document(farms, question)
    except UnavailableError:
        return {"items": []}
