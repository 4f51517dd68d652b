"""The task deliver-callbacks: from the outbox to a front end and back."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer

from b3lb.callbacks.delivery import CallbackClient
from b3lb.callbacks.outbox import CallbackState, Delivery
from b3lb.crypto import KeyRing
from b3lb.db.callbacks import NewCallback, enqueue_callback, read_callbacks
from b3lb.db.engine import transaction
from b3lb_jobs.database import Database
from b3lb_jobs.interface import Findings, TaskContext
from b3lb_jobs.record.publish import announce
from b3lb_jobs.statistics.deliver_callbacks import DeliverCallbacks
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


class FrontEnd:
    """A receiver that answers with ``status`` and notes what it was told, if the signature is right."""

    def __init__(self, secret: str) -> None:
        self.status = 200
        self.told: list[dict[str, Any]] = []
        self._secret = secret
        app = web.Application()
        app.router.add_post("/ready", self._ready)
        self.server = TestServer(app)

    async def _ready(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.told.append(jwt.decode(str(form["signed_parameters"]), self._secret, algorithms=["HS256"]))
        return web.Response(status=self.status)


@pytest.fixture
async def front_end() -> AsyncIterator[FrontEnd]:
    found = FrontEnd("secret of uni-001, which is long enough for HS256")
    async with found.server:
        yield found


@pytest.fixture
def stage(farm: Farm, front_end: FrontEnd) -> Recordings:
    made = Recordings(farm)
    long_enough = farm.api_secret(sub_id=1, secret=front_end._secret)
    farm.fill_tenants([farm.tenant()], [long_enough, farm.api_secret(sub_id=2)])
    return made


def tell(engine: sa.Engine, stage: Recordings, front_end: FrontEnd, *record_ids: str) -> None:
    url = str(front_end.server.make_url("/ready"))
    with engine.begin() as connection:
        for record_id in record_ids:
            new = NewCallback(record_id, "room", stage.secrets["uni-001"], url)
            enqueue_callback(connection, "default", new)


async def deliver(farm: Farm, *, keys: KeyRing | None = None, dry_run: bool = False) -> Findings:
    """Let the task work and write, as a run of the queue does."""
    context = TaskContext("default", keys or farm.keys, tick_seconds=15, max_in_flight=100, dry_run=dry_run)
    async with DeliverCallbacks(context, client=CallbackClient(allow_local=True), chance=lambda: 0) as task:
        with transaction(farm.engine, timeout_seconds=10) as connection:
            loaded = task.load(connection, datetime.now(UTC))
        findings = await task.work(loaded, at=datetime.now(UTC), seconds=20)
        with transaction(farm.engine, timeout_seconds=10) as connection:
            if findings.write is not None:
                findings.write(connection)
    return findings


def outbox(farm: Farm) -> dict[str, Delivery]:
    with farm.engine.connect() as connection:
        return {item.record_id: item.delivery for item in read_callbacks(connection, "default")}


async def test_a_front_end_is_told_once_with_its_own_secret(farm: Farm, stage: Recordings, front_end: FrontEnd) -> None:
    tell(farm.engine, stage, front_end, "r-1", "r-2")
    findings = await deliver(farm)
    assert findings.summary == {"due": 2, "delivered": 2, "given_up": 0, "to_be_repeated": 0}
    assert sorted(told["record_id"] for told in front_end.told) == ["r-1", "r-2"]
    assert {told["meeting_id"] for told in front_end.told} == {"room"}
    assert {item.state for item in outbox(farm).values()} == {CallbackState.DELIVERED}
    assert (await deliver(farm)).summary["due"] == 0
    assert len(front_end.told) == 2


async def test_whoever_publishes_tells_the_front_end_at_once_and_only_of_that_recording(
    farm: Farm, stage: Recordings, front_end: FrontEnd, database_url: str
) -> None:
    tell(farm.engine, stage, front_end, "r-1", "r-2")
    database = Database(database_url, application_name="test", monotonic=time.monotonic)

    def tell_now(record_id: str) -> int:
        client = CallbackClient(allow_local=True)
        return announce(database, namespace="default", record_id=record_id, keys=farm.keys, client=client)

    assert await asyncio.to_thread(tell_now, "r-2") == 1
    assert await asyncio.to_thread(tell_now, "r-2") == 0
    assert [told["record_id"] for told in front_end.told] == ["r-2"]
    states = {record_id: item.state for record_id, item in outbox(farm).items()}
    assert states == {"r-1": CallbackState.PENDING, "r-2": CallbackState.DELIVERED}
    front_end.status = 503
    assert await asyncio.to_thread(tell_now, "r-1") == 1
    assert (outbox(farm)["r-1"].state, outbox(farm)["r-1"].attempts) == (CallbackState.PENDING, 1)
    database.close()


async def test_a_front_end_that_is_away_is_told_again_later(farm: Farm, stage: Recordings, front_end: FrontEnd) -> None:
    tell(farm.engine, stage, front_end, "r-1")
    front_end.status = 503
    findings = await deliver(farm)
    assert [(event.message, event.warning) for event in findings.events] == [
        ("callback failed; it is sent again", True)
    ]
    assert (outbox(farm)["r-1"].state, outbox(farm)["r-1"].status_code) == (CallbackState.PENDING, 503)
    assert (await deliver(farm)).summary["due"] == 0
    farm.run("UPDATE callbacks SET next_attempt_at = now()")
    front_end.status = 204
    await deliver(farm)
    delivered = outbox(farm)["r-1"]
    assert (delivered.state, delivered.attempts, delivered.reason) == (CallbackState.DELIVERED, 2, None)


@pytest.mark.parametrize("status", [401, 410])
async def test_a_front_end_that_wants_no_more_of_it_is_not_told_again(
    farm: Farm, stage: Recordings, front_end: FrontEnd, status: int
) -> None:
    tell(farm.engine, stage, front_end, "r-1")
    front_end.status = status
    await deliver(farm)
    assert (outbox(farm)["r-1"].state, outbox(farm)["r-1"].reason) == (CallbackState.FAILED, "RefusedByReceiver")


async def test_without_the_key_nothing_is_sent_and_the_reason_is_shown(
    farm: Farm, stage: Recordings, front_end: FrontEnd
) -> None:
    tell(farm.engine, stage, front_end, "r-1")
    await deliver(farm, keys=KeyRing.generate())
    assert front_end.told == []
    assert (outbox(farm)["r-1"].state, outbox(farm)["r-1"].reason) == (CallbackState.PENDING, "SecretNotFound")


async def test_a_dry_run_tells_nobody(farm: Farm, stage: Recordings, front_end: FrontEnd) -> None:
    tell(farm.engine, stage, front_end, "r-1")
    findings = await deliver(farm, dry_run=True)
    assert [change["object"] for change in findings.changes] == ["callback/r-1"]
    assert (front_end.told, outbox(farm)["r-1"].attempts) == ([], 0)


async def test_what_cannot_be_sent_in_time_is_not_an_attempt(
    farm: Farm, stage: Recordings, front_end: FrontEnd
) -> None:
    tell(farm.engine, stage, front_end, "r-1")
    context = TaskContext("default", farm.keys, tick_seconds=15, max_in_flight=100)
    async with DeliverCallbacks(context, client=CallbackClient(allow_local=True)) as task:
        with farm.engine.connect() as connection:
            loaded = task.load(connection, datetime.now(UTC))
        findings = await task.work(loaded, at=datetime.now(UTC), seconds=5)
    assert findings.write is None
    assert front_end.told == []
