"""The client: what it sends, how it tells failures apart, and what it tries again; on a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from b3lb_operator import kube as kube_module
from b3lb_operator.kinds import CRON_JOB, EVENT, NODE, SECRET, Key
from b3lb_operator.kube import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    Kube,
    KubeConfigError,
    KubeError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    connect,
)

KEY = Key("farm", "one")
PATH = "/apis/b3lb.io/v1alpha1/namespaces/farm/bbbnodes/one"


class Api:
    """Answers from a list and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, Any]] = []
        self.answers: list[tuple[int, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else None
        self.requests.append((request.method, str(request.rel_url), request.headers["Content-Type"], body))
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        return web.json_response(answer, status=status)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def kube(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    monkeypatch.setattr(kube_module, "RETRY_SECONDS", (0.01, 0.01))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    async with TestServer(app) as server, ApiClient(Configuration(host=str(server.make_url("")))) as client:
        yield Kube(client)


async def test_get_reads_one_object(api: Api, kube: Kube) -> None:
    api.answers = [(200, {"kind": "BBBNode"})]
    assert await kube.get(NODE, KEY) == {"kind": "BBBNode"}
    assert api.requests == [("GET", PATH, "application/json", None)]


async def test_own_rights_and_published_schemas_are_read_without_writing_anything(api: Api, kube: Kube) -> None:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    api.answers = [(201, {"status": {"resourceRules": rules, "incomplete": False}}), (200, {"components": {}})]
    assert (await kube.review_own_rules("farm"))["resourceRules"] == rules
    assert await kube.read("/openapi/v3/apis/b3lb.io/v1alpha1") == {"components": {}}
    (method, path, _, body), (_, read, _, _) = api.requests
    assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews")
    assert body["spec"] == {"namespace": "farm"}
    assert read == "/openapi/v3/apis/b3lb.io/v1alpha1"


async def test_lists_are_read_page_by_page_and_entries_get_their_kind(api: Api, kube: Kube) -> None:
    api.answers = [
        (200, {"metadata": {"continue": "tok/en"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {"continue": ""}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    found = await kube.list_all(SECRET, "farm", field_selector="type!=helm.sh/release.v1")
    assert found == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} for name in "ab"]
    first, second = (request[1] for request in api.requests)
    assert first == "/api/v1/namespaces/farm/secrets?limit=500&fieldSelector=type!%3Dhelm.sh/release.v1"
    assert second.endswith("&continue=tok/en")


async def test_apply_is_server_side_with_our_manager_and_force(api: Api, kube: Kube) -> None:
    manifest = {"metadata": {"namespace": "farm", "name": "b3lb-core"}, "spec": {}}
    await kube.apply(CRON_JOB, manifest)
    path = "/apis/batch/v1/namespaces/farm/cronjobs/b3lb-core?fieldManager=b3lb-operator&force=true"
    assert api.requests == [("PATCH", path, "application/apply-patch+yaml", manifest)]


async def test_apply_without_force_leaves_other_peoples_fields_to_them(api: Api, kube: Kube) -> None:
    manifest = {"metadata": {"namespace": "farm", "name": "b3lb-core"}, "spec": {}}
    await kube.apply(CRON_JOB, manifest, manager="b3lb-objects", force=False)
    path = "/apis/batch/v1/namespaces/farm/cronjobs/b3lb-core?fieldManager=b3lb-objects&force=false"
    assert api.requests == [("PATCH", path, "application/apply-patch+yaml", manifest)]


async def test_behind_a_fence_reads_go_on_and_writes_are_not_sent(api: Api, kube: Kube) -> None:
    fenced = kube.fenced(lambda: "not now")
    await fenced.get(NODE, KEY)
    with pytest.raises(UnavailableError, match="not now"):
        await fenced.patch(NODE, KEY, {})
    assert [method for method, *_ in api.requests] == ["GET"]


async def test_a_status_patch_names_the_object_by_uid_and_no_version(api: Api, kube: Kube) -> None:
    await kube.patch_status(NODE, KEY, uid="u1", status={"load": None})
    body = {"metadata": {"uid": "u1"}, "status": {"load": None}}
    assert api.requests == [
        ("PATCH", f"{PATH}/status?fieldManager=b3lb-operator", "application/merge-patch+json", body)
    ]


async def test_finalizers_are_changed_against_the_version_read_and_again_after_a_conflict(api: Api, kube: Kube) -> None:
    api.answers = [
        (200, {"metadata": {"uid": "u1", "resourceVersion": "5", "finalizers": ["other"]}}),
        (409, {"message": "the object has been modified"}),
        (200, {"metadata": {"uid": "u1", "resourceVersion": "6"}}),
        (200, {"metadata": {"finalizers": ["ours"]}}),
    ]
    await kube.patch_finalizers(NODE, KEY, uid="u1", change=lambda found: [*found, "ours"])
    bodies = [request[3] for request in api.requests if request[0] == "PATCH"]
    assert bodies == [
        {"metadata": {"resourceVersion": "5", "finalizers": ["other", "ours"]}},
        {"metadata": {"resourceVersion": "6", "finalizers": ["ours"]}},
    ]


async def test_finalizers_that_are_right_already_cost_no_write(api: Api, kube: Kube) -> None:
    api.answers = [(200, {"metadata": {"uid": "u1", "resourceVersion": "5"}})]
    await kube.patch_finalizers(NODE, KEY, uid="u1", change=lambda found: found)
    assert [request[0] for request in api.requests] == ["GET"]


async def test_finalizers_of_a_successor_of_the_same_name_are_left_alone(api: Api, kube: Kube) -> None:
    api.answers = [(200, {"metadata": {"uid": "u2", "resourceVersion": "5"}})]
    with pytest.raises(NotFoundError):
        await kube.patch_finalizers(NODE, KEY, uid="u1", change=lambda _: ["ours"])
    assert len(api.requests) == 1


async def test_endless_conflicts_over_finalizers_are_given_up(api: Api, kube: Kube) -> None:
    found = (200, {"metadata": {"uid": "u1", "resourceVersion": "5"}})
    api.answers = [found, (409, {})] * 3
    with pytest.raises(ConflictError):
        await kube.patch_finalizers(NODE, KEY, uid="u1", change=lambda _: ["ours"])
    assert len(api.requests) == 6


async def test_an_event_that_is_there_already_is_no_error(api: Api, kube: Kube) -> None:
    api.answers = [(409, {"message": "already exists"})]
    await kube.create_event({"metadata": {"namespace": "farm", "name": "e"}})
    assert api.requests[0][1] == f"{EVENT.path('farm')}?fieldManager=b3lb-operator"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (422, RefusedError),
    ],
)
async def test_refusals_are_told_apart_and_not_repeated(
    api: Api, kube: Kube, status: int, error: type[KubeError]
) -> None:
    api.answers = [(status, {"message": "because"})]
    with pytest.raises(error, match=r"^because$"):
        await kube.get(NODE, KEY)
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_what_may_pass_is_tried_again(api: Api, kube: Kube, status: int) -> None:
    api.answers = [(status, {}), (status, {}), (200, {"kind": "BBBNode"})]
    assert await kube.get(NODE, KEY) == {"kind": "BBBNode"}


async def test_what_does_not_pass_is_given_up_after_a_few_attempts(api: Api, kube: Kube) -> None:
    api.answers = [(503, {"message": "shutting down"})] * 9
    with pytest.raises(UnavailableError, match="shutting down"):
        await kube.get(NODE, KEY)
    assert len(api.requests) == 3


async def test_a_field_that_the_kind_does_not_have_is_refused_at_once_although_the_status_is_500(
    api: Api, kube: Kube
) -> None:
    message = (
        "failed to create typed patch object (farm/x; batch/v1, Kind=CronJob): .spec.a: field not declared in schema"
    )
    api.answers = [(500, {"message": message})]
    with pytest.raises(RefusedError, match="field not declared"):
        await kube.apply(CRON_JOB, {"metadata": {"namespace": "farm", "name": "x"}})
    assert len(api.requests) == 1


@pytest.mark.parametrize("details", [None, {}, {"causes": None}, {"causes": [{"reason": "Other", "field": ".a"}]}])
async def test_a_conflict_names_the_fields_of_others_where_it_is_about_fields(
    api: Api, kube: Kube, details: dict[str, Any] | None
) -> None:
    causes = [{"reason": "FieldManagerConflict", "message": "x", "field": ".spec.tickSeconds"}]
    api.answers = [(409, {"message": "conflict", "details": {"causes": causes}}), (409, {"details": details})]
    manifest = {"metadata": {"namespace": "farm", "name": "x"}}
    for fields in [(".spec.tickSeconds",), ()]:
        with pytest.raises(ConflictError) as caught:
            await kube.apply(CRON_JOB, manifest, force=False)
        assert caught.value.fields == fields


async def test_an_error_page_that_is_no_json_says_its_status(kube: Kube, api: Api) -> None:
    api.answers = [(404, "gone fishing")]
    with pytest.raises(NotFoundError, match="the API server answered 404"):
        await kube.get(NODE, KEY)


async def test_an_answer_that_is_no_json_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def welcome(_: web.Request) -> web.Response:
        return web.Response(text="<html>Log in, please</html>")

    monkeypatch.setattr(kube_module, "RETRY_SECONDS", ())
    app = web.Application()
    app.router.add_get("/{tail:.*}", welcome)
    async with TestServer(app) as server, ApiClient(Configuration(host=str(server.make_url("")))) as client:
        with pytest.raises(UnavailableError, match="no JSON"):
            await Kube(client).get(NODE, KEY)


async def test_a_refused_connection_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "RETRY_SECONDS", ())
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await Kube(client).get(NODE, KEY)


async def test_an_answer_that_does_not_come_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(10)
        return web.Response()

    monkeypatch.setattr(kube_module, "RETRY_SECONDS", ())
    monkeypatch.setattr(kube_module, "_TIMEOUT", 0.1)
    app = web.Application()
    app.router.add_get("/{tail:.*}", hang)
    async with TestServer(app) as server, ApiClient(Configuration(host=str(server.make_url("")))) as client:
        with pytest.raises(UnavailableError, match="in time"):
            await Kube(client).get(NODE, KEY)


async def test_only_served_kinds_are_counted(api: Api, kube: Kube) -> None:
    api.answers = [(200, {"resources": [{"name": "bbbnodes"}, {"name": "bbbnodes/status"}]}), (404, {})]
    assert "bbbnodes" in await kube.served("b3lb.io/v1alpha1")
    assert await kube.served("b3lb.io/v1alpha1") == frozenset()


async def test_without_any_configuration_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nonexistent")
    with pytest.raises(KubeConfigError, match="no access to a Kubernetes API"):
        async with connect():
            pass


async def test_every_attempt_is_told_with_its_verb_and_status(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "RETRY_SECONDS", (0.01,))
    told: list[tuple[str, str]] = []
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    api.answers = [(503, {}), (200, {}), (200, {}), (200, {}), (404, {})]
    server = TestServer(app)
    async with server, ApiClient(Configuration(host=str(server.make_url("")))) as client:
        kube = Kube(client, on_request=lambda verb, code: told.append((verb, code)))
        await kube.get(NODE, KEY)
        await kube.fenced(lambda: None).patch(NODE, KEY, {})
        await kube.apply(NODE, {"metadata": {"namespace": "farm", "name": "one"}})
        with pytest.raises(NotFoundError):
            await kube.delete(NODE, KEY)
        await server.close()
        with pytest.raises(UnavailableError):
            await kube.get(NODE, KEY)
    answered = [("get", "503"), ("get", "200"), ("patch", "200"), ("apply", "200"), ("delete", "404")]
    assert told == [*answered, ("get", "none"), ("get", "none")]
