"""Reads and writes of the Kubernetes API: the only module that imports ``kubernetes``, plain dicts in and out.

The generated models are not used: they refuse values that a newer server sends, and cost memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from b3lb_operator.kinds import EVENT, FIELD_MANAGER, Key, Kind, Manifest

PAGE_SIZE = 500
RETRY_SECONDS = (0.2, 0.5, 1.0)
_CONFLICT_RETRIES = 3
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_LONGEST_MESSAGE = 1000
_MALFORMED = "failed to create typed patch object"
"""How server-side apply begins to speak of a field that the kind does not have, or of another type, with status 500."""

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_AUTHORIZATION = "authorization.k8s.io/v1"

NO_ANSWER = "none"
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class KubeError(Exception):
    """The API server did not do what was asked; the message is its own."""


class NotFoundError(KubeError):
    """There is no such object, kind or namespace (404)."""


class ConflictError(KubeError):
    """The object exists already, changed meanwhile or is another one of the same name (409).

    ``fields`` are the paths of those that another field manager set to another value, e.g. ``.spec.tickSeconds``.
    """

    def __init__(self, message: str, *, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class ForbiddenError(KubeError):
    """The service account may not do that, or the namespace is terminating (403)."""


class RefusedError(KubeError):
    """The API server holds the object to be invalid (any other 4xx, and a field that the kind does not have)."""


class ExpiredError(KubeError):
    """A paged list took longer than the API server keeps its state (410)."""


class UnavailableError(KubeError):
    """No answer, or one that says to come back: connection trouble, time-out, 401, 429, 5xx."""


class KubeConfigError(Exception):
    """There is neither a service account nor a usable kubeconfig file."""


class Kube:
    """The API server; every call may raise any ``KubeError`` and takes at most about half a minute per attempt."""

    def __init__(
        self,
        client: ApiClient,
        *,
        fence: Callable[[], str | None] = lambda: None,
        on_request: Callable[[str, str], None] = lambda _verb, _code: None,
    ) -> None:
        """Take the client.

        Args:
            client: What sends.
            fence: Asked before each write for a reason not to send it.
            on_request: Told the verb and the status of each request that was sent; status none without an answer.
        """
        self._client = client
        self._fence = fence
        self._on_request = on_request

    def fenced(self, fence: Callable[[], str | None]) -> Kube:
        """Return the same API server, behind a fence."""
        return Kube(self._client, fence=fence, on_request=self._on_request)

    async def get(self, kind: Kind, key: Key) -> Manifest:
        """Return an object, as of now."""
        return await self._request("GET", kind.path(*key))

    async def get_namespace(self, namespace: str) -> Manifest:
        """Return the namespace itself; a Role inside of it can allow that."""
        return await self._request("GET", f"/api/v1/namespaces/{namespace}")

    async def served(self, api_version: str) -> frozenset[str]:
        """Return the plurals of the kinds that the API server serves in a group and version."""
        try:
            answer = await self._request("GET", f"/apis/{api_version}")
        except NotFoundError:
            return frozenset()
        return frozenset(resource["name"] for resource in answer["resources"])

    async def read(self, path: str) -> Manifest:
        """Return what stands at a path that belongs to no object, such as the published schemas."""
        return await self._request("GET", path)

    async def review_own_rules(self, namespace: str) -> Manifest:
        """Return the status of a SelfSubjectRulesReview: what this account may do in a namespace. Nothing is stored."""
        review = {"apiVersion": _AUTHORIZATION, "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
        path = f"/apis/{_AUTHORIZATION}/selfsubjectrulesreviews"
        status: Manifest = (await self._request("POST", path, body=review)).get("status") or {}
        return status

    async def pages(
        self, kind: Kind, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[list[Manifest]]:
        """Iterate over all objects of a kind in a namespace, as of now, in pages.

        Raises:
            ExpiredError: reading took so long that the list has to be started anew.
        """
        query = {"limit": str(PAGE_SIZE), "labelSelector": label_selector, "fieldSelector": field_selector}
        while True:
            path = kind.path(namespace) + "?" + urlencode({name: text for name, text in query.items() if text})
            answer = await self._request("GET", path)
            # Entries of a list come without what the list's own kind says of them.
            yield [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in answer.get("items") or ()]
            token = answer["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def list_all(
        self, kind: Kind, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Manifest]:
        """Return all objects of a kind in a namespace, as of now."""
        pages = self.pages(kind, namespace, label_selector=label_selector, field_selector=field_selector)
        return [manifest async for page in pages for manifest in page]

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Create an object."""
        path = f"{kind.path(manifest['metadata']['namespace'])}?fieldManager={FIELD_MANAGER}"
        return await self._request("POST", path, body=manifest)

    async def apply(
        self, kind: Kind, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Apply an object server-side, taking its fields from everybody else.

        Raises:
            ConflictError: Without ``force``: somebody else set one of the fields to another value.
        """
        metadata = manifest["metadata"]
        query = urlencode({"fieldManager": manager, "force": str(force).lower()})
        path = f"{kind.path(metadata['namespace'], metadata['name'])}?{query}"
        return await self._request("PATCH", path, body=manifest, content_type=_APPLY)

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Replace an object; its ``resourceVersion`` must be the current one."""
        metadata = manifest["metadata"]
        path = f"{kind.path(metadata['namespace'], metadata['name'])}?fieldManager={FIELD_MANAGER}"
        return await self._request("PUT", path, body=manifest)

    async def patch(self, kind: Kind, key: Key, patch: Manifest) -> Manifest:
        """Merge a patch (RFC 7396) into an object."""
        path = f"{kind.path(*key)}?fieldManager={FIELD_MANAGER}"
        return await self._request("PATCH", path, body=patch, content_type=_MERGE)

    async def delete(self, kind: Kind, key: Key, *, uid: str | None = None) -> Manifest:
        """Ask for an object's deletion; finalizers keep it as long as they want.

        Raises:
            ConflictError: there is another object of that name than the one with ``uid``.
        """
        body = None if uid is None else {"preconditions": {"uid": uid}}
        return await self._request("DELETE", kind.path(*key), body=body)

    async def delete_with_dependents(self, kind: Kind, key: Key, *, uid: str) -> Manifest:
        """Ask for the deletion of exactly the object with that uid; it goes after what it owns.

        Raises:
            ConflictError: there is another object of that name now.
        """
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        return await self._request("DELETE", kind.path(*key), body=body)

    async def patch_status(self, kind: Kind, key: Key, *, uid: str, status: Manifest) -> Manifest:
        """Merge a patch (RFC 7396) into the status of exactly the object with that uid.

        It carries no resource version: nobody else writes the status, and a change of spec at the same moment must
        not make it fail.

        Raises:
            ConflictError: there is another object of that name now.
        """
        path = f"{kind.path(*key, subresource='status')}?fieldManager={FIELD_MANAGER}"
        body = {"metadata": {"uid": uid}, "status": status}
        return await self._request("PATCH", path, body=body, content_type=_MERGE)

    async def patch_finalizers(
        self, kind: Kind, key: Key, *, uid: str, change: Callable[[list[str]], list[str]]
    ) -> Manifest:
        """Change the finalizers of exactly the object with that uid, whoever else changes them at the same time.

        Args:
            kind: The object's kind.
            key: Where it is.
            uid: Which one it is.
            change: Returns the new finalizers for the present ones; called again when they changed meanwhile.

        Raises:
            NotFoundError: that object is gone.
            ConflictError: others changed it again and again.
        """
        for attempt in range(_CONFLICT_RETRIES):
            live = await self.get(kind, key)
            metadata = live["metadata"]
            if metadata["uid"] != uid:
                raise NotFoundError(f"{kind.name} {key} was replaced by another object")
            old = list(metadata.get("finalizers", []))
            new = change(old)
            if new == old:
                return live
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": new}}
            try:
                return await self.patch(kind, key, patch)
            except ConflictError:
                if attempt + 1 == _CONFLICT_RETRIES:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    async def create_event(self, event: Manifest) -> None:
        """Create an Event; its name makes a repetition harmless."""
        try:
            await self.create(EVENT, event)
        except ConflictError:
            return

    async def _request(
        self, method: str, path: str, *, body: Manifest | None = None, content_type: str = _JSON
    ) -> Manifest:
        return await _retrying(lambda: self._attempt(method, path, body, content_type))

    async def _attempt(self, method: str, path: str, body: Manifest | None, content_type: str) -> Manifest:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        problem = None if method == "GET" else self._fence()
        if problem is not None:
            raise UnavailableError(problem)
        code = NO_ANSWER
        try:
            call = await self._client.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await self._client.call_api(*call, _request_timeout=_TIMEOUT)
            code = str(response.status)
            content = await response.response.read()
        except TimeoutError:
            raise UnavailableError("the API server does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"the API server cannot be reached: {error}") from None
        finally:
            self._on_request("apply" if content_type == _APPLY else _VERBS[method], code)
        if response.status >= 400:  # noqa: PLR2004 - RFC 9110: the client and server errors
            raise _error(response.status, content)
        try:
            answer: Manifest = json.loads(content)
        except ValueError:
            raise UnavailableError("the answer is no JSON: something else answers for the API server") from None
        return answer


async def _retrying(attempt: Callable[[], Awaitable[Manifest]]) -> Manifest:
    """Repeat what failed for want of an answer a few times; every write here may be repeated."""
    for delay in RETRY_SECONDS:
        try:
            return await attempt()
        except UnavailableError:
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - spreads retries, no cryptography
    return await attempt()


def _error(status: int, content: bytes) -> KubeError:
    """Return the error for an answer; the message is the API server's own."""
    classes: dict[int, type[KubeError]] = {
        401: UnavailableError,
        403: ForbiddenError,
        404: NotFoundError,
        410: ExpiredError,
        429: UnavailableError,
    }
    body = _status(content)
    message = str(body.get("message", ""))[:_LONGEST_MESSAGE]
    if status == HTTPStatus.CONFLICT:
        return ConflictError(message or "the API server answered 409", fields=_conflicting_fields(body))
    kind = classes.get(status, UnavailableError if status >= 500 else RefusedError)  # noqa: PLR2004 - RFC 9110
    return (RefusedError if message.startswith(_MALFORMED) else kind)(message or f"the API server answered {status}")


def _status(content: bytes) -> Mapping[str, Any]:
    """Return the Status of an answer, {} where there is none."""
    try:
        status: Any = json.loads(content)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _conflicting_fields(status: Mapping[str, Any]) -> list[str]:
    """Return the fields of a conflict (https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts)."""
    causes = (status.get("details") or {}).get("causes") or ()
    return [cause["field"] for cause in causes if cause.get("reason") == "FieldManagerConflict" and cause.get("field")]


def in_cluster() -> bool:
    """Whether the pod's service account is to be used; a kubeconfig file that is named goes before it."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


@asynccontextmanager
async def connect(on_request: Callable[[str, str], None] = lambda _verb, _code: None) -> AsyncIterator[Kube]:
    """Open the API server that the pod's service account or the kubeconfig file names.

    ``on_request`` is told the verb and the status of each request.

    Raises:
        KubeConfigError: there is neither.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = 32
    try:
        if in_cluster():
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # no annotations
        else:
            load = load_kube_config(client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # no annotations
            await load
    except (ConfigException, OSError) as error:
        raise KubeConfigError(f"no access to a Kubernetes API: {error}") from None
    async with ApiClient(configuration) as client:
        client.user_agent = FIELD_MANAGER
        yield Kube(client, on_request=on_request)
