"""The front end as a process of its own, which can be killed, limited and watched."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from b3lb.storage.s3 import Bucket
from dev.processes import ManagedProcess, free_ports, http_answer
from tests.integration.database_farm import Farm
from tests.integration.upload_server import Server


class ApiProcess:
    """``b3lb-api``, from the begin of its ``with`` block on; it may be killed and started again in it."""

    def __init__(self, farm: Farm, database_url: str, log: Path, environment: Mapping[str, str]) -> None:
        port, self.metrics_port = free_ports(2)
        self.server = Server("127.0.0.1", port)
        self.log = log
        self.process = ManagedProcess(
            "b3lb-api",
            [sys.executable, "-m", "b3lb_api"],
            log=log,
            environment={
                **os.environ,
                "B3LB_DATABASE_URL": database_url,
                "B3LB_ENCRYPTION_KEYS": farm.keys.export(),
                "B3LB_NAMESPACE": farm.namespace,
                "B3LB_HTTP_ADDRESS": "127.0.0.1",
                "B3LB_HTTP_PORT": str(port),
                "B3LB_METRICS_PORT": str(self.metrics_port),
                **environment,
            },
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop(timeout=30)

    def start(self) -> None:
        """Start it and wait until it can take uploads."""
        self.process.start()
        self.process.wait_ready(lambda: http_answer(self.server.port, "/readyz")[0] == 200, timeout=30)

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def in_directory(directory: Path) -> dict[str, str]:
    """Return the environment of a storage in a directory."""
    return {"B3LB_STORAGE_DIRECTORY": str(directory)}


def in_bucket(bucket: Bucket) -> dict[str, str]:
    """Return the environment of a storage in a bucket, all else as it is by default."""
    return {
        "B3LB_S3_BUCKET": bucket.name,
        "B3LB_S3_ENDPOINT": bucket.endpoint or "",
        "B3LB_S3_REGION": bucket.region or "",
        "B3LB_S3_ACCESS_KEY_ID": bucket.access_key_id or "",
        "B3LB_S3_SECRET_ACCESS_KEY": bucket.secret_access_key or "",
    }
