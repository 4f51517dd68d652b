"""The pages over HTTP, for whoever can get the operator's documents: the operator itself, or a command beside a person.

Every answer is HTML. Nothing can be written: there is no method but GET and HEAD.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from b3lb.dashboard.documents import Document
from b3lb.dashboard.pages import HEADERS, node_page, overview_page, problem_page, queue_page, run_page

T = TypeVar("T")

Ask = Callable[[str, Mapping[str, str]], Awaitable[Document]]
"""Returns the document at a path below ``/control/v1`` for the parameters of a query; raises `DocumentError`."""

_RUNS = "50"


class DocumentError(Exception):
    """There is no document; the message is one line for people that says what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no page."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


Guard = Callable[[web.Request], Refusal | None]
"""Decides before anything else whether a request is answered."""


def site(ask: Ask, guard: Guard) -> web.Application:
    """Return the pages: ``/``, ``/queues/NAMESPACE/NAME``, ``/nodes/NAMESPACE/NAME`` and ``/runs/ID``."""
    app = web.Application(middlewares=[_middleware(guard)])
    app.router.add_get("/", _page(_overview, ask))
    app.router.add_get("/queues/{namespace}/{name}", _page(_queue, ask))
    app.router.add_get("/nodes/{namespace}/{name}", _page(_node, ask))
    app.router.add_get("/runs/{id}", _page(_run, ask))
    return app


Show = Callable[[Ask, web.Request, bool], Awaitable[str]]


def _page(show: Show, ask: Ask) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _answer(await show(ask, request, request.query.get("refresh") != "off"))

    return handle


async def _overview(ask: Ask, _request: web.Request, refresh: bool) -> str:
    return await _rendered(overview_page, await ask("/overview", {}), refresh=refresh)


async def _queue(ask: Ask, request: web.Request, refresh: bool) -> str:
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    wanted = {"namespace": namespace, "queue": name, "limit": _RUNS}
    overview, runs = await asyncio.gather(ask("/overview", {}), ask("/runs", wanted))
    return _existing(
        await _rendered(queue_page, overview, runs, namespace=namespace, name=name, refresh=refresh),
        "There is no such BBBQueue.",
    )


async def _node(ask: Ask, request: web.Request, refresh: bool) -> str:
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    overview = await ask("/overview", {})
    page = await _rendered(node_page, overview, namespace=namespace, name=name, refresh=refresh)
    return _existing(page, "There is no such BBBNode.")


async def _run(ask: Ask, request: web.Request, refresh: bool) -> str:
    try:
        run_id = UUID(request.match_info["id"])
    except ValueError:
        raise DocumentError(HTTPStatus.NOT_FOUND, "The ID of a run is a UUID.") from None
    namespace = request.query.get("namespace")
    document = await ask(f"/runs/{run_id}", {"namespace": namespace} if namespace else {})
    return await _rendered(run_page, document, now=datetime.now(UTC), refresh=refresh)


async def _rendered(make: Callable[..., T], *documents: Document, **options: object) -> T:
    """Make a page in a thread: that of a large farm takes a moment, in which others have their turns."""
    return await asyncio.to_thread(functools.partial(make, *documents, **options))


def _existing(page: str | None, message: str) -> str:
    if page is None:
        raise DocumentError(HTTPStatus.NOT_FOUND, message)
    return page


def _middleware(guard: Guard) -> Middleware:
    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = guard(request)
        if refusal is not None:
            return _problem(request, refusal.status, refusal.message, refusal.headers)
        try:
            return await handler(request)
        except DocumentError as error:
            return _problem(request, error.status, str(error))
        except web.HTTPException as error:
            # 405 names the methods that there are.
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _problem(request, error.status, error.reason, allowed)

    return handle


def _problem(request: web.Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    # What passes by itself is worth another look.
    refresh = status == HTTPStatus.SERVICE_UNAVAILABLE and request.query.get("refresh") != "off"
    page = problem_page(status, message, root=_root(request), refresh=refresh)
    return _answer(page, status=status, headers=headers)


def _root(request: web.Request) -> str:
    """Return the way from a page back to the first one, as deep as its path below this application."""
    resource = request.match_info.route.resource
    depth = 0 if resource is None else resource.canonical.count("{")
    return "../" * depth or "./"


def _answer(page: str, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        text=page, status=status, content_type="text/html", charset="utf-8", headers={**HEADERS, **(headers or {})}
    )
