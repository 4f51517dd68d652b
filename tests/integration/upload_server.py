"""The front end in a thread, a node that uploads to it, and what both agreed on."""

import http.client
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.storage.interface import Storage
from b3lb_api.server import create_server
from b3lb_api.settings import ApiSettings
from tests.integration.database_farm import Farm

NONCE = "a-nonce-of-tests"
RECORD_ID = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1462807897120"
BOUNDARY = "----------------------------d74496d66958873e"


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def metadata_xml(
    record_id: str = RECORD_ID, meeting_id: str = "UNI-001-lecture", *, breakout: bool = False, more: str = ""
) -> bytes:
    return f"""<?xml version="1.0"?>
<recording>
  <id>{record_id}</id><state>published</state><published>true</published>
  <start_time>1462807897120</start_time><end_time>1462808180121</end_time><participants>3</participants>
  <meeting id="{record_id}" externalId="{meeting_id}" name="Lecture &amp; more" breakout="{str(breakout).lower()}"/>
  <meta><meetingName>Lecture</meetingName><bbb-origin>Moodle</bbb-origin></meta>
  <playback><format>presentation</format><duration>240000</duration></playback>{more}
</recording>""".encode()


def part(name: str, data: bytes, *, file_name: str | None = "x") -> bytes:
    file = f'; filename="{file_name}"' if file_name else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload_form(archive: bytes, metadata: bytes) -> bytes:
    return form(part("file", archive), part("meta", metadata))


class Server(NamedTuple):
    host: str
    port: int

    def send(
        self, body: bytes | Iterable[bytes], *, nonce: str | None = NONCE, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        path = "/b3lb/b/record/upload" + ("" if nonce is None else f"?nonce={nonce}")
        given = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **(headers or {})}
        try:
            connection.request("POST", path, body=body, headers=given, encode_chunked="Transfer-Encoding" in given)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()), dict(answer.getheaders()))
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def rows(farm: Farm, table: sa.Table) -> list[dict[str, Any]]:
    with transaction(farm.engine, timeout_seconds=5) as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def settings_for(farm: Farm, database_url: str, directory: Path, **more: Any) -> ApiSettings:
    return ApiSettings(
        **{
            "database_url": database_url,
            "encryption_keys": farm.keys.export(),
            "namespace": farm.namespace,
            "storage_directory": directory,
            "http_address": "127.0.0.1",
            "http_port": 0,
            "upload_idle_seconds": 2,
            **more,
        }
    )


@contextmanager
def serving(settings: ApiSettings, storage: Storage) -> Iterator[Server]:
    server = create_server(settings, storage)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield Server(host, port)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
