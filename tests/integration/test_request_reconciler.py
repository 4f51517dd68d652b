"""Requests on real rows and a fake API server: done once, whatever fails in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.control import REQUEST_PREFIX
from b3lb.db.engine import transaction
from b3lb.db.run_history import TaskRun, read_run, read_runs
from b3lb.db.task_queue import mark_released
from b3lb.db.workflows import enqueue_workflow
from b3lb.workflows import parse_workflow
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import QUEUE
from b3lb_operator.kube import ForbiddenError
from b3lb_operator.reconcilers.requests import RETRY_SECONDS, RequestReconciler
from b3lb_operator.request_outcomes import RequestOutcomes
from b3lb_operator.store import Store
from tests.integration.enqueued_runs import put
from tests.unit.operator_fakes import NAMESPACE, FakeKube, key, manifest_of

pytestmark = pytest.mark.integration

T = TypeVar("T")


class Desk:
    """Queues `core` and `record`, a database that may be away, and what becomes of requests."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.away = False
        self.kube = FakeKube()
        self.store = Store(lambda _: None)
        for name, task in (("core", "check-nodes"), ("record", "render")):
            self.store.observe(QUEUE, None, self.kube.put(QUEUE, manifest_of(QUEUE, name, {"tasks": [task]})))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all but rows and objects, as an operator that was restarted."""
        self.outcomes = RequestOutcomes(lambda: 0.0)
        self.events = EventRecorder(self.kube, instance="test")
        self.reconciler = RequestReconciler(
            kube=self.kube,
            store=self.store,
            database=cast("Database", self),
            events=self.events,
            outcomes=self.outcomes,
        )

    async def call(self, function: Callable[[sa.Connection], T]) -> T:
        if self.away:
            raise DatabaseUnavailableError("away")
        with transaction(self.engine, timeout_seconds=10) as connection:
            return function(connection)

    def ask(self, content: object, queue: str = "core", request_id: UUID | None = None) -> UUID:
        """Put a request on a queue and let the watch show it."""
        chosen = request_id or uuid4()
        live = self.kube.object(QUEUE, queue)
        live["metadata"]["annotations"] = {**self.left(queue), f"{REQUEST_PREFIX}{chosen}": json.dumps(content)}
        self.store.observe(QUEUE, "MODIFIED", self.kube.put(QUEUE, live))
        return chosen

    def left(self, queue: str = "core") -> dict[str, str]:
        found: dict[str, str] = self.kube.object(QUEUE, queue)["metadata"].get("annotations", {})
        return found

    def outcome(self, request_id: UUID) -> tuple[str, str, int | None]:
        found = self.outcomes.get(request_id)
        assert found is not None
        return found.state, found.message, found.revoked

    def run(self, run_id: UUID) -> TaskRun | None:
        with self.engine.connect() as connection:
            return read_run(connection, NAMESPACE, run_id)

    def put(self, **values: Any) -> UUID:
        return put(self.engine, NAMESPACE, **{"queue": "core", "task": "check-nodes", **values})

    async def look(self, queue: str = "core") -> float | None:
        return await self.reconciler.reconcile(key(queue))


@pytest.fixture
async def desk(engine: sa.Engine) -> Desk:
    return Desk(engine)


async def test_a_run_is_enqueued_under_the_uuid_of_its_request(desk: Desk) -> None:
    request = desk.ask({"run": {"task": "check-nodes", "arguments": {"a": [1]}, "priority": 0}})
    assert await desk.look() is None
    run = desk.run(request)
    assert run is not None
    assert (run.queue, run.task, run.arguments, run.priority) == ("core", "check-nodes", {"a": [1]}, 0)
    assert desk.outcome(request) == ("done", f"run {request} is enqueued", None)
    assert desk.left() == {}


async def test_an_operator_that_died_before_it_took_the_annotation_away_does_it_again_without_harm(desk: Desk) -> None:
    request = desk.ask({"run": {"task": "check-nodes"}})
    desk.kube.failure = lambda method, _path: ForbiddenError("no") if method == "PATCH" else None
    with pytest.raises(ForbiddenError):
        await desk.look()
    desk.kube.failure = lambda _method, _path: None
    desk.begin_anew()
    await desk.look()
    assert desk.outcome(request)[0] == "done"
    assert desk.left() == {}
    with desk.engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from task_runs")).scalar_one() == 1


async def test_what_was_done_is_not_done_again_while_its_annotation_cannot_be_taken_away(desk: Desk) -> None:
    request = desk.ask({"purge": True})
    desk.kube.failure = lambda method, _path: ForbiddenError("no") if method == "PATCH" else None
    with pytest.raises(ForbiddenError):
        await desk.look()
    later = desk.put()
    with pytest.raises(ForbiddenError):
        await desk.look()
    run = desk.run(later)
    assert run is not None
    assert run.state == "PENDING"
    assert desk.outcome(request) == ("done", "0 waiting runs revoked", 0)


async def test_without_a_database_a_request_waits(desk: Desk) -> None:
    request = desk.ask({"run": {"task": "check-nodes"}})
    desk.away = True
    assert await desk.look() == RETRY_SECONDS
    assert desk.outcome(request)[0] == "pending"
    assert len(desk.left()) == 1
    desk.away = False
    assert await desk.look() is None
    assert desk.outcome(request)[0] == "done"


async def test_a_refused_request_is_told_and_taken_away_and_holds_up_no_other(desk: Desk) -> None:
    bad = desk.ask({"run": {"task": "render"}})
    good = desk.ask({"run": {"task": "check-nodes"}})
    await desk.look()
    assert desk.outcome(bad)[:2] == ("refused", "the queue does not have the task 'render'; it has check-nodes")
    assert desk.outcome(good)[0] == "done"
    assert desk.left() == {}
    event = desk.events._backlog.get_nowait()
    assert (event["type"], event["reason"], event["regarding"]["name"]) == ("Warning", "RequestRefused", "core")
    assert event["note"] == f"{REQUEST_PREFIX}{bad}: the queue does not have the task 'render'; it has check-nodes"


async def test_a_workflow_that_is_over_is_not_said_to_come_from_a_schedule(desk: Desk) -> None:
    with transaction(desk.engine, timeout_seconds=10) as connection:
        workflow = parse_workflow({"group": [{"task": "check-nodes"}]})
        group = enqueue_workflow(connection, namespace=NAMESPACE, workflow=workflow, queues=["core"])
        connection.execute(sa.text("UPDATE task_runs SET state = 'SUCCESS', finished_at = now()"))
    request = desk.ask({"revoke": str(group)})
    await desk.look()
    assert desk.outcome(request)[:2] == ("refused", f"run {group} cannot be revoked: it is over: SUCCESS")


async def test_a_run_is_revoked_on_its_own_queue_only_and_again_without_harm(desk: Desk) -> None:
    run = desk.put()
    elsewhere = desk.ask({"revoke": str(run)}, "record")
    await desk.look("record")
    assert desk.outcome(elsewhere)[:2] == ("refused", f"run {run} is BBBQueue core's: put the request there")
    for _ in range(2):
        request = desk.ask({"revoke": str(run)})
        await desk.look()
        assert desk.outcome(request) == ("done", f"run {run} is revoked", 1)
    unknown = desk.ask({"revoke": str(uuid4())})
    await desk.look()
    assert desk.outcome(unknown)[0] == "refused"


async def test_a_purge_takes_back_what_waits_in_its_queue_and_nothing_else(desk: Desk) -> None:
    waiting, at_work = desk.put(), desk.put()
    other = desk.put(queue="record", task="render")
    with transaction(desk.engine, timeout_seconds=10) as connection:
        mark_released(connection, NAMESPACE, "core", runs=[at_work], spent_until=None)
    request = desk.ask({"purge": True})
    await desk.look()
    assert desk.outcome(request) == ("done", "1 waiting run revoked", 1)
    states = [run.state for run in map(desk.run, (waiting, at_work, other)) if run is not None]
    assert states == ["REVOKED", "PENDING", "PENDING"]


async def test_the_id_of_another_run_is_refused(desk: Desk) -> None:
    taken = desk.put(queue="record", task="render")
    desk.ask({"run": {"task": "check-nodes"}}, request_id=taken)
    await desk.look()
    assert desk.outcome(taken)[:2] == ("refused", "there is another run of that ID: choose a new UUID")


async def test_runs_that_belong_together_are_enqueued_once_under_the_uuid_of_their_request(desk: Desk) -> None:
    content = {"workflow": {"definition": {"chain": [{"task": "check-nodes"}, {"task": "check-nodes"}]}, "priority": 7}}
    request_id = desk.ask(content)
    await desk.look()
    assert desk.outcome(request_id) == ("done", f"chain {request_id} is enqueued", None)
    desk.begin_anew()
    desk.ask(content, request_id=request_id)
    await desk.look()
    assert desk.outcome(request_id)[0] == "done"
    run = desk.run(request_id)
    assert run is not None
    assert (run.workflow, run.steps) == ("chain", 2)
    with desk.engine.connect() as connection:
        steps = read_runs(connection, NAMESPACE, parent=request_id)
    assert [(step.place, step.queue, step.priority, step.enqueued) for step in steps] == [
        (0, "core", 7, True),
        (1, "core", 7, False),
    ]
