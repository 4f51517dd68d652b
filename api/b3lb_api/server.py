"""The HTTP server: uvicorn, without an access log, for the addresses of uploads and videos are secrets."""

from __future__ import annotations

import logging
import signal
from types import FrameType

import uvicorn

from b3lb.storage.interface import Storage
from b3lb_api.app import create_app
from b3lb_api.connection import Connection
from b3lb_api.settings import ApiSettings

MOST_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 15


_BROKEN_OFF = "ASGI callable returned without completing response."


def _is_news(record: logging.LogRecord) -> bool:
    """Whether uvicorn says what nobody else does: a video that is not sent whole is counted and told by playback."""
    return record.msg != _BROKEN_OFF


def create_server(settings: ApiSettings, storage: Storage) -> uvicorn.Server:
    """Return the server; nothing listens yet."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = uvicorn.Config(
        create_app(settings, storage),
        host=settings.http_address,
        port=settings.http_port,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    return uvicorn.Server(config)


def serve(settings: ApiSettings, storage: Storage) -> bool:
    """Serve until SIGTERM or SIGINT; return whether the server could start at all."""
    server = create_server(settings, storage)

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal that ended it once more, for the handler that was there before.
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        server.run()
    except SystemExit:
        # uvicorn's own way to say that it cannot listen; it has logged why.
        return False
    return server.started
