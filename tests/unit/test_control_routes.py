"""Who may ask below ``/control``, and what every answer has in common."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from b3lb.control import TOKEN_HEADER
from b3lb.settings import SettingsError, load_settings
from b3lb_operator.control.farms import FRESH_SECONDS
from b3lb_operator.control.routes import ROUTES, add_control
from b3lb_operator.control.token import opens
from b3lb_operator.kinds import QUEUE
from b3lb_operator.settings import ProgramSettings
from tests.unit.control_desk import TOKEN, Desk
from tests.unit.operator_fakes import queue_manifest


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_without_a_configured_token_there_is_nothing(desk: Desk) -> None:
    async with desk.client(token=None) as client, client.get("/control/v1/ping") as answer:
        assert answer.status == 404
        assert "B3LB_CONTROL_TOKEN" in (await answer.json())["message"]


@pytest.mark.parametrize("given", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()])
async def test_a_missing_or_wrong_token_is_refused_without_naming_the_right_one(desk: Desk, given: str | None) -> None:
    async with desk.client() as client:
        client.session.headers.popall(TOKEN_HEADER, None)
        headers = {} if given is None else {TOKEN_HEADER: given}
        async with client.get("/control/v1/ping", headers=headers) as answer:
            assert answer.status == 401
            message = (await answer.json())["message"]
    assert TOKEN_HEADER in message
    assert TOKEN not in message


async def test_a_wrong_token_learns_nothing_of_what_there_is(desk: Desk) -> None:
    async with desk.client() as client:
        for path in ("/control/v1/queues", "/control/v1/nothing", "/control/"):
            async with client.get(path, headers={TOKEN_HEADER: "wrong"}) as answer:
                assert answer.status == 401


def test_a_token_that_is_no_ascii_is_wrong_and_no_fault() -> None:
    assert not opens(TOKEN, "\udce4\udcf6\udcfc")
    assert not opens(TOKEN, "ä")
    assert opens(TOKEN, TOKEN)


async def test_answers_are_json_that_nobody_keeps(desk: Desk) -> None:
    async with desk.client() as client, client.get("/control/v1/ping") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "application/json", "utf-8")
        assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_path_names_those_that_there_are(desk: Desk) -> None:
    status, content = await desk.get("/workers")
    assert status == 404
    assert all(route.path in content["message"] for route in ROUTES)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_can_be_written(desk: Desk, method: str) -> None:
    async with desk.client() as client, client.request(method, "/control/v1/queues") as answer:
        assert answer.status == 405
        assert "GET" in (await answer.json())["message"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("?nodes=all", 400, "there is no parameter 'nodes': the parameters are namespace"),
        ("?namespace=farm&namespace=farm", 400, "namespace is there twice: ask for one at a time"),
        (f"?namespace={'x' * 300}", 400, "namespace is longer than 256 characters"),
        ("?namespace=other", 404, "this operator does not watch the namespace 'other': use one of farm"),
    ],
)
async def test_a_wrong_parameter_is_one_precise_line(desk: Desk, query: str, status: int, message: str) -> None:
    assert await desk.get(f"/queues{query}") == (status, {"message": message})


@pytest.mark.parametrize(
    "path", ["/runs?queue=a%00b", "/runs?task=%0A", "/meetings?secret=%00", "/tenants/%00/metrics"]
)
async def test_what_no_name_has_does_not_reach_the_database_which_would_refuse_it(desk: Desk, path: str) -> None:
    status, content = await desk.get(path)
    assert (status, "has characters that no name has" in content["message"]) == (400, True)
    assert desk.database.calls == 0


@pytest.mark.parametrize("limit", ["0", "1001", "0000000011234", "0000000010000000000000000"])
async def test_a_number_beyond_its_bounds_is_refused_however_it_is_written(desk: Desk, limit: str) -> None:
    status, content = await desk.get(f"/runs?limit={limit}")
    assert (status, "is not a number from 1 to 1000" in content["message"]) == (400, True)
    assert desk.database.calls == 0


async def test_an_operator_that_has_only_just_begun_shows_no_empty_lists(desk: Desk) -> None:
    desk.problem = "not compared with the database yet: farm"
    desk.farms = dataclasses.replace(desk.farms, settled=lambda: False)
    message = "this operator does not work yet: not compared with the database yet: farm"
    assert await desk.get("/queues") == (503, {"message": message})
    assert (await desk.get("/ping"))[0] == 200
    # The doctor is asked, whatever this desk has for it to examine.
    assert (await desk.get("/doctor"))[0] != 503


async def test_an_operator_that_stands_by_says_so_and_answers_a_ping(desk: Desk) -> None:
    desk.leads = False
    status, content = await desk.get("/queues")
    assert (status, content["standby"]) == (503, True)
    status, content = await desk.get("/ping")
    assert (status, content["leads"]) == (200, False)
    assert desk.looks.calls == 0


async def test_an_operator_that_waits_says_for_what(desk: Desk) -> None:
    desk.leads, desk.problem = False, "the custom resource definitions are not there yet"
    message = "this operator does not work yet: the custom resource definitions are not there yet"
    assert await desk.get("/queues") == (503, {"message": message})


async def test_an_operator_without_its_secrets_says_for_what_it_waits() -> None:
    app = web.Application()
    add_control(app, token=TOKEN, farms=None, waiting=lambda: "waiting for Secrets: b3lb-database")
    async with (
        TestClient(TestServer(app), headers={TOKEN_HEADER: TOKEN}) as client,
        client.get("/control/v1/ping") as answer,
    ):
        assert answer.status == 503
        message = (await answer.json())["message"]
    assert message == "this operator does not work yet: waiting for Secrets: b3lb-database"


@pytest.mark.parametrize("token", ["short", "a token with blanks in it", "tökentökentökentöken", "x" * 257])
def test_a_token_that_could_be_guessed_or_does_not_fit_a_header_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("B3LB_CONTROL_TOKEN", token)
    with pytest.raises(SettingsError, match=r"^B3LB_CONTROL_TOKEN: write 16 to 256 printable ASCII") as error:
        load_settings(ProgramSettings)
    assert token not in str(error.value)


def test_a_newline_at_the_end_is_no_part_of_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_CONTROL_TOKEN", f"{TOKEN}\n")
    token = load_settings(ProgramSettings).control_token
    assert token is not None
    assert token.get_secret_value() == TOKEN


def test_no_text_about_the_settings_holds_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_CONTROL_TOKEN", TOKEN)
    settings = load_settings(ProgramSettings)
    assert TOKEN not in repr(settings) + str(settings)


async def test_a_bug_in_a_document_is_an_answer_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b3lb_operator.control.queues.queue_item", lambda *_, **__: 1 / 0)
    desk.store.observe(QUEUE, None, queue_manifest())
    status, content = await desk.get("/queues")
    assert status == 500
    assert "log" in content["message"]


@pytest.mark.looptime
async def test_however_many_ask_the_database_is_read_once_in_two_seconds(desk: Desk) -> None:
    for _ in range(3):
        await asyncio.gather(*(desk.farms.look() for _ in range(50)), *(desk.farms.work() for _ in range(50)))
    assert (desk.looks.calls, desk.works.calls) == (1, 1)
    await asyncio.sleep(FRESH_SECONDS)
    await desk.farms.look()
    assert desk.looks.calls == 2


async def test_a_ping_tells_what_is_wrong_and_does_not_wait_for_the_database(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest(schedule=None))
    desk.lose_database()
    desk.problem = "the database cannot be used: connection refused"
    status, content = await desk.get("/ping")
    assert status == 200
    assert content.pop("version")
    assert content == {
        "kind": "Ping",
        "live": True,
        "ready": False,
        "leads": True,
        "databaseUp": False,
        "loopLagSeconds": 0.25,
        "namespaces": ["farm"],
        "problems": ["the database cannot be used: connection refused"],
        "queues": [{"namespace": "farm", "name": "core", "up": True, "lastSuccess": None}],
    }
    assert desk.looks.calls == 0
