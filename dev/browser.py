"""A headless Chromium that opens pages and tells what they did: messages, requests, sizes, a picture.

It is driven by the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/) over its WebSocket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from dev.debian import debian_program
from dev.processes import ManagedProcess, ProcessError

_START_SECONDS = 30.0
_ANSWER_SECONDS = 20.0
_LARGEST_ANSWER = 64 * 1024 * 1024
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--mute-audio",
)


class BrowserError(RuntimeError):
    """The browser does not start, or refuses a command."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How a page is looked at; the size is in CSS pixels."""

    width: int = 1280
    height: int = 900
    dark: bool = False
    scripts: bool = True
    whole: bool = True
    """Whether a picture shows the whole page, and not only its first screen."""


@dataclass(kw_only=True)
class Visit:
    """What was seen of a page.

    Attributes:
        status: HTTP status of the page itself.
        requests: Addresses of everything that it asked for, the page itself first.
        messages: What it wrote to the console, errors of the browser included.
        picture: A PNG.
    """

    _session: Session
    status: int = 0
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    picture: bytes = b""

    async def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = await self._session.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails'].get('text')}")
        return answer["result"].get("value")


class Browser:
    """A running Chromium; use `open_browser`."""

    def __init__(self, connection: _Connection) -> None:
        """Take over an open connection."""
        self._connection = connection

    @contextlib.asynccontextmanager
    async def visit(self, url: str, view: View | None = None) -> AsyncIterator[Visit]:
        """Open a page in a window of its own, without cookies or cache, and wait until it is loaded."""
        seen = view or View()
        send = self._connection.send
        context = (await send("Target.createBrowserContext"))["browserContextId"]
        try:
            target = (await send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
            attached = await send("Target.attachToTarget", targetId=target, flatten=True)
            session = Session(self._connection, attached["sessionId"])
            visit = Visit(_session=session)
            loaded = asyncio.Event()
            self._connection.listeners[session.id] = lambda method, values: _note(visit, loaded, method, values)
            await _prepare(session, seen)
            answer = await session.send("Page.navigate", url=url)
            if "errorText" in answer:
                raise BrowserError(f"{url}: {answer['errorText']}")
            async with asyncio.timeout(_ANSWER_SECONDS):
                await loaded.wait()
            picture = await session.send("Page.captureScreenshot", captureBeyondViewport=seen.whole)
            visit.picture = base64.b64decode(picture["data"])
            yield visit
        finally:
            await send("Target.disposeBrowserContext", browserContextId=context)


@contextlib.asynccontextmanager
async def open_browser(directory: Path) -> AsyncIterator[Browser]:
    """Start Chromium with an empty profile below the directory, and end it.

    Raises:
        ToolchainError: there is no Chromium, and it cannot be installed.
        BrowserError: it does not start.
    """
    program = debian_program("chromium", "chromium")
    profile = directory / "profile"
    # The sandbox needs user namespaces, which a container's root often does not have; the pages are our own.
    options = [*_OPTIONS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    process = ManagedProcess(
        "chromium",
        [str(program), *options, "about:blank"],
        log=directory / "chromium.log",
        environment={**os.environ, "HOME": str(directory)},
    )
    port_file = profile / "DevToolsActivePort"
    try:
        await asyncio.to_thread(_start, process, port_file)
        port, path = port_file.read_text(encoding="utf-8").split()
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=_LARGEST_ANSWER) as socket,
            _Connection(socket) as connection,
        ):
            yield Browser(connection)
    finally:
        await asyncio.to_thread(process.kill)


def _start(process: ManagedProcess, port_file: Path) -> None:
    try:
        process.start()
        process.wait_ready(lambda: port_file.exists() and b"\n" in port_file.read_bytes(), timeout=_START_SECONDS)
    except ProcessError as error:
        raise BrowserError(str(error)) from error


class _Connection:
    """Commands and their answers, and events to those who listen, by session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self.listeners: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def send(self, method: str, *, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise BrowserError(f"{method}: no answer within {_ANSWER_SECONDS:g} s") from None
        finally:
            del self._waiting[number]

    async def _read(self) -> None:
        async for frame in self._socket:
            message = frame.json()
            waiting = self._waiting.get(message.get("id", 0))
            if waiting is not None and not waiting.done():
                if "error" in message:
                    waiting.set_exception(BrowserError(str(message["error"])))
                else:
                    waiting.set_result(message["result"])
            elif (listener := self.listeners.get(message.get("sessionId", ""))) is not None:
                listener(message.get("method", ""), message.get("params", {}))


@dataclass(frozen=True)
class Session:
    """Commands to one page."""

    connection: _Connection
    id: str

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        return await self.connection.send(method, session=self.id, **parameters)


async def _prepare(session: Session, view: View) -> None:
    for domain in ("Page", "Network", "Log", "Runtime"):
        await session.send(f"{domain}.enable")
    await session.send("Emulation.setScriptExecutionDisabled", value=not view.scripts)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}
    await session.send("Emulation.setEmulatedMedia", features=[scheme])
    await session.send(
        "Emulation.setDeviceMetricsOverride",
        width=view.width,
        height=view.height,
        deviceScaleFactor=1,
        mobile=False,
    )


def _note(visit: Visit, loaded: asyncio.Event, method: str, values: Mapping[str, Any]) -> None:
    match method:
        case "Network.requestWillBeSent":
            visit.requests.append(values["request"]["url"])
        case "Network.responseReceived" if values["type"] == "Document":
            visit.status = values["response"]["status"]
        case "Log.entryAdded":
            visit.messages.append(values["entry"]["text"])
        case "Runtime.consoleAPICalled":
            visit.messages.append(" ".join(str(item.get("value")) for item in values["args"]))
        case "Runtime.exceptionThrown":
            visit.messages.append(values["exceptionDetails"]["text"])
        case "Page.loadEventFired":
            loaded.set()
