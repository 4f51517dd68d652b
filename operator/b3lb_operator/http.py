"""``/livez`` (restart me) and ``/readyz`` (I do my work) for Kubernetes' probes, ``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""


Page = Callable[[], Awaitable[bytes]]
"""Returns the metrics in Prometheus' text format 0.0.4."""


def problems(checks: Iterable[Check]) -> list[str]:
    """Return all that is wrong."""
    return [problem for check in checks if (problem := check()) is not None]


def application(*, live: Sequence[Check], ready: Sequence[Check], metrics: Page) -> web.Application:
    """Return the application; every answer is plain text: what fails, 200 or 503, or the metrics, always 200."""
    app = web.Application()
    app.router.add_get("/livez", _handler(live))
    app.router.add_get("/readyz", _handler(ready))
    app.router.add_get("/metrics", _metrics_handler(metrics))
    return app


def _metrics_handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=await page(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return handle


def _handler(checks: Sequence[Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_: web.Request) -> web.StreamResponse:
        found = problems(checks)
        text = "\n".join(found) if found else "ok"
        return web.Response(text=text + "\n", status=503 if found else 200)

    return handle


@asynccontextmanager
async def serve(app: web.Application, *, address: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, which is chosen when ``port`` is 0."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
