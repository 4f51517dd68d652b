"""Local servers that behave as badly as a node can."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from b3lb.bbb.client import NodeTarget

SECRET = "a-secret-that-nobody-may-read"
EMPTY = b"<response><returncode>SUCCESS</returncode><meetings/><messageKey>noMeetings</messageKey></response>"
ONE = (
    b"<response><returncode>SUCCESS</returncode><meetings><meeting><internalMeetingID>m-1</internalMeetingID>"
    b"<participantCount>3</participantCount></meeting></meetings></response>"
)

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes = b"", *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """Return a complete HTTP answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sends(*pieces: bytes, pause: float = 0.0) -> Behaviour:
    """Send the pieces and keep the connection."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def closes(*pieces: bytes, pause: float = 0.0, reset: bool = False) -> Behaviour:
    """Send the pieces and close the connection, or reset it."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await sends(*pieces, pause=pause)(writer)
        if reset:
            await asyncio.sleep(0.05)
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()

    return behave


def hangs(*pieces: bytes) -> Behaviour:
    """Send the pieces and then nothing more."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await sends(*pieces)(writer)
        await asyncio.sleep(3600)

    return behave


def drips(piece: bytes, *, start: bytes = b"", pause: float = 0.01) -> Behaviour:
    """Send ``piece`` again and again, for ever."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await sends(start)(writer)
        while True:
            await sends(piece, pause=pause)(writer)

    return behave


@dataclass
class FakeNode:
    """A server with one behaviour for getMeetings and one for everything else."""

    meetings: Behaviour
    load: Behaviour = field(default_factory=lambda: sends(http(b"2500")))
    port: int = 0
    scheme: str = "http"
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.open_now += 1
        self.all_closed.clear()
        self.open_most = max(self.open_most, self.open_now)
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests.append(head)
                behaviour = self.meetings if "/getMeetings?" in head.split("\r\n", 1)[0] else self.load
                await behaviour(writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.open_now -= 1
            if not self.open_now:
                self.all_closed.set()
            writer.close()

    def target(self, *, host: str = "127.0.0.1", timeout: float = 2.0, ca: str | None = None) -> NodeTarget:
        """Return this server as the target of a poll."""
        base = f"{self.scheme}://{host}:{self.port}"
        return NodeTarget(
            name="bbb1",
            api_url=f"{base}/bigbluebutton/api",
            load_url=f"{base}/b3lb/load",
            secret=SECRET,
            algorithm="sha256",
            ca_certificates=ca,
            timeout_seconds=timeout,
        )


@asynccontextmanager
async def running(*nodes: FakeNode, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve the nodes, each at a port of its own."""
    tasks: set[asyncio.Task[None]] = set()

    def accepts(node: FakeNode) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(node.serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return accept

    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            server = await asyncio.start_server(accepts(node), "127.0.0.1", 0, ssl=context, backlog=512)
            stack.callback(server.close)
            node.port = server.sockets[0].getsockname()[1]
            node.scheme = "https" if context else "http"
        try:
            yield
        finally:
            remaining = list(tasks)
            for task in remaining:
                task.cancel()
            await asyncio.gather(*remaining, return_exceptions=True)
            await asyncio.sleep(0)
