"""The front end as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from b3lb.storage.interface import Storage
from b3lb_api.backend import Backend
from b3lb_api.instruments import Instruments
from b3lb_api.management import management_app, probe_routes, serving
from b3lb_api.playback import Kind, Playback
from b3lb_api.settings import ApiSettings
from b3lb_api.upload import UploadLimits, Uploads

UPLOAD_PATH = "/b3lb/b/record/upload"
PLAYBACK_PATH = "/b3lb/r/{nonce}"
POSTER_PATH = f"{PLAYBACK_PATH}/poster"


class _Shown:
    """An end point of `Playback`; an object, for a function would be given no way to send a stream."""

    def __init__(self, playback: Playback, kind: Kind) -> None:
        self._answer = partial(playback.answer, kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)


def create_app(settings: ApiSettings, storage: Storage) -> Starlette:
    """Return the application; it connects when it is first asked for something."""
    instruments = Instruments()
    backend = Backend(settings, storage)
    limits = UploadLimits(
        archive_bytes=settings.upload_max_bytes,
        at_once=settings.uploads_at_once,
        idle_seconds=settings.upload_idle_seconds,
    )
    uploads = Uploads(backend, limits, instruments)
    playback = Playback(backend, settings, instruments)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(backend.close)
            if settings.metrics_port is not None:
                beside = management_app(backend, instruments)
                serves = serving(beside, address=settings.http_address, port=settings.metrics_port)
                await stack.enter_async_context(serves)
            yield

    async def upload(request: Request) -> Response:
        return await uploads(request)

    routes = [
        Route(UPLOAD_PATH, upload, methods=["POST"]),
        Route(POSTER_PATH, _Shown(playback, Kind.POSTER)),
        Route(PLAYBACK_PATH, _Shown(playback, Kind.VIDEO)),
        *probe_routes(backend),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
