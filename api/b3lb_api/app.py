"""The front end as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from b3lb.storage.interface import Storage
from b3lb_api.backend import Backend, UnavailableError
from b3lb_api.settings import ApiSettings
from b3lb_api.upload import UploadLimits, Uploads

UPLOAD_PATH = "/b3lb/b/record/upload"


def create_app(settings: ApiSettings, storage: Storage) -> Starlette:
    """Return the application; it connects when it is first asked for something."""
    backend = Backend(settings, storage)
    uploads = Uploads(
        backend,
        UploadLimits(
            archive_bytes=settings.upload_max_bytes,
            at_once=settings.uploads_at_once,
            idle_seconds=settings.upload_idle_seconds,
        ),
    )

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        try:
            await backend.check()
        except UnavailableError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return PlainTextResponse("ok\n")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await backend.close()

    async def upload(request: Request) -> Response:
        return await uploads(request)

    routes = [
        Route(UPLOAD_PATH, upload, methods=["POST"]),
        Route("/livez", live, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
