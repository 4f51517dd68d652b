"""``/ping``: whether this operator and its queues are up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from b3lb import __version__
from b3lb.views.values import Document, from_epoch, timestamp
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question
from b3lb_operator.http import Check
from b3lb_operator.samples import queue_samples


async def ping(farms: Farms, question: Question) -> Document:
    """Return whether operator and queues are up; the database is not asked anew for it."""
    namespaces = question.namespaces(farms.namespaces)
    dead, unready = _problems(farms.live), _problems(farms.ready)
    look = farms.sight.last
    sampled = queue_samples(farms.store, namespaces, None if look is None else look.farms, now=datetime.now(UTC))
    return {
        "kind": "Ping",
        "version": __version__,
        "live": not dead,
        "ready": not unready,
        "leads": farms.leads(),
        "databaseUp": not farms.database.error,
        "loopLagSeconds": round(farms.loop_lag(), 3),
        "namespaces": list(farms.namespaces),
        "problems": [*dead, *unready],
        "queues": [
            {
                "namespace": queue.key.namespace,
                "name": queue.key.name,
                "up": queue.sample.up,
                "lastSuccess": timestamp(from_epoch(queue.sample.last_success)),
            }
            for queue in sampled
        ],
    }


def _problems(checks: Sequence[Check]) -> list[str]:
    return [problem for check in checks if (problem := check()) is not None]
