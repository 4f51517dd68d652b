"""The pages over HTTP: at the operator behind its token, at the command line for this machine only."""

from __future__ import annotations

import argparse
import base64
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from b3lb.dashboard import HEADERS
from b3lb.dashboard.site import Ask, DocumentError, Guard, site
from b3lb_cli import dashboard_server
from b3lb_cli.cli import main, parser
from b3lb_cli.dashboard_server import documents as by_client
from b3lb_cli.dashboard_server import loopback_only
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_operator.control.dashboard import add_dashboard
from tests.unit import dashboard_documents as documents
from tests.unit.control_desk import TOKEN, Desk

Client = TestClient[web.Request, web.Application]
RUN = documents.run(3, "core", "check-nodes", state="SUCCESS", error=None, seconds=1.0)


def basic(user: str, password: str) -> str:
    """Return the header of HTTP Basic."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class Documents:
    """What the operator answers; ``asked`` is what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.problem: DocumentError | None = None

    async def ask(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append((path, dict(query)))
        if self.problem is not None:
            raise self.problem
        if path.startswith("/runs/"):
            return RUN
        return {"items": [RUN]} if path == "/runs" else documents.overview()


@asynccontextmanager
async def serving(ask: Ask, guard: Guard = lambda _: None, *, below: str = "") -> AsyncIterator[Client]:
    app = site(ask, guard)
    if below:
        parent = web.Application()
        parent.add_subapp(below, app)
        app = parent
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("below", ["", "/dashboard"])
async def test_every_page_is_html_that_nobody_keeps_and_links_back(below: str) -> None:
    async with serving(Documents().ask, below=below) as client:
        for path, back in [
            ("/", "./"),
            ("/queues/b3lb/core", "../../"),
            ("/nodes/b3lb/bbb1", "../../"),
            (f"/runs/{RUN['id']}?namespace=b3lb", "../"),
        ]:
            answer = await client.get(below + path)
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
            assert HEADERS.items() <= dict(answer.headers).items()
            assert f'<a href="{back}">b3lb</a>' in await answer.text()


async def test_pages_ask_for_what_they_show() -> None:
    operator = Documents()
    async with serving(operator.ask) as client:
        await client.get("/queues/b3lb/core")
        await client.get(f"/runs/{RUN['id']}?namespace=b3lb")
    assert operator.asked == [
        ("/overview", {}),
        ("/runs", {"namespace": "b3lb", "queue": "core", "limit": "50"}),
        (f"/runs/{RUN['id']}", {"namespace": "b3lb"}),
    ]


@pytest.mark.parametrize(
    "path", ["/queues/b3lb/other", "/nodes/b3lb/other", "/runs/../secrets", "/runs/7", "/other", "/queues/b3lb"]
)
async def test_what_is_not_there_is_a_page_with_404(path: str) -> None:
    async with serving(Documents().ask) as client:
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_can_be_written(method: str) -> None:
    async with serving(Documents().ask) as client:
        answer = await client.request(method, "/")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


async def test_an_operator_that_is_away_is_a_page_that_looks_again() -> None:
    operator = Documents()
    operator.problem = DocumentError(503, "the operator cannot be reached: <timeout>")
    async with serving(operator.ask) as client:
        answer = await client.get("/")
        text = await answer.text()
    assert answer.status == 503
    assert "the operator cannot be reached: &lt;timeout&gt;" in text
    assert 'http-equiv="refresh"' in text


@asynccontextmanager
async def operator_pages(desk: Desk) -> AsyncIterator[Client]:
    app = web.Application()
    add_dashboard(app, token=TOKEN, farms=desk.farms)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Basic",
        "Basic !!!",
        f"Bearer {TOKEN}",
        basic("any", "wrong"),
        basic(TOKEN, ""),
        basic("any", TOKEN + "x"),
    ],
)
async def test_without_the_token_the_operator_shows_nothing(header: str | None) -> None:
    async with operator_pages(Desk()) as client:
        for path in ("/dashboard/", "/dashboard/queues/b3lb/core", "/dashboard/other"):
            answer = await client.get(path, headers={"Authorization": header} if header else {})
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="b3lb", charset="UTF-8"'
            assert "Queues" not in await answer.text()


@pytest.mark.parametrize("user", ["", "admin", "jörg"])
async def test_any_user_with_the_token_sees_the_operator_s_own_documents(user: str) -> None:
    header, desk = basic(user, TOKEN), Desk()
    desk.database.answer = list
    async with operator_pages(desk) as client:
        answer = await client.get("/dashboard", headers={"Authorization": header})
        text = await answer.text()
    assert answer.url.path == "/dashboard/"
    assert answer.status == 200
    assert "There is no BBBNode." in text
    assert TOKEN not in text


async def test_an_operator_that_stands_by_says_so_on_the_page() -> None:
    desk = Desk()
    desk.leads = False
    header = basic("any", TOKEN)
    async with operator_pages(desk) as client:
        answer = await client.get("/dashboard/", headers={"Authorization": header})
        assert answer.status == 503
        assert "This operator stands by" in await answer.text()


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:5555", 200), ("127.0.0.1:5555", 200), ("LOCALHOST:5555", 200)]
)
async def test_this_machine_s_names_are_answered(host: str, status: int) -> None:
    async with serving(Documents().ask, loopback_only(5555)) as client:
        assert (await client.get("/", headers={"Host": host})).status == status


@pytest.mark.parametrize(
    "host", ["evil.example.org:5555", "localhost", "localhost:80", "127.0.0.1.example.org", "b3lb"]
)
async def test_other_names_are_not_answered(host: str) -> None:
    operator = Documents()
    async with serving(operator.ask, loopback_only(5555)) as client:
        answer = await client.get("/", headers={"Host": host})
        assert answer.status == 421
        assert "http://localhost:5555/" in await answer.text()
    assert operator.asked == []


async def test_the_command_asks_for_its_namespace_and_turns_its_errors_into_pages() -> None:
    asked = []

    def get(path: str, **query: str) -> dict[str, Any]:
        asked.append((path, query))
        if path == "/runs":
            raise CommandError(ExitCode.AWAY, "the operator cannot be reached")
        return documents.overview()

    async with serving(by_client(get, "farm")) as client:
        assert (await client.get("/")).status == 200
        assert (await client.get("/queues/b3lb/core")).status == 503
    assert asked[0] == ("/overview", {"namespace": "farm"})
    assert asked[-1] == ("/runs", {"namespace": "b3lb", "queue": "core", "limit": "50"})


def test_the_command_has_flower_s_port_and_opens_a_browser() -> None:
    options = parser().parse_args(["dashboard"])
    assert (options.port, options.no_browser) == (5555, False)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_a_wrong_command_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dashboard", f"--port={port}"])
    assert ended.value.code == ExitCode.USAGE
    assert "is not a number from 0 to 65535" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Operator:
        @staticmethod
        def get(_path: str, **_: object) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(dashboard_server, "operator", lambda _: Operator())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = argparse.Namespace(namespace=None, port=port, no_browser=True)
        with pytest.raises(CommandError, match=rf"port {port} cannot be used \(.*\): choose another one with --port"):
            dashboard_server.execute(options)
