"""The migration of the database in a child process, so that the migration tool's memory goes again."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import structlog

from b3lb.redaction import redact

MIGRATION_SECONDS = 300.0
_LONGEST_OUTPUT = 2000

_log = structlog.stdlib.get_logger(__name__)


class MigrationError(Exception):
    """The tables could not be brought up to date; the message says why, without secrets."""


async def run_migration(url: str) -> None:
    """Bring the tables of a database up to date.

    Raises:
        MigrationError: It failed.
        TimeoutError: It took longer than five minutes.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "b3lb.db.migrate",
        env={**os.environ, "B3LB_DATABASE_DIRECT_URL": url, "B3LB_LOG_FORMAT": "json"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(MIGRATION_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    if process.returncode:
        raise MigrationError(_why(text, process.returncode))
    _log.info("the database was migrated")


def _why(output: str, code: int) -> str:
    """Return why a migration failed; whoever is not told by its last line finds its end in the log."""
    try:
        entry = json.loads(output.splitlines()[-1])
        return f"{entry['event']}: {entry['reason']}"
    except (IndexError, ValueError, KeyError, TypeError):
        _log.error("the migration ended without a reason", output=redact(output[-_LONGEST_OUTPUT:]))
        return f"the migration ended with exit code {code}"
