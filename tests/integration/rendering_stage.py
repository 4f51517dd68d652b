"""A recording in a storage and its rows, for tests that render it."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.task_queue import enqueue
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.interface import Storage
from b3lb.storage.layout import archive_key
from b3lb.storage.s3 import Bucket
from b3lb_jobs.database import Database
from b3lb_jobs.on_demand import RunContext
from b3lb_jobs.record.render_record import RenderRecordArguments, render_record
from tests.integration.database_farm import Farm
from tests.integration.enqueued_runs import let_go
from tests.integration.job_runs import KEYS
from tests.integration.recordings_stage import Recordings

SMALL = {"width": 320, "height": 240, "webcam": {"sizePercent": 20}, "video": {"framesPerSecond": 5}}
# Nobody is called: callbacks do not go to this machine.
READY_URL = "https://127.0.0.1:9/ready"
RECORDS = "SELECT profile, state, reason, message FROM records ORDER BY profile"
RECORD_SET = "SELECT state, reason, message FROM record_sets"


def program(folder: Path, name: str, script: str) -> str:
    """Put a program before all others; return the PATH for that."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


UNREACHABLE = Bucket(
    name="recordings",
    endpoint="http://127.0.0.1:9",
    region="us-east-1",
    access_key_id="key-of-tests",
    secret_access_key="secret-of-tests",
    attempts=1,
)
"""A bucket that cannot be reached: nobody listens at the port."""


class RenderingStage:
    """A record set that is UPLOADED, with its archive in a directory.

    Args:
        farm: Of the database.
        root: The storage's directory, a new one.
        archive: The archive's bytes.
    """

    def __init__(self, farm: Farm, root: Path, archive: bytes) -> None:
        self.farm = farm
        self.root = root
        root.mkdir()
        self.storage = DirectoryStorage(root)
        # Those of the pods.
        farm.keys = KEYS
        self.record_set = Recordings(farm).add("r-1", state="UPLOADED")
        farm.run("DELETE FROM records")
        self.runs: dict[str, UUID] = {}
        self.put_archive(archive)
        farm.run(
            "UPDATE record_sets SET metadata = CAST(:metadata AS jsonb)",
            metadata=json.dumps({"bbb-recording-ready-url": READY_URL}),
        )

    @property
    def engine(self) -> sa.Engine:
        return self.farm.engine

    def put_archive(self, archive: bytes) -> None:
        key = archive_key("default", self.record_set)
        with self.storage.create(key) as writer:
            writer.write(archive)
            writer.publish()
        self.farm.run(
            "UPDATE record_sets SET archive_key = :key, archive_bytes = :size, archive_sha256 = :sha256",
            key=key,
            size=len(archive),
            sha256=hashlib.sha256(archive).hexdigest(),
        )

    def plan(self, profile: str = "small", **spec: Any) -> UUID:
        """Add a profile and its PENDING video with an enqueued run, as the operator does; return the run's ID."""
        row = replace(self.farm.record_profile(profile), spec={**SMALL, **spec})
        self.farm.run(
            "INSERT INTO record_profiles (namespace, name, uid, generation, spec)"
            " VALUES ('default', :name, :uid, 1, CAST(:spec AS jsonb))",
            name=row.name,
            uid=row.uid,
            spec=json.dumps(row.spec),
        )
        run_id = uuid4()
        self.farm.run(
            "INSERT INTO records (record_set_id, profile, run_id) VALUES (:id, :profile, :run)",
            id=self.record_set,
            profile=profile,
            run=run_id,
        )
        with transaction(self.engine, timeout_seconds=10) as connection:
            enqueue(
                connection,
                namespace="default",
                queue="record",
                task="render-record",
                arguments=self.arguments(profile),
                run_id=run_id,
            )
        self.runs[profile] = run_id
        return run_id

    def arguments(self, profile: str = "small") -> Mapping[str, str]:
        return {"record_set": str(self.record_set), "profile": profile}

    def release(self, profile: str = "small") -> int:
        """Release the profile's run; return the number of its attempt."""
        return let_go(self.engine, "default", self.runs[profile], queue="record")

    def environment(self, attempt: int) -> dict[str, str]:
        """Return the variables of a pod that works on an attempt."""
        return {
            "B3LB_ATTEMPT": str(attempt),
            "B3LB_QUEUE": "record",
            "B3LB_STORAGE_DIRECTORY": str(self.root),
            "B3LB_SOFT_TIME_LIMIT_SECONDS": "120",
        }

    def records(self) -> list[tuple[Any, ...]]:
        return self.farm.rows(RECORDS)

    def record_set_row(self) -> tuple[Any, ...]:
        (row,) = self.farm.rows(RECORD_SET)
        return row

    def video(self, profile: str = "small") -> dict[str, Any]:
        """Return the row of a video."""
        with self.engine.connect() as connection:
            statement = sa.text("SELECT * FROM records WHERE profile = :profile")
            return dict(connection.execute(statement, {"profile": profile}).mappings().one())

    def stored(self) -> set[str]:
        """Return the keys of all objects of the record set but its archive, without their common prefix."""
        prefix = f"recordsets/default/{self.record_set}/"
        keys = {found.key.removeprefix(prefix) for found in self.storage.list(prefix)}
        return keys - {"archive.tar"}


class Attempts:
    """Does attempts at renderings inside of the test; their temporary files are below a folder."""

    def __init__(self, stage: RenderingStage, database: Database, temporary: Path) -> None:
        self._stage, self.database, self._temporary = stage, database, temporary

    def __call__(
        self, profile: str = "small", *, storage: Storage | None = None, number: int = 1, last: bool = False
    ) -> Any:
        """Do an attempt and return its result."""
        context = RunContext(
            run_id=self._stage.runs[profile],
            namespace="default",
            queue="record",
            attempt=number,
            keys=KEYS,
            database=self.database,
            seconds_left=lambda: 60.0,
            last_attempt=last,
        )
        arguments = RenderRecordArguments.model_validate(self._stage.arguments(profile))
        try:
            return render_record(context, arguments, open_storage=lambda: storage or self._stage.storage)
        finally:
            assert list(self._temporary.iterdir()) == [], "temporary files are left"


@contextmanager
def attempts(stage: RenderingStage, url: str, temporary: Path) -> Iterator[Attempts]:
    """Open what attempts need; ``temporary`` is a new folder."""
    temporary.mkdir()
    database = Database(url, application_name="test", monotonic=time.monotonic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(temporary))
        yield Attempts(stage, database, temporary)
    database.close()
