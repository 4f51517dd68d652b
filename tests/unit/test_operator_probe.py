"""New nodes are polled at once; nobody waits for the slowest, and what fails is left to the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import structlog.testing

from b3lb.bbb.client import NodeClient, NodeTarget, Poll
from b3lb.crypto import KeyRing
from b3lb.db.node_states import NodePoll, StateRow
from b3lb.health import GuardPolicy, GuardState, HealthPolicy, LoadReport, Observation, Reason
from b3lb.load import LoadFormula
from b3lb.meetings.model import Listing
from b3lb_operator import probe as probe_module
from b3lb_operator.probe import Prober, first_state
from tests.unit.operator_fakes import NOW, FakeDatabase, node_state

pytestmark = [pytest.mark.looptime]

KEYS = KeyRing.generate()
BEFORE = NOW - timedelta(minutes=3)


def poll_of(number: int, *, keys: KeyRing = KEYS, **fields: Any) -> NodePoll:
    sealed = keys.encrypt(f"secret-{number}", context=f"nodes/farm/n{number}")
    values: dict[str, Any] = {
        "node_id": number,
        "cluster_id": 1,
        "name": f"n{number}",
        "revision": 3,
        "api_url": "https://n/api",
        "load_url": "https://n/load",
        "secret_ciphertext": sealed.ciphertext,
        "secret_key_id": sealed.key_id,
        "algorithm": "sha256",
        "ca_certificates": None,
        "timeout_seconds": 5,
        "weight_percent": 200,
        "formula": LoadFormula(),
        "health": HealthPolicy(),
        "guard_policy": GuardPolicy(),
        "guard": GuardState(),
        "state": None,
        "load": None,
        "seen_at": None,
        "observed_at": None,
        "lost_meetings_seconds": 86400,
    }
    return NodePoll(**{**values, **fields})


def seen(reason: Reason = Reason.RESPONDING) -> Observation:
    return Observation(reason, "", meetings=2, attendees=10, load=LoadReport(None), seconds=0.1)


class FakeClient(NodeClient):
    """Answers after as many seconds as a node's number says."""

    def __init__(self) -> None:
        self.targets: list[NodeTarget] = []

    async def observe(self, target: NodeTarget, known: Mapping[str, bytes] | None = None) -> Poll:
        assert not known
        self.targets.append(target)
        await asyncio.sleep(float(target.name.removeprefix("n")))
        return Poll(seen(), Listing(()))


class Fixture:
    """A prober whose database is a list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *polls: NodePoll) -> None:
        self.client = FakeClient()
        self.stored: list[tuple[float, StateRow]] = []
        self.notified = 0
        self.database = FakeDatabase()
        self.database.call = self._call  # type: ignore[method-assign]  # the transactions are what is looked at
        monkeypatch.setattr(probe_module, "load_polls", lambda _connection, _namespace: list(polls))
        monkeypatch.setattr(probe_module, "database_clock", lambda _connection: NOW)
        monkeypatch.setattr(probe_module, "insert_first_states", self._insert)
        self.prober = Prober(database=self.database, client=self.client, keys=KEYS, on_stored=self._on_stored)

    async def _call(self, function: Callable[[Any], Any]) -> Any:
        await FakeDatabase.call(self.database, function)
        return function(None)

    def _insert(self, _connection: Any, rows: list[StateRow]) -> int:
        self.stored += [(asyncio.get_running_loop().time(), row) for row in rows]
        return len(rows)

    def _on_stored(self, _namespace: str) -> None:
        self.notified += 1


@asynccontextmanager
async def running(prober: Prober) -> AsyncIterator[None]:
    task = asyncio.create_task(prober.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_fast_node_does_not_wait_for_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, poll_of(1), poll_of(5))
    start = asyncio.get_running_loop().time()
    async with running(fixture.prober):
        fixture.prober.request("farm", [1, 5])
        await asyncio.sleep(10)
    times = {row[0]: time - start for time, row in fixture.stored}
    assert times[1] == pytest.approx(1.1, abs=0.2)
    assert times[5] == pytest.approx(5.1, abs=0.2)
    assert fixture.notified == 2


async def test_a_new_request_does_not_wait_for_the_round_before(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, poll_of(1), poll_of(5))
    async with running(fixture.prober):
        fixture.prober.request("farm", [5])
        await asyncio.sleep(1)
        fixture.prober.request("farm", [1])
        await asyncio.sleep(2)
        assert [row[0] for _, row in fixture.stored] == [1]


async def test_only_the_wanted_nodes_without_a_state_of_their_revision_are_polled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = poll_of(2, state=node_state(revision=3))
    outdated = poll_of(3, state=node_state(revision=2))
    fixture = Fixture(monkeypatch, poll_of(1), judged, outdated)
    async with running(fixture.prober):
        fixture.prober.request("farm", [2, 3])
        await asyncio.sleep(10)
    assert [(target.name, target.secret) for target in fixture.client.targets] == [("n3", "secret-3")]


async def test_a_secret_that_cannot_be_decrypted_leaves_out_its_node_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, poll_of(1, keys=KeyRing.generate("k2")), poll_of(2))
    with structlog.testing.capture_logs() as logs:
        async with running(fixture.prober):
            fixture.prober.request("farm", [1, 2])
            await asyncio.sleep(10)
    assert [row[0] for _, row in fixture.stored] == [2]
    assert [(line["event"], line["node"]) for line in logs] == [("secret not decrypted", "n1")]


async def test_a_database_that_is_away_costs_this_round_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, poll_of(1))
    with structlog.testing.capture_logs() as logs:
        async with running(fixture.prober):
            fixture.database.fail = "away"
            fixture.prober.request("farm", [1])
            await asyncio.sleep(2)
            fixture.database.fail = ""
            fixture.prober.request("farm", [1])
            await asyncio.sleep(2)
    assert len(fixture.stored) == 1
    assert [line["event"] for line in logs] == ["probe left to the next tick"]


async def test_a_bug_costs_this_round_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, poll_of(1))
    observe = fixture.client.observe
    monkeypatch.setattr(fixture.client, "observe", partial(_broken, 1))
    with structlog.testing.capture_logs() as logs:
        async with running(fixture.prober):
            fixture.prober.request("farm", [1])
            await asyncio.sleep(2)
            monkeypatch.setattr(fixture.client, "observe", observe)
            fixture.prober.request("farm", [1])
            await asyncio.sleep(2)
    assert len(fixture.stored) == 1
    assert [line["event"] for line in logs] == ["probe failed"]


async def _broken(_number: int, _target: NodeTarget) -> Observation:
    raise ZeroDivisionError


async def test_nothing_is_asked_for_no_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch)
    async with running(fixture.prober):
        fixture.prober.request("farm", [])
        await asyncio.sleep(1)
    assert fixture.database.calls == 0


@pytest.mark.parametrize(("reason", "ready"), [(Reason.RESPONDING, True), (Reason.TIMEOUT, False)])
def test_the_first_observation_of_a_revision_decides_at_once(reason: Reason, *, ready: bool) -> None:
    poll = poll_of(7, state=node_state(revision=2, ready=not ready), seen_at=BEFORE)
    node_id, state, load, seen_at = first_state(poll, seen(reason), now=NOW)
    assert (node_id, state.revision, state.ready, state.ready_changed_at) == (7, 3, ready, NOW)
    assert load == ((10 + 2 * 30) * 100 / 200 if ready else 0)
    assert seen_at == (NOW if ready else BEFORE)
