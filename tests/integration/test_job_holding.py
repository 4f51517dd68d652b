"""Work that takes longer than a lease may last."""

import asyncio
import time

import pytest
import sqlalchemy as sa

from b3lb.db.leases import Lease, acquire, fence
from b3lb_jobs import holding
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError
from b3lb_jobs.holding import Holding

pytestmark = pytest.mark.integration


@pytest.fixture
def held(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Holding:
    """A lease that would expire after half a second, and is renewed every tenth."""
    monkeypatch.setattr(holding, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(holding, "LONGEST_LEASE_SECONDS", 0.5)
    database = Database(database_url, application_name="test", monotonic=time.monotonic)
    with database.transaction() as connection:
        lease = acquire(connection, "sweep/default", holder="me", ttl_seconds=0.5)
    assert lease is not None
    return Holding(database, lease)


def taken(engine: sa.Engine) -> Lease | None:
    with engine.begin() as connection:
        return acquire(connection, "sweep/default", holder="another", ttl_seconds=60)


async def test_a_lease_lasts_as_long_as_the_work(held: Holding, engine: sa.Engine) -> None:
    async def work() -> str:
        await asyncio.sleep(1.2)
        return "done"

    assert await held.during(work()) == "done"
    assert taken(engine) is None
    with held.database.transaction() as connection:
        fence(connection, held.lease)
    held.database.close()


async def test_work_whose_lease_was_taken_is_cancelled(held: Holding, engine: sa.Engine) -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE leases SET holder = 'another', expires_at = now() + interval '60 s'"))
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TransientError, match="taken away"):
        await held.during(work())
    assert cancelled.is_set()
    held.database.close()


async def test_what_the_work_raises_comes_out(held: Holding) -> None:
    async def work() -> None:
        raise TransientError("storage: no answer")

    with pytest.raises(TransientError, match="no answer"):
        await held.during(work())
    held.database.close()


async def test_a_run_that_is_stopped_stops_its_work(held: Holding) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(5)
        finally:
            ended.set()

    run = asyncio.create_task(held.during(work()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended.is_set()
    held.database.close()
