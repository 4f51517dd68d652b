"""The parts put together: what starts them, what stops them, and what makes the process end."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import structlog.testing

from b3lb.bbb.client import NodeClient
from b3lb.db.configuration import Action, Changed
from b3lb.db.configuration import Kind as RowKind
from b3lb.db.schema import SchemaMismatchError
from b3lb.settings import load_settings
from b3lb_operator.app import Operator
from b3lb_operator.kinds import API_SECRET, CUSTOM_KINDS, LEASE, NODE, QUEUE
from b3lb_operator.kube import UnavailableError
from b3lb_operator.settings import OperatorSettings
from tests.unit.operator_fakes import FakeKube, api_secret_manifest, key, manifest_of, node_manifest, queue_manifest

pytestmark = [pytest.mark.looptime]


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
async def operator(monkeypatch: pytest.MonkeyPatch, kube: FakeKube) -> Operator:
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://127.0.0.1:9/b3lb")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", f"k1:{base64.b64encode(bytes(32)).decode()}")
    monkeypatch.setenv("B3LB_NAMESPACES", "farm")
    return Operator(load_settings(OperatorSettings), kube=kube, client=NodeClient())


def lease(version: int) -> dict[str, Any]:
    renew_time = f"2026-03-01T12:00:{version:02}.000000Z"
    return {**manifest_of(LEASE, "b3lb-operator", resourceVersion=str(version)), "spec": {"renewTime": renew_time}}


async def test_only_a_second_list_of_the_lease_makes_everything_be_compared(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[bool] = []
    monkeypatch.setattr(operator._sync, "request_full", lambda: requested.append(True))
    operator.observe(LEASE, None, lease(1))
    operator.observe(LEASE, "MODIFIED", lease(2))
    operator.observe(NODE, None, node_manifest())
    operator.observe(NODE, None, node_manifest())
    assert requested == []
    operator.observe(LEASE, None, lease(2))
    assert requested == [True]


async def test_only_nodes_with_a_new_revision_are_probed(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Any] = []
    monkeypatch.setattr(operator._prober, "request", lambda *arguments: probed.append(arguments))
    changes = [
        Changed(RowKind.CLUSTER, 1, "default", Action.INSERT, repoll=True),
        Changed(RowKind.NODE, 2, "a", Action.INSERT, repoll=True),
        Changed(RowKind.NODE, 3, "b", Action.UPDATE, repoll=False),
        Changed(RowKind.NODE, 4, "c", Action.DELETE, repoll=True),
    ]
    operator._stored("farm", changes)
    assert probed == [("farm", [2])]


async def test_notifications_of_other_namespaces_are_none_of_ours(operator: Operator) -> None:
    operator.mirror("other")


async def test_the_definitions_are_waited_for(operator: Operator, kube: FakeKube) -> None:
    path = "/apis/b3lb.io/v1alpha1"
    kube.failure = lambda _method, _path: UnavailableError("away")
    with structlog.testing.capture_logs() as logs:
        waiting = asyncio.create_task(operator.wait_for_definitions())
        await asyncio.sleep(60)
        kube.failure = lambda _method, _path: None
        await asyncio.sleep(10)
        kube.objects[path] = {"metadata": {}, "resources": [{"name": "bbbnodes"}]}
        await asyncio.sleep(10)
        assert not waiting.done()
        assert any("definitions" in (check() or "") for check in operator.ready_checks)
        names = [kind.plural for kind in CUSTOM_KINDS]
        kube.objects[path] = {"metadata": {}, "resources": [{"name": name} for name in names]}
        await asyncio.sleep(3)
        assert waiting.done()
    assert len(logs) == 3
    assert not any("definitions" in (check() or "") for check in operator.ready_checks)


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError(), 1), (SchemaMismatchError("this program is too old"), 75)]
)
async def test_a_task_that_ends_by_itself_ends_the_process(operator: Operator, error: Exception, code: int) -> None:
    async def broken() -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        operator._tasks.start("broken", broken)
        await operator.stop_flag.wait()
        await operator._tasks.stop()
    assert operator.stop_flag.is_set()
    assert operator.exit_code == code
    assert len(logs) == 1


async def test_stopping_ends_every_task_and_is_no_failure(operator: Operator) -> None:
    before = asyncio.all_tasks()
    operator.start()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks() - before) > 5
    await operator.stop()
    await operator.stop()
    assert asyncio.all_tasks() - before == set()
    assert (operator.exit_code, operator.stop_flag.is_set()) == (0, True)


async def test_after_a_comparison_every_node_api_secret_and_queue_is_looked_at(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    operator.observe(NODE, "ADDED", node_manifest())
    operator.observe(API_SECRET, "ADDED", api_secret_manifest())
    operator.observe(QUEUE, "ADDED", queue_manifest())
    for queue in (operator._nodes, operator._api_secrets, operator._queues):
        monkeypatch.setattr(queue, "add", seen.append)
    operator._compared("farm")
    assert seen == [key("one"), key("uni-001"), key("core")]
