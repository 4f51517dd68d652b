"""Serves the pages of ``b3lb dashboard`` at the loopback address, with documents that the command's client fetches."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from b3lb.dashboard.documents import Document
from b3lb.dashboard.site import Ask, DocumentError, Guard, Refusal, site
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.source import operator

ADDRESS = "127.0.0.1"
_HTTP_PORT = 80
_STATUSES = {
    ExitCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ExitCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def execute(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C.

    Raises:
        CommandError: The operator cannot be asked, or the port is taken.
    """
    client, namespace = operator(options), farm_namespace(options)
    # What is wrong is said here and not only in the browser.
    client.get("/ping")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(documents(client.get, namespace), port=options.port, browser=not options.no_browser))


def documents(get: Callable[..., dict[str, Any]], namespace: str | None) -> Ask:
    """Return what asks by a blocking client, one question at a time, for one namespace if it is given."""
    turn = asyncio.Lock()

    async def ask(path: str, query: Mapping[str, str]) -> Document:
        wanted = {"namespace": namespace, **query} if namespace else dict(query)
        try:
            async with turn:
                return await asyncio.to_thread(get, path, **wanted)
        except CommandError as error:
            raise DocumentError(_STATUSES.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE), str(error)) from None

    return ask


def loopback_only(port: int) -> Guard:
    """Return what refuses requests by another name than this machine's own.

    A web site whose name is made to lead to 127.0.0.1 (DNS rebinding) could read the pages otherwise.
    """
    names = ("localhost", ADDRESS)
    # Browsers leave out the port that is HTTP's own.
    allowed = {f"{name}:{port}" for name in names} | (set(names) if port == _HTTP_PORT else set())

    def guard(request: web.Request) -> Refusal | None:
        if request.host.lower() in allowed:
            return None
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, f"This page is at http://localhost:{port}/ only.")

    return guard


async def _serve(ask: Ask, *, port: int, browser: bool) -> None:
    chosen: list[int] = []

    def guard(request: web.Request) -> Refusal | None:
        return loopback_only(chosen[0])(request)

    runner = web.AppRunner(site(ask, guard), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, ADDRESS, port).start()
        except OSError as error:
            message = f"port {port} cannot be used ({error.strerror}): choose another one with --port"
            raise CommandError(ExitCode.CONFIGURATION, message) from None
        chosen.append(runner.addresses[0][1])
        url = f"http://localhost:{chosen[0]}/"
        sys.stdout.write(f"the farm is at {url} until Ctrl-C\n")
        sys.stdout.flush()
        if browser and _has_screen():
            await asyncio.to_thread(webbrowser.open, url)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _has_screen() -> bool:
    """Whether a browser gets a window of its own: one for terminals would take over this one."""
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
