"""The Kubernetes API as the process kubelet needs it: single requests, and lists that are followed by a watch."""

import asyncio
import base64
import contextlib
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from yarl import URL

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]

REQUEST_SECONDS = 10.0
WATCH_SECONDS = 60
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# An object may have 1.5 MiB in etcd, and a watch sends each as one line.
_LINE_BYTES = 4 * 1024 * 1024
# After a restart the server may refuse a valid token or permission until its caches are filled.
_PASSING_STATUSES = frozenset({401, 403, 408, 425, 429})
_STRATEGIC_MERGE = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server did not do what it was asked.

    Attributes:
        status: The HTTP status, 0 if there was no answer.
        reason: The ``reason`` of the answered Status object, e.g. ``NotFound``.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later without anybody changing an object."""
        return self.status == 0 or self.status in _PASSING_STATUSES or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the message says why."""


@dataclass(frozen=True)
class Credentials:
    """How to reach and convince an API server."""

    server: URL
    token: str = field(repr=False)
    certificate_authority: str | None = None
    """PEM certificates; None means the certificates this machine trusts."""


def read_kubeconfig(path: Path) -> Credentials:
    """The server, token and certificate authority of a kubeconfig's current context.

    Raises:
        KubeconfigError: the file is not a kubeconfig or does not use a token.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        authority = None
        if "certificate-authority-data" in cluster:
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        elif "certificate-authority" in cluster:
            authority = (path.parent / cluster["certificate-authority"]).read_text(encoding="ascii")
        return Credentials(server=URL(cluster["server"]), token=user["token"], certificate_authority=authority)
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path} is not a kubeconfig with a token: {type(error).__name__}: {error}") from error


def _named(entries: list[Manifest], name: str) -> Manifest:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KubeconfigError(f"there is no entry named {name}")


class Backoff:
    """Pauses between attempts: doubled each time, at most 2 s, spread by a fifth."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE_SECONDS

    async def pause(self) -> None:
        """Waits until the next attempt is due."""
        seconds = self._next * random.uniform(0.8, 1.0)
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(seconds)

    def reset(self) -> None:
        """Says that an attempt has succeeded."""
        self._next = FIRST_PAUSE_SECONDS


class Api:
    """One client of an API server, usable while the server is away: requests then fail with a passing error."""

    def __init__(self, credentials: Credentials) -> None:
        self.server = credentials.server
        self._headers = {"Authorization": f"Bearer {credentials.token}", "User-Agent": "process-kubelet"}
        self._tls = ssl.create_default_context(cadata=credentials.certificate_authority)
        self._session: aiohttp.ClientSession | None = None
        self._away_since: float | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            read_bufsize=_LINE_BYTES,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, *, body: Manifest | None = None, parameters: Mapping[str, str] | None = None
    ) -> Manifest:
        """One request.

        Args:
            method: The HTTP method; PATCH sends a strategic merge patch.
            path: Path below the server's address, with a leading slash.
            body: The object to send.
            parameters: Query parameters.

        Raises:
            ApiError: no answer within 10 s, or another status than 2xx.
        """
        content_type = _STRATEGIC_MERGE if method == "PATCH" else "application/json"
        try:
            async with self._open_session.request(
                method,
                self.server.join(URL(path)),
                data=None if body is None else json.dumps(body).encode(),
                params=parameters,
                headers={"Content-Type": content_type},
            ) as response:
                answer = await response.read()
                self._note_answer()
                return _checked(response.status, answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._absent(error) from error

    async def persist(
        self, method: str, path: str, *, body: Manifest | None = None, parameters: Mapping[str, str] | None = None
    ) -> Manifest:
        """The same as :meth:`request`, repeated until the answer is final.

        Raises:
            ApiError: an answer that will not change by itself, e.g. NotFound or Conflict.
        """
        backoff = Backoff()
        while True:
            try:
                return await self.request(method, path, body=body, parameters=parameters)
            except ApiError as error:
                if not error.passing:
                    raise
            await backoff.pause()

    async def find(self, path: str) -> Manifest | None:
        """The object at a path, None if there is none.

        Raises:
            ApiError: as :meth:`request`.
        """
        try:
            return await self.request("GET", path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def follow(
        self,
        path: str,
        *,
        field_selector: str,
        replace: Callable[[list[Manifest]], None],
        change: Callable[[str, Manifest], None],
    ) -> None:
        """Lists objects and follows their changes until it is cancelled.

        Args:
            path: Path of the resource, e.g. ``/api/v1/pods``.
            field_selector: Which objects.
            replace: Gets all objects after every list.
            change: Gets ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object.
        """
        backoff = Backoff()
        version: str | None = None
        while True:
            try:
                if version is None:
                    listing = await self.request("GET", path, parameters={"fieldSelector": field_selector})
                    replace(listing.get("items") or [])
                    version = listing["metadata"]["resourceVersion"]
                async with contextlib.aclosing(self._watch(path, field_selector, version)) as events:
                    async for kind, item in events:
                        version = item["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            change(kind, item)
                backoff.reset()
            except ApiError as error:
                if not error.passing:
                    # 410: the version has been compacted away; anything else final may as well be the version's fault.
                    version = None
            await backoff.pause()

    async def _watch(self, path: str, field_selector: str, version: str) -> AsyncGenerator[tuple[str, Manifest], None]:
        parameters = {
            "fieldSelector": field_selector,
            "resourceVersion": version,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        # A frozen server is noticed a little after the watch should have ended.
        limits = aiohttp.ClientTimeout(total=WATCH_SECONDS + REQUEST_SECONDS, sock_connect=REQUEST_SECONDS)
        try:
            async with self._open_session.get(
                self.server.join(URL(path)), params=parameters, timeout=limits
            ) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    _checked(response.status, await response.read())
                self._note_answer()
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(
                            status.get("message", ""), status=status.get("code", 0), reason=status.get("reason", "")
                        )
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._absent(error) from error

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the API client is used outside its context")
        return self._session

    def _absent(self, error: BaseException) -> ApiError:
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning("the API server does not answer: %s: %s", type(error).__name__, error)
        return ApiError(f"no answer: {type(error).__name__}")

    def _note_answer(self) -> None:
        if self._away_since is not None:
            logger.info("the API server answers again after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None


def _checked(status: int, answer: bytes) -> Manifest:
    try:
        content = json.loads(answer)
    except ValueError:
        content = {}
    if not isinstance(content, dict):
        content = {}
    if status >= HTTPStatus.BAD_REQUEST:
        message = str(content.get("message") or answer[:200].decode(errors="replace"))
        raise ApiError(message, status=status, reason=str(content.get("reason", "")))
    return content
