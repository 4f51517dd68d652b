"""The Service ``kubernetes`` under its own port: clients in a pod expect ``https://kubernetes.default.svc``."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

logger = logging.getLogger(__name__)

SERVICE = ("default", "kubernetes")
PORT = 443
_CHUNK_BYTES = 65536


class Gateway:
    """Passes TCP connections to an address of the node on to the API server."""

    def __init__(self, host: str, port: int) -> None:
        """Takes the API server's address."""
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def listen(self, address: str) -> AsyncIterator[bool]:
        """Listens on port 443 of an address; gives whether that is possible (some systems leave it to root)."""
        try:
            server = await asyncio.start_server(self._serve, address, PORT)
        except OSError as error:
            logger.warning("kubernetes.default.svc has no address: %s", error)
            yield False
            return
        try:
            yield True
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._tracked(writer), contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            with self._tracked(server_writer):
                await asyncio.gather(_pass_on(reader, server_writer), _pass_on(server_reader, writer))

    @contextlib.contextmanager
    def _tracked(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        # The other direction ends when its own sender has nothing more to say, or with the connection.
        with contextlib.suppress(OSError):
            writer.write_eof()
