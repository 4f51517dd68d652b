"""Published videos in database and storage, and players that ask for them."""

import hashlib
import http.client
import socket
from collections.abc import Mapping
from typing import NamedTuple

from b3lb.storage.interface import Storage
from dev.processes import http_answer
from tests.integration.recordings_stage import Recordings
from tests.integration.upload_server import Server

POSTER = b"\x89PNG a picture"


class Told(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def put(storage: Storage, key: str, data: bytes) -> None:
    with storage.create(key) as writer:
        writer.write(data)
        writer.publish()


def publish(recordings: Recordings, storage: Storage, record_id: str, data: bytes, *, name: str = "Lecture") -> str:
    """Add a rendered recording with a video and a poster; return its nonce."""
    put(storage, f"sets/{record_id}/video.mp4", data)
    put(storage, f"sets/{record_id}/poster.png", POSTER)
    found = recordings.add(record_id)
    recordings.farm.run(
        "UPDATE records SET file_key = :key, poster_key = :poster, file_bytes = :size, file_sha256 = :sha256,"
        " content_type = 'video/mp4', duration_milliseconds = 1000 WHERE record_set_id = :id",
        key=f"sets/{record_id}/video.mp4",
        poster=f"sets/{record_id}/poster.png",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        id=found,
    )
    recordings.farm.run("UPDATE record_sets SET meeting_name = :name WHERE id = :id", name=name, id=found)
    return f"nonce-default-{record_id}"


def ask(server: Server, path: str, *, method: str = "GET", **headers: str) -> Told:
    """Ask for something; header names are written with underscores."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Told(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def begin(server: Server, path: str) -> socket.socket:
    """Ask for something on a bare connection whose answer nobody reads yet."""
    opened = socket.create_connection((server.host, server.port), timeout=20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    opened.sendall(f"GET {path} HTTP/1.1\r\nHost: b3lb\r\n\r\n".encode())
    return opened


def figures(port: int) -> dict[str, float]:
    """Return the front end's metrics by series."""
    status, text = http_answer(port, "/metrics")
    assert status == 200
    lines = [line for line in text.splitlines() if line.startswith("b3lb_api_")]
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}
