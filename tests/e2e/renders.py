"""Recordings in an installation as the end-to-end tests see them: their rows, and the processes that render them."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from dev.environment import Installation

RENDER_SECONDS = 60

_VIDEOS = """
    SELECT r.*, s.state AS set_state, s.reason AS set_reason, s.archive_key, s.archive_sha256,
           t.attempts AS run_attempts
    FROM record_sets s LEFT JOIN records r ON r.record_set_id = s.id LEFT JOIN task_runs t ON t.id = r.run_id
    WHERE s.record_id = %s ORDER BY r.profile
"""


def videos(installation: Installation, record_id: str) -> list[dict[str, Any]]:
    """Return the rows of a recording's videos, each with those of its record set and its run."""
    with psycopg.connect(installation.database_url, row_factory=dict_row) as connection:
        return connection.execute(_VIDEOS, [record_id]).fetchall()


def wait_for_state(
    installation: Installation, record_id: str, state: str, *, seconds: float = RENDER_SECONDS
) -> list[dict[str, Any]]:
    """Wait until a recording is in a state, and return the rows of its videos."""
    seen: list[list[dict[str, Any]]] = []

    def reached() -> bool:
        seen.append(videos(installation, record_id))
        return bool(seen[-1]) and seen[-1][0]["set_state"] == state

    assert installation.wait_until(reached, timeout=seconds), seen[-1]
    return seen[-1]


def render_processes(run: str) -> list[psutil.Process]:
    """Return the processes of a run's pod, those of FFmpeg included."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--run" in words and run in words and any("b3lb-job" in word for word in words):
            found += [process, *process.children(recursive=True)]
    return found


def encoder(installation: Installation, run: str) -> psutil.Process:
    """Wait until FFmpeg encodes a run's video, and return its process."""
    found: list[psutil.Process] = []

    def encodes() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.extend(process for process in render_processes(run) if "-progress" in process.cmdline())
        return found != []

    assert installation.wait_until(encodes, timeout=RENDER_SECONDS), f"nothing encodes for the run {run}"
    return found[0]
