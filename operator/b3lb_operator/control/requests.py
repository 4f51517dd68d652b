"""``/requests/{id}``: what became of a request that was put on a BBBQueue."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from b3lb.control import REQUEST_PREFIX
from b3lb.db.run_history import find_run
from b3lb.views.values import Document
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question, UnavailableError, UnknownObjectError
from b3lb_operator.kinds import QUEUE
from b3lb_operator.request_outcomes import RequestOutcome


async def request_outcome(farms: Farms, question: Question) -> Document:
    """Return what became of a request; ten minutes later only that its run is there."""
    request_id, namespaces = question.identifier("id"), question.namespaces(farms.namespaces)
    known = farms.outcomes.get(request_id)
    if known is None or known.namespace not in namespaces:
        known = _seen(farms, namespaces, request_id) or await _enqueued(farms, namespaces, request_id)
    return {
        "kind": "Request",
        "id": str(request_id),
        "state": known.state,
        "message": known.message,
        "revoked": known.revoked,
    }


def _seen(farms: Farms, namespaces: Sequence[str], request_id: UUID) -> RequestOutcome | None:
    for namespace in namespaces:
        for key, manifest in farms.store.in_namespace(QUEUE, namespace):
            if f"{REQUEST_PREFIX}{request_id}" in (manifest["metadata"].get("annotations") or {}):
                return RequestOutcome("pending", f"BBBQueue {key.name} has it", namespace)
    return None


async def _enqueued(farms: Farms, namespaces: Sequence[str], request_id: UUID) -> RequestOutcome:
    """Return that a request of former times enqueued its run: an operator that began anew knows no more of it."""
    try:
        run = await farms.ask(lambda connection: find_run(connection, namespaces, request_id))
    except UnavailableError:
        run = None
    if run is None:
        raise UnknownObjectError(f"nothing is known of a request {request_id}: ask again if it was made just now")
    return RequestOutcome("done", f"run {run.id} is enqueued", run.namespace)
