"""A second port for the cluster's own: probes and metrics, out of reach of whoever plays and uploads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from b3lb_api.backend import Backend, UnavailableError
from b3lb_api.connection import Connection
from b3lb_api.instruments import Instruments


class _Server(uvicorn.Server):
    """A server beside another one, to which the process's signals belong."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def probe_routes(backend: Backend) -> list[Route]:
    """Return ``/livez`` (restart me) and ``/readyz`` (uploads can be taken)."""

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        try:
            await backend.check()
        except UnavailableError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return PlainTextResponse("ok\n")

    return [Route("/livez", live, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


def management_app(backend: Backend, instruments: Instruments) -> Starlette:
    """Return the application: the probes, and ``/metrics`` in Prometheus' text format."""

    async def metrics(_request: Request) -> Response:
        return Response(instruments.text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return Starlette(routes=[*probe_routes(backend), Route("/metrics", metrics, methods=["GET"])])


@asynccontextmanager
async def serving(app: Starlette, *, address: str, port: int) -> AsyncIterator[None]:
    """Serve until the block ends.

    Raises:
        OSError: It cannot listen there.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, port), family=family)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="management")
    try:
        yield
    finally:
        server.should_exit = True
        await task
        listening.close()
