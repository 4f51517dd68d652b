"""A real S3 server on this machine: versitygw over a directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from b3lb.storage.s3 import Bucket, S3Storage
from dev.processes import ManagedProcess, free_ports, http_answer
from dev.toolchain import s3_server_path

REGION = "us-east-1"
ACCESS_KEY_ID = "b3lb"
_START_SECONDS = 30.0


class S3Server:
    """The server, while its ``with`` block lasts; buckets are directories below ``directory``."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        self._secret = secrets.token_urlsafe(24)
        self._buckets = directory / "buckets"
        self._port = port
        listens = ["--port", f"127.0.0.1:{port}", "--region", REGION, "--health", "/health"]
        keeps = ["posix", "--sidecar", str(directory / "metadata"), str(self._buckets)]
        self.process = ManagedProcess(
            "versitygw",
            [str(s3_server_path()), *listens, *keeps],
            log=directory / "versitygw.log",
            environment={**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY_ID, "ROOT_SECRET_KEY": self._secret},
        )
        self._buckets.mkdir(parents=True)
        (directory / "metadata").mkdir()

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self.process.start()
        self.process.wait_ready(lambda: http_answer(self._port, "/health")[0] == 200, timeout=_START_SECONDS)  # noqa: PLR2004 - OK
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.process.stop()

    def bucket(self, name: str) -> Bucket:
        """Return how to reach a bucket, which is made if it is not there."""
        (self._buckets / name).mkdir(exist_ok=True)
        return Bucket(
            name=name,
            endpoint=f"http://127.0.0.1:{self._port}",
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=self._secret,
            part_bytes=5 << 20,
            attempts=3,
        )

    def storage(self, name: str) -> S3Storage:
        """Return the storage in a bucket, which is made if it is not there."""
        return S3Storage(self.bucket(name))


if __name__ == "__main__":
    print(s3_server_path())
