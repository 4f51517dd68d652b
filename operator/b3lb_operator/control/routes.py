"""The routes below ``/control``: who may ask, what there is, and every answer as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from b3lb.control import CONTROL_PATH, TOKEN_HEADER
from b3lb_operator.control.doctor import doctor
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.nodes import clusters, nodes
from b3lb_operator.control.overview import overview
from b3lb_operator.control.ping import ping
from b3lb_operator.control.questions import ControlError, Question, check_parameters
from b3lb_operator.control.queues import active_queues, queues
from b3lb_operator.control.recordings import audit, callbacks, recording, recordings
from b3lb_operator.control.requests import request_outcome
from b3lb_operator.control.runs import active, run, runs, scheduled
from b3lb_operator.control.tasks import registered, stats
from b3lb_operator.control.tenants import accounting, meetings, tenant_metrics, tenants
from b3lb_operator.control.token import opens
from b3lb_operator.http import Check

_PREFIX, _, _VERSION = CONTROL_PATH.rpartition("/")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Answer = Mapping[str, Any]

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """A document: its path, what makes it, and the parameters that its query may have.

    One that is ``of_standby``, too, can be asked of an operator that stands by, who knows nothing of the farms, and one
    that is ``early`` of an operator that has not listed them yet, for it says so itself.
    """

    path: str
    document: Callable[[Farms, Question], Awaitable[Answer]]
    parameters: Sequence[str] = ("namespace",)
    of_standby: bool = False
    early: bool = False


ROUTES: tuple[Route, ...] = (
    Route("/ping", ping, of_standby=True),
    Route("/queues", queues),
    Route("/active-queues", active_queues),
    Route("/active", active),
    Route("/scheduled", scheduled),
    Route("/registered", registered),
    Route("/stats", stats),
    Route("/runs", runs, ("namespace", "queue", "task", "state", "of", "limit")),
    Route("/runs/{id}", run),
    Route("/nodes", nodes),
    Route("/clusters", clusters),
    Route("/tenants", tenants),
    Route("/tenants/{slug}/metrics", tenant_metrics),
    Route("/accounting", accounting, ("namespace", "tenant", "month")),
    Route("/meetings", meetings, ("namespace", "secret")),
    Route("/recordings", recordings, ("namespace", "tenant", "state", "record", "limit")),
    Route("/recordings/{id}", recording),
    Route("/callbacks", callbacks, ("namespace", "record", "state", "limit")),
    Route("/audit", audit, ("namespace", "record", "action", "limit")),
    Route("/requests/{id}", request_outcome),
    Route("/overview", overview),
    Route("/doctor", doctor, early=True),
)
"""Every document that there is."""


def add_control(app: web.Application, *, token: str | None, farms: Farms | None, waiting: Check = lambda: None) -> None:
    """Serve the documents; without a token nothing is there.

    Args:
        app: Where.
        token: What whoever asks has to know.
        farms: What the documents are made of; None while the operator does not work yet.
        waiting: Says for what it waits then.
    """
    if token is None:
        closed = web.Application()
        closed.router.add_route("*", "/{path:.*}", _closed)
        app.add_subapp(_PREFIX, closed)
        return
    control = web.Application(middlewares=[_middleware(token)])
    for route in ROUTES:
        handler = _waiting_handler(waiting) if farms is None else _handler(route, farms)
        control.router.add_get(f"/{_VERSION}{route.path}", handler)
    control.router.add_route("*", "/{path:.*}", _nothing)
    app.add_subapp(_PREFIX, control)


def _handler(route: Route, farms: Farms) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if not (route.of_standby or farms.shows or (route.early and farms.leads())):
            return _not_working(farms.ready)
        query = check_parameters(request.query.items(), route.parameters)
        return answer(await route.document(farms, Question(dict(request.match_info), query)))

    return handle


def _waiting_handler(waiting: Check) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return _not_working([lambda: waiting() or "it has only just started"])

    return handle


def _not_working(checks: Sequence[Check]) -> web.Response:
    """Return why an operator that does not work has nothing to show."""
    problem = next((problem for check in checks if (problem := check()) is not None), None)
    if problem is not None:
        return answer({"message": f"this operator does not work yet: {problem}"}, HTTPStatus.SERVICE_UNAVAILABLE)
    message = "this operator stands by and another one works: ask again"
    return answer({"message": message, "standby": True}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _closed(_: web.Request) -> web.StreamResponse:
    message = (
        "this operator shows nothing: it was started without B3LB_CONTROL_TOKEN (the chart's control.enabled; if its "
        "Secret came later, restart the operator)"
    )
    return answer({"message": message}, HTTPStatus.NOT_FOUND)


async def _nothing(request: web.Request) -> web.StreamResponse:
    if request.method not in {"GET", "HEAD"}:
        return answer({"message": "nothing can be changed here: use GET"}, HTTPStatus.METHOD_NOT_ALLOWED)
    paths = ", ".join(CONTROL_PATH + route.path for route in ROUTES)
    return answer({"message": f"there is no such document; there are {paths}"}, HTTPStatus.NOT_FOUND)


def _middleware(token: str) -> Middleware:
    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not opens(token, request.headers.get(TOKEN_HEADER)):
            message = f"send the header {TOKEN_HEADER} with the token of the installation's control Secret"
            return answer({"message": message}, HTTPStatus.UNAUTHORIZED)
        try:
            return await handler(request)
        except ControlError as error:
            return answer({"message": str(error)}, error.status)
        except web.HTTPException as error:
            return answer({"message": error.reason}, HTTPStatus(error.status))
        except Exception as error:  # noqa: BLE001 - a bug in one document must not look like a network fault
            _log.error("a document failed", path=request.path, exc_info=error)
            message = "the operator failed to answer: its log says why"
            return answer({"message": message}, HTTPStatus.INTERNAL_SERVER_ERROR)

    return handle


def answer(content: Answer, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return content as JSON in UTF-8 that nobody keeps."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json", headers=_HEADERS)
