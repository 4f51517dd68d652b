"""One node's HTTP server: the BBB API and the load page on an own port of the loopback interface."""

import asyncio
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from dev.farm import checksum, faults, render
from dev.farm.counters import RequestCounter
from dev.farm.messages import Behaviour
from dev.farm.model import Node

HOST: Final = "127.0.0.1"
API_PATH: Final = "/bigbluebutton/api"
LOAD_PATH: Final = "/b3lb/load"
CALLS: Final = frozenset({"getMeetings", "getMeetingInfo", "isMeetingRunning"})
INDEX: Final = "index"
LOAD: Final = "load"
OTHER: Final = "other"
_BACKLOG: Final = 512


def kind_of(path: str) -> str:
    """The kind of request that a path stands for, as the counters name it."""
    if path == LOAD_PATH:
        return LOAD
    call = path.removeprefix(API_PATH)
    if call == path:
        return OTHER
    call = call.removeprefix("/")
    if call in {"", INDEX}:
        return INDEX
    return call if call in CALLS else OTHER


def _bound_socket(port: int) -> socket.socket:
    # SO_REUSEPORT lets a socket that does not listen hold the port while the node refuses connections.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


class NodeServer:
    """A simulated BBB server.

    Args:
        node: its meetings and load.
        secret: the shared secret.
        algorithms: the checksum algorithms that it accepts.
        counter: where it counts its requests.
    """

    def __init__(self, node: Node, *, secret: str, algorithms: Collection[str], counter: RequestCounter) -> None:
        self.node = node
        self.secret = secret
        self.algorithms = frozenset(algorithms)
        self.counter = counter
        self.behaviour = Behaviour.OK
        self.seconds = 1.0
        self.port = 0
        self._released = asyncio.Event()
        self._connections = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._listener: asyncio.Server | None = None
        self._port_holder: socket.socket | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self) -> str:
        """The base URL of the BBB API."""
        return f"{self.origin}{API_PATH}"

    @property
    def load_url(self) -> str:
        """The URL of the load page."""
        return f"{self.origin}{LOAD_PATH}"

    async def start(self) -> None:
        """Listens on a free port."""
        await self._listen()

    async def close(self) -> None:
        """Stops listening and drops all connections."""
        self._release()
        self._close_listener()
        if self._port_holder is not None:
            self._port_holder.close()
            self._port_holder = None

    async def set_behaviour(self, behaviour: Behaviour, seconds: float) -> None:
        """Changes how the node answers; requests that the former behaviour holds back are let go."""
        self.behaviour = behaviour
        self.seconds = seconds
        self._release()
        if behaviour is Behaviour.REFUSED:
            if self._listener is not None:
                self._port_holder = _bound_socket(self.port)
                self._close_listener()
        elif self._listener is None:
            await self._listen()

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def _listen(self) -> None:
        bound = _bound_socket(self.port)
        self.port = bound.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connections, sock=bound, backlog=_BACKLOG)
        if self._port_holder is not None:
            self._port_holder.close()
            self._port_holder = None

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._connections.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        kind = kind_of(path)
        with self.counter.track(kind):
            # A client that has gone away is no fault of the node.
            with suppress(ConnectionError):
                response = await self._respond(request, kind, query=query)
                if not response.prepared:
                    response.headers["Date"] = formatdate(time.time() + self.node.clock_offset, usegmt=True)
                await response.prepare(request)
                await response.write_eof()
                return response
            return web.Response(status=500)

    async def _respond(self, request: web.BaseRequest, kind: str, *, query: str) -> web.StreamResponse:
        released = self._released
        match self.behaviour:
            case Behaviour.HANG:
                await released.wait()
                faults.hang_up(request)
            case Behaviour.SLOW:
                await faults.wait(released, self.seconds)
            case Behaviour.TOO_LARGE:
                return await faults.endless(request, released)
            case Behaviour.DRIP:
                answer = self._answer(request, kind, query=query)
                return await faults.drip(request, answer, seconds=self.seconds, released=released)
            case _:
                pass
        return self._answer(request, kind, query=query)

    def _answer(self, request: web.BaseRequest, kind: str, *, query: str) -> web.Response:
        answer = faults.whole_answer(self.behaviour, request.raw_path)
        if answer is not None:
            return answer
        if request.method != "GET":
            return web.Response(status=405, headers={"Allow": "GET"})
        if kind == LOAD:
            return faults.load_answer(self.behaviour, self.node.load)
        if not request.raw_path.startswith(API_PATH):
            return web.Response(status=404, text="Not Found\n")
        if self.behaviour is Behaviour.INVALID_XML:
            return faults.broken_xml()
        return faults.xml(self._api(kind, query))

    def _api(self, kind: str, query: str) -> bytes:
        if self.behaviour is Behaviour.API_ERROR:
            return render.failed("internalError", "An internal error occurred")
        if kind == INDEX:
            return render.version(self.origin)
        if kind == OTHER:
            return render.failed("unsupportedRequest", "This request is not supported.")
        # The other secret is one that nobody can have signed with.
        secret = f"\0{self.secret}" if self.behaviour is Behaviour.WRONG_SECRET else self.secret
        if not checksum.is_valid(kind, query, secret=secret, algorithms=self.algorithms):
            return render.failed("checksumError", "Checksums do not match")
        if kind == "getMeetings":
            return render.get_meetings(self.node)
        return self._about_meeting(kind, query)

    def _about_meeting(self, kind: str, query: str) -> bytes:
        meeting_id = parse_qs(query).get("meetingID", [""])[0]
        if not meeting_id:
            return render.failed("missingParamMeetingID", "You must specify a meeting ID for the meeting.")
        meeting = self.node.meetings.get(meeting_id)
        if kind == "isMeetingRunning":
            return render.is_meeting_running(running=meeting is not None and meeting.running)
        if meeting is None:
            return render.failed("notFound", "A meeting with that ID does not exist")
        return render.get_meeting_info(meeting)
