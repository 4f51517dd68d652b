"""A recording in a storage and its rows, for tests that render it."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.task_queue import enqueue
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.layout import archive_key
from dev.debian import debian_program
from dev.recordings.options import Options
from dev.recordings.writing import write_archive, write_recording
from tests.integration.database_farm import Farm
from tests.integration.enqueued_runs import let_go
from tests.integration.job_runs import KEYS
from tests.integration.recordings_stage import Recordings

SHORT = Options(seconds=2, slides=1, shapes=4, zooms=0, moves=4, screen_shares=0, width=320, height=240)
SMALL = {"width": 320, "height": 240, "webcam": {"sizePercent": 20}, "video": {"framesPerSecond": 5}}
# Nobody is called: callbacks do not go to this machine.
READY_URL = "https://127.0.0.1:9/ready"
RECORDS = "SELECT profile, state, reason, message FROM records ORDER BY profile"
RECORD_SET = "SELECT state, reason, message FROM record_sets"


def recording_archive(folder: Path, **changes: Any) -> bytes:
    """Return the archive of a recording of two seconds; ``folder`` gets its files."""
    debian_program("ffmpeg", "ffmpeg")
    debian_program("rsvg-convert", "librsvg2-bin")
    stream = io.BytesIO()
    write_recording(folder, replace(SHORT, **changes))
    write_archive(folder, stream)
    return stream.getvalue()


def program(folder: Path, name: str, script: str) -> str:
    """Put a program before all others; return the PATH for that."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


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
