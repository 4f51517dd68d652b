"""Documents over HTTP as a client gets them: a real store, real routes, and a database that answers as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from b3lb.bbb.client import NodeClient
from b3lb.control import TOKEN_HEADER
from b3lb.crypto import KeyRing
from b3lb.db.farm_metrics import FarmMetrics
from b3lb.db.run_history import TaskRun
from b3lb.db.work import Work
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.routes import add_control
from b3lb_operator.database import DatabaseUnavailableError
from b3lb_operator.doctor.doctor import Doctor, Subject
from b3lb_operator.doctor.operator import OperatorFacts
from b3lb_operator.metrics import Look
from b3lb_operator.request_outcomes import RequestOutcomes
from b3lb_operator.sight import Sight
from b3lb_operator.store import Store
from tests.unit.operator_fakes import NAMESPACE, NOW, FakeKube

RUN = UUID(int=7)
TOKEN = "a-token-of-the-tests"
Client = TestClient[web.Request, web.Application]


class Answers:
    """A database that gives one answer, or a fault."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.error = ""
        self.calls = 0

    async def call(self, _function: Any) -> Any:
        self.calls += 1
        if self.error:
            raise DatabaseUnavailableError(self.error)
        return self.answer()


class Desk:
    """What documents are made of; its parts may be changed before a question."""

    def __init__(self, *namespaces: str) -> None:
        self.store = Store(lambda _change: None)
        self.metrics = farm_metrics()
        self.work = Work()
        self.looks = Answers(lambda: Look(self.metrics))
        self.works = Answers(lambda: self.work)
        self.database = Answers(lambda: None)
        self.leads = True
        self.now = 0.0
        self.problem: str | None = None
        self.outcomes = RequestOutcomes(lambda: self.now)
        self.kube = FakeKube()
        self.sight = Sight(self.looks, lambda _: Look(self.metrics))  # type: ignore[arg-type]  # only what is here is used
        self.farms = Farms(
            namespaces=namespaces or (NAMESPACE,),
            store=self.store,
            database=self.database,  # type: ignore[arg-type]  # only what is here is used
            kube=self.kube,
            live=(lambda: None,),
            ready=(lambda: self.problem,),
            leads=lambda: self.leads,
            loop_lag=lambda: 0.25,
            sight=self.sight,
            outcomes=self.outcomes,
            works=Sight(self.works, lambda _: self.work),  # type: ignore[arg-type]  # only what is here is used
            doctor=self._doctor(namespaces or (NAMESPACE,)),
        )

    def _doctor(self, namespaces: tuple[str, ...]) -> Doctor:
        subject = Subject(
            namespaces=namespaces,
            keys=KeyRing.generate(),
            database_secret="b3lb-database",
            encryption_secret="b3lb-encryption",
        )
        return Doctor(
            subject,
            kube=self.kube,
            store=self.store,
            database=self.database,  # type: ignore[arg-type]  # only what is here is used
            client=NodeClient(),
            sight=self.sight,
            itself=OperatorFacts,
        )

    def lose_database(self) -> None:
        """Let every question to the database fail."""
        self.looks.error = self.works.error = self.database.error = "connection refused"

    @asynccontextmanager
    async def client(self, token: str | None = TOKEN) -> AsyncIterator[Client]:
        """Serve; the client sends the token."""
        app = web.Application()
        add_control(app, token=token, farms=self.farms)
        async with TestClient(TestServer(app), headers={TOKEN_HEADER: TOKEN}) as client:
            yield client

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of a document."""
        async with self.client() as client, client.get(f"/control/v1{path}") as answer:
            return answer.status, await answer.json()


def farm_metrics(**fields: Any) -> FarmMetrics:
    """Return what a look finds in an empty database."""
    empty: dict[str, Any] = {"nodes": {}, "clusters": [], "enqueued": {}, "totals": [], "ticks": [], "polls": []}
    return FarmMetrics(**{"now": NOW, **empty, **fields})


async def items(desk: Desk, path: str) -> list[dict[str, Any]]:
    """Return the objects of a whole list that was made with a database."""
    status, document = await desk.get(path)
    assert status == 200, document
    assert (document["databaseUp"], "truncated" in document) == (True, False)
    found: list[dict[str, Any]] = document["items"]
    return found


def task_run() -> TaskRun:
    """Return a run that succeeded."""
    names: dict[str, Any] = dict.fromkeys(TaskRun.__dataclass_fields__)
    values = {"id": RUN, "namespace": "farm", "state": "SUCCESS", "arguments": {}, "result": {"a": 1}}
    return TaskRun(**{**names, **values, "created_at": NOW})
