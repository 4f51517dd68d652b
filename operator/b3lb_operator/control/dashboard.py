"""``/dashboard``: the documents as pages for a browser, behind the same token."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

from b3lb.dashboard.documents import Document
from b3lb.dashboard.site import DocumentError, Refusal, site
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import ControlError, Question, check_parameters
from b3lb_operator.control.routes import ROUTES, Route
from b3lb_operator.control.token import opens

PREFIX = "/dashboard"
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="b3lb", charset="UTF-8"'}

_log = structlog.stdlib.get_logger(__name__)


def add_dashboard(app: web.Application, *, token: str, farms: Farms) -> None:
    """Serve the pages to whoever sends the token as the password of HTTP Basic (RFC 7617), with any user name."""

    async def redirect(_: web.Request) -> web.StreamResponse:
        # Relative, so that it also leads there behind a proxy that adds a path.
        raise web.HTTPFound(location=f"{PREFIX[1:]}/")

    async def ask(path: str, query: Mapping[str, str]) -> Document:
        return await document(farms, path, query)

    app.router.add_get(PREFIX, redirect)
    app.add_subapp(PREFIX, site(ask, lambda request: _refusal(token, request)))


async def document(farms: Farms, path: str, query: Mapping[str, str]) -> Document:
    """Return the document at a path below ``/control/v1``.

    Raises:
        DocumentError: There is none.
    """
    if not farms.shows:
        problem = next((problem for check in farms.ready if (problem := check()) is not None), None)
        message = f"This operator does not work yet: {problem}" if problem else "This operator stands by: another leads"
        raise DocumentError(HTTPStatus.SERVICE_UNAVAILABLE, message)
    for route in ROUTES:
        parameters = _matched(route, path)
        if parameters is None:
            continue
        try:
            found = check_parameters(query.items(), route.parameters)
            return await route.document(farms, Question(parameters, found))
        except ControlError as error:
            raise DocumentError(error.status, str(error)) from None
        except Exception as error:  # noqa: BLE001 - a bug in one document must not look like a network fault
            _log.error("a document failed", path=path, exc_info=error)
            message = "The operator failed to answer: its log says why"
            raise DocumentError(HTTPStatus.INTERNAL_SERVER_ERROR, message) from None
    raise DocumentError(HTTPStatus.NOT_FOUND, f"There is no document {path}")


def _matched(route: Route, path: str) -> dict[str, str] | None:
    """Return the parameters of a path that fits a route's, None for one that does not."""
    wanted, given = route.path.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    pairs = list(zip(wanted, given, strict=True))
    if any(part != found for part, found in pairs if not part.startswith("{")):
        return None
    return {part[1:-1]: found for part, found in pairs if part.startswith("{")}


def _refusal(token: str, request: web.Request) -> Refusal | None:
    password = _password(request.headers.get("Authorization", ""))
    if opens(token, password):
        return None
    message = "Log in with any user name and the token of the installation's control Secret as the password."
    return Refusal(HTTPStatus.UNAUTHORIZED, message, _CHALLENGE)


def _password(header: str) -> str | None:
    """Return the password of a header ``Authorization: Basic …``, None if it is another one."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, separator, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if separator else None
