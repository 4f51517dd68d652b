"""The process kubelet's client: credentials, retries, and lists followed by watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from dev.kubelet import api as api_module
from dev.kubelet.api import Api, ApiError, Credentials, KubeconfigError, Manifest, read_kubeconfig

KUBECONFIG = {
    "current-context": "main",
    "contexts": [{"name": "other", "context": {}}, {"name": "main", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "ca.crt"}}],
    "users": [{"name": "u", "user": {"token": "geheim"}}],
}


def write_kubeconfig(directory: Path, **changes: Any) -> Path:
    (directory / "ca.crt").write_text("PEM")
    path = directory / "config"
    path.write_text(yaml.safe_dump(KUBECONFIG | changes))
    return path


def test_a_kubeconfig_is_read(tmp_path: Path) -> None:
    credentials = read_kubeconfig(write_kubeconfig(tmp_path))
    assert credentials == Credentials(URL("https://127.0.0.1:6443"), "geheim", "PEM")
    assert "geheim" not in repr(credentials)


def test_embedded_certificates_are_decoded(tmp_path: Path) -> None:
    cluster = {"server": "https://h", "certificate-authority-data": "UEVN"}
    path = write_kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}])
    assert read_kubeconfig(path).certificate_authority == "PEM"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": [{"name": "u", "user": {}}]}, "KeyError: 'token'"),
        ({"current-context": "none"}, "there is no entry named none"),
        ({"contexts": None}, "TypeError"),
    ],
)
def test_a_kubeconfig_without_what_is_needed_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        read_kubeconfig(write_kubeconfig(tmp_path, **changes))


def test_a_missing_kubeconfig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="FileNotFoundError"):
        read_kubeconfig(tmp_path / "none")


class Script:
    """A server that gives its answers in order and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[Callable[[web.Request], Any]] = []
        self.exhausted = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, dict(request.query), body))
        self.headers = request.headers
        if not self.answers:
            self.exhausted.set()
            await asyncio.sleep(60)
        response: web.StreamResponse = await self.answers.pop(0)(request)
        return response


def answer(body: Manifest, status: int = 200) -> Callable[[web.Request], Any]:
    async def respond(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return respond


def stream(*events: Manifest, broken: bool = False) -> Callable[[web.Request], Any]:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if broken and request.transport is not None:
            request.transport.close()
        return response

    return respond


def event(kind: str, version: str, **fields: Any) -> Manifest:
    return {"type": kind, "object": {"metadata": {"name": version, "resourceVersion": version}, **fields}}


@pytest.fixture
async def script() -> AsyncIterator[tuple[Script, Api]]:
    what = Script()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", what.handle)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0.1)
    async with Api(Credentials(URL(str(server.make_url("/"))), "geheim")) as api:
        yield what, api
    await server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(api_module, "LONGEST_PAUSE_SECONDS", 0.01)


async def test_a_request_carries_token_and_patch_type(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [answer({"kind": "Pod"})]
    assert await api.request("PATCH", "/api/v1/x", body={"a": 1}, parameters={"p": "q"}) == {"kind": "Pod"}
    assert server.requests == [("PATCH", "/api/v1/x", {"p": "q"}, {"a": 1})]
    assert server.headers["Authorization"] == "Bearer geheim"
    assert server.headers["Content-Type"] == "application/strategic-merge-patch+json"


async def test_errors_have_status_reason_and_message(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [answer({"reason": "Conflict", "message": "uid differs"}, 409)]
    with pytest.raises(ApiError, match="uid differs") as caught:
        await api.request("PATCH", "/x")
    assert (caught.value.status, caught.value.reason, caught.value.passing) == (409, "Conflict", False)


async def test_what_does_not_exist_is_none(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [answer({"reason": "NotFound"}, 404), answer({"kind": "Secret"}), answer({}, 403)]
    assert await api.find("/x") is None
    assert await api.find("/x") == {"kind": "Secret"}
    with pytest.raises(ApiError):
        await api.find("/x")


async def test_a_request_is_repeated_until_the_answer_is_final(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [answer({}, 503), answer({}, 401), answer({}, 429), answer({"kind": "Pod"}), answer({}, 404)]
    assert await api.persist("DELETE", "/x") == {"kind": "Pod"}
    with pytest.raises(ApiError):
        await api.persist("DELETE", "/x")
    assert len(server.requests) == 5


async def test_a_server_that_is_away_is_a_passing_error_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Api(Credentials(URL("http://127.0.0.1:1"), "geheim")) as api:
        for _ in range(3):
            with pytest.raises(ApiError) as caught:
                await api.request("GET", "/x")
            assert caught.value.passing
    assert len(caplog.records) == 1
    assert "geheim" not in caplog.text


async def followed(server: Script, api: Api) -> list[Any]:
    seen: list[Any] = []
    following = asyncio.create_task(
        api.follow(
            "/api/v1/pods",
            field_selector="spec.nodeName=n1",
            replace=lambda items: seen.append([item["metadata"]["name"] for item in items]),
            change=lambda kind, item: seen.append((kind, item["metadata"]["name"])),
        )
    )
    async with asyncio.timeout(5):
        await server.exhausted.wait()
    following.cancel()
    return seen


def listing(version: str, *names: str) -> Callable[[web.Request], Any]:
    return answer({"metadata": {"resourceVersion": version}, "items": [{"metadata": {"name": name}} for name in names]})


async def test_a_watch_goes_on_where_it_was_interrupted(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [
        listing("10", "a"),
        stream(event("ADDED", "11"), event("BOOKMARK", "15"), broken=True),
        answer({}, 503),
        stream(event("DELETED", "16")),
    ]
    assert await followed(server, api) == [["a"], ("ADDED", "11"), ("DELETED", "16")]
    assert [query.get("resourceVersion") for _, _, query, _ in server.requests] == [None, "10", "15", "15", "16"]
    assert server.requests[1][2] == {
        "fieldSelector": "spec.nodeName=n1",
        "resourceVersion": "10",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "60",
    }


async def test_objects_are_listed_again_when_the_version_is_gone(script: tuple[Script, Api]) -> None:
    server, api = script
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    server.answers = [
        answer({}, 500),
        listing("10"),
        stream(gone),
        listing("20", "b"),
        answer({"reason": "Expired"}, 410),
        listing("30", "c"),
    ]
    assert await followed(server, api) == [[], ["b"], ["c"]]


async def test_a_line_of_more_than_a_megabyte_is_read(script: tuple[Script, Api]) -> None:
    server, api = script
    server.answers = [listing("1"), stream(event("ADDED", "2", data="x" * 1_500_000))]
    assert await followed(server, api) == [[], ("ADDED", "2")]
