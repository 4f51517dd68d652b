"""What the operator makes of the end of a migration, which is another process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from b3lb_operator import migration
from b3lb_operator.migration import MigrationError, run_migration

URL = "postgresql://b3lb:geheim@127.0.0.1:9/b3lb"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a shell script in place of Python."""
    script = tmp_path / "python"
    script.touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(script))

    def write(commands: str) -> None:
        script.write_text(f"#!/bin/sh\n{commands}\n")

    return write


async def test_the_reason_of_the_last_line_is_the_error(program: Callable[[str], None]) -> None:
    line = json.dumps({"event": "the migration failed", "reason": "permission denied for schema public"})
    program(f"echo first\necho '{line}' >&2\nexit 78")
    with capture_logs() as logs, pytest.raises(MigrationError) as failed:
        await run_migration(URL)
    assert str(failed.value) == "the migration failed: permission denied for schema public"
    assert logs == []


@pytest.mark.parametrize("output", ["", "Traceback password=geheim", "[]", "{}"])
async def test_an_end_without_a_reason_is_told_by_its_code_and_by_its_output_without_secrets(
    program: Callable[[str], None], output: str
) -> None:
    program(f"echo '{output}'\nexit 3")
    with capture_logs() as logs, pytest.raises(MigrationError, match="the migration ended with exit code 3"):
        await run_migration(URL)
    assert [line["event"] for line in logs] == ["the migration ended without a reason"]
    assert "geheim" not in str(logs)


def written(directory: Path) -> str:
    return (directory / "url").read_text()


async def test_the_url_past_a_pooler_is_what_is_migrated(program: Callable[[str], None], tmp_path: Path) -> None:
    program(f'printf "%s" "$B3LB_DATABASE_DIRECT_URL" > {tmp_path}/url')
    await run_migration(URL)
    assert written(tmp_path) == URL


async def test_one_that_takes_too_long_is_killed(
    program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "MIGRATION_SECONDS", 0.2)
    program("exec sleep 30")
    with pytest.raises(TimeoutError):
        await run_migration(URL)
