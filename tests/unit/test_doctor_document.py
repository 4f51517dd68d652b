"""``/doctor`` over HTTP: whatever cannot be asked, the rest is told; and however many ask, there is one examination."""

from __future__ import annotations

import asyncio

import pytest

from b3lb_operator.doctor import doctor as doctor_module
from b3lb_operator.kube import ForbiddenError
from tests.unit.control_desk import Desk
from tests.unit.operator_fakes import NAMESPACE


@pytest.fixture
def desk() -> Desk:
    """An operator whose database and API server are away."""
    made = Desk(NAMESPACE, "other")
    made.lose_database()
    made.kube.failure = lambda _method, _path: ForbiddenError("you may not")
    return made


async def test_without_database_and_rights_the_document_says_so_for_each_part(desk: Desk) -> None:
    status, document = await desk.get("/doctor")
    assert (status, document["kind"]) == (200, "FindingList")
    assert 0 <= document["seconds"] < 10
    told = {(item["check"], item["namespace"]): (item["status"], item["message"]) for item in document["items"]}
    assert told["DatabaseReachable", ""] == ("failed", "the database cannot be used: connection refused")
    assert told["EncryptionKeys", ""] == ("unknown", "the stored secrets cannot be read without the database")
    assert told["OperatorRights", "other"] == ("unknown", "the API server was not asked: you may not")
    assert told["DefinitionServed", ""] == ("unknown", "the API server was not asked: you may not")
    assert told["JobSecrets", ""] == ("unknown", "the pods' Secrets cannot be read: you may not")
    assert set(document["items"][0]) == {"check", "group", "message", "namespace", "object", "remedy", "status"}


async def test_of_one_namespace_there_is_what_is_its_own_or_belongs_to_none(desk: Desk) -> None:
    _, document = await desk.get(f"/doctor?namespace={NAMESPACE}")
    assert {item["namespace"] for item in document["items"]} == {"", NAMESPACE}
    assert (await desk.get("/doctor?namespace=strange"))[0] == 404


async def test_who_asks_at_the_same_time_or_shortly_afterwards_gets_the_same_examination(desk: Desk) -> None:
    doctor = desk.farms.doctor
    first, second = await asyncio.gather(doctor.examine(), doctor.examine())
    assert first is second
    assert await doctor.examine() is first
    asked = len(desk.kube.requests)
    await doctor.examine()
    assert len(desk.kube.requests) == asked


async def test_who_hangs_up_does_not_end_the_examination_of_the_others(desk: Desk) -> None:
    impatient = asyncio.create_task(desk.farms.doctor.examine())
    patient = asyncio.create_task(desk.farms.doctor.examine())
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).findings


@pytest.mark.looptime
async def test_a_database_that_hangs_costs_no_more_than_its_share(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_function: object) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(desk.database, "call", hang)
    began = asyncio.get_running_loop().time()
    examination = await desk.farms.doctor.examine()
    assert asyncio.get_running_loop().time() - began <= doctor_module.FACTS_SECONDS + 1
    (database,) = (item for item in examination.findings if item.check == "DatabaseReachable")
    assert database.message == "the database cannot be used: no answer within 3 s"
