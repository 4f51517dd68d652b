"""Requests by annotation: done once, told of, and taken away from the BBBQueue.

The row comes first and the annotation goes last, so that an operator that dies in between does it again: the request's
UUID is the run's ID, and what is revoked stays revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
import structlog

from b3lb.db.run_history import read_run
from b3lb.db.task_queue import InvalidRunError, enqueue, purge, revoke
from b3lb.db.task_runs import TaskState
from b3lb.db.workflows import enqueue_workflow
from b3lb_operator.database import Database, DatabaseUnavailableError, RowRefusedError
from b3lb_operator.events import WARNING, EventRecorder, Happening
from b3lb_operator.kinds import QUEUE, Key, Manifest, is_deleting
from b3lb_operator.kube import ConflictError, Kube, NotFoundError
from b3lb_operator.manifests.requests import (
    Action,
    PurgeRequest,
    QueueRequest,
    RevokeRequest,
    RunRequest,
    WorkflowRequest,
    read_requests,
)
from b3lb_operator.request_outcomes import RequestOutcome, RequestOutcomes
from b3lb_operator.store import Store

REQUEST_REFUSED = "RequestRefused"
RETRY_SECONDS = 2.0
_BY_HAND = "by hand"

_log = structlog.stdlib.get_logger(__name__)


class RequestReconciler:
    """Does what the annotations of BBBQueues ask for."""

    def __init__(
        self, *, kube: Kube, store: Store, database: Database, events: EventRecorder, outcomes: RequestOutcomes
    ) -> None:
        """Take the parts; what becomes of each request is noted in ``outcomes``."""
        self._kube = kube
        self._store = store
        self._database = database
        self._events = events
        self._outcomes = outcomes

    async def reconcile(self, key: Key) -> float | None:
        """Do what a queue's requests ask for; return after how many seconds to try again what is left."""
        manifest = self._store.get(QUEUE, key)
        if manifest is None or is_deleting(manifest):
            return None
        requests = read_requests(manifest)
        done = [request.annotation for request in requests if await self._settle(manifest, request)]
        if done:
            await self._take_away(manifest, dict.fromkeys(done))
        return RETRY_SECONDS if len(done) < len(requests) else None

    async def _settle(self, manifest: Manifest, request: QueueRequest) -> bool:
        """Do one request unless that happened already; return whether it is over."""
        if request.id is not None:
            known = self._outcomes.get(request.id)
            if known is not None and known.state != "pending":
                return True
        outcome = await self._outcome(manifest, request)
        if request.id is not None:
            self._outcomes.note(request.id, outcome)
        name = manifest["metadata"]["name"]
        if outcome.state == "refused":
            happening = Happening("Request", WARNING, REQUEST_REFUSED, f"{request.annotation}: {outcome.message}")
            occasion = "" if request.id is None else str(request.id)
            self._events.tell(happening, kind=QUEUE, manifest=manifest, occasion=occasion)
        if outcome.state != "pending":
            _log.info("request", queue=name, request=str(request.id), state=outcome.state, message=outcome.message)
        return outcome.state != "pending"

    async def _outcome(self, manifest: Manifest, request: QueueRequest) -> RequestOutcome:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        request_id, action = request.id, request.action
        if request_id is None or action is None:
            return RequestOutcome("refused", request.refusal, namespace)
        try:
            return await self._database.call(
                lambda connection: fulfil(connection, Key(namespace, name), request_id, action)
            )
        except RowRefusedError as error:
            return RequestOutcome("refused", f"the database refuses it: {error}", namespace)
        except DatabaseUnavailableError as error:
            return RequestOutcome("pending", f"it waits, for the database cannot be used: {error}", namespace)

    async def _take_away(self, manifest: Manifest, annotations: Mapping[str, None]) -> None:
        metadata = manifest["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        # With the uid, another queue that took its name meanwhile is not touched.
        patch = {"metadata": {"uid": metadata["uid"], "annotations": dict(annotations)}}
        try:
            answer = await self._kube.patch(QUEUE, key, patch)
        except (NotFoundError, ConflictError):
            # The queue went or was replaced; the watch will tell.
            return
        self._store.accept(QUEUE, answer)


def fulfil(connection: sa.Connection, queue: Key, request_id: UUID, action: Action) -> RequestOutcome:
    """Do what a request to a BBBQueue asks for, within a transaction; harmless to repeat."""
    match action:
        case RunRequest():
            return _enqueue(connection, queue, request_id, action)
        case WorkflowRequest():
            return _enqueue_workflow(connection, queue, request_id, action)
        case RevokeRequest():
            return _revoke(connection, queue, action.run_id)
        case PurgeRequest():
            count = purge(connection, queue.namespace, queue.name, why=f"purged {_BY_HAND}")
            message = f"{count} waiting run{'' if count == 1 else 's'} revoked"
            return RequestOutcome("done", message, queue.namespace, revoked=count)


def _enqueue(connection: sa.Connection, queue: Key, request_id: UUID, wanted: RunRequest) -> RequestOutcome:
    try:
        enqueue(
            connection,
            namespace=queue.namespace,
            queue=queue.name,
            task=wanted.task,
            arguments=wanted.arguments,
            priority=wanted.priority,
            run_id=request_id,
        )
    except InvalidRunError as error:
        return RequestOutcome("refused", str(error), queue.namespace)
    run = read_run(connection, queue.namespace, request_id)
    if run is None or (run.queue, run.task) != (queue.name, wanted.task):
        return RequestOutcome("refused", "there is another run of that ID: choose a new UUID", queue.namespace)
    return RequestOutcome("done", f"run {run.id} is enqueued", queue.namespace)


def _enqueue_workflow(
    connection: sa.Connection, queue: Key, request_id: UUID, wanted: WorkflowRequest
) -> RequestOutcome:
    definition = wanted.definition
    run = read_run(connection, queue.namespace, request_id)
    try:
        if run is None:
            enqueue_workflow(
                connection,
                namespace=queue.namespace,
                workflow=definition,
                queues=[queue.name] * len(definition.steps),
                priority=wanted.priority,
                run_id=request_id,
            )
    except InvalidRunError as error:
        return RequestOutcome("refused", str(error), queue.namespace)
    if run is not None and (run.queue, run.workflow) != (queue.name, definition.kind):
        return RequestOutcome("refused", "there is another run of that ID: choose a new UUID", queue.namespace)
    return RequestOutcome("done", f"{definition.kind} {request_id} is enqueued", queue.namespace)


def _revoke(connection: sa.Connection, queue: Key, run_id: UUID) -> RequestOutcome:
    run = read_run(connection, queue.namespace, run_id)
    if run is None:
        return RequestOutcome("refused", f"there is no run {run_id}", queue.namespace)
    if run.queue != queue.name:
        message = f"run {run.id} is BBBQueue {run.queue}'s: put the request there"
        return RequestOutcome("refused", message, queue.namespace)
    if revoke(connection, queue.namespace, run.id, why=f"revoked {_BY_HAND}") or run.state == TaskState.REVOKED:
        return RequestOutcome("done", f"run {run.id} is revoked", queue.namespace, revoked=1)
    problem = f"it is over: {run.state}" if run.by_request else "it was not enqueued: a schedule started it"
    return RequestOutcome("refused", f"run {run.id} cannot be revoked: {problem}", queue.namespace)
