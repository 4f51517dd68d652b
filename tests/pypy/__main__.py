"""`make test-pypy`: the record job's tests under PyPy, with Debian's FFmpeg, PostgreSQL and an S3 server beside it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.images.commands import ImagesError, say
from dev.postgres import Postgres
from dev.processes import ProcessError
from dev.pypy import CannotRunHereError, enter, pypy_environment, pypy_root
from dev.toolchain import ToolchainError
from tests.integration.moto_server import moto_server
from tests.migrated import migrated_template
from tests.pypy.fixtures import DATABASE_TEMPLATE, DATABASE_URL, S3_ENDPOINT

IF_POSSIBLE = "--if-possible"
_ROOT = Path(__file__).resolve().parents[2]
_PATTERNS = (
    "tests/unit/test_record_*.py",
    "tests/unit/test_dev_recordings.py",
    "tests/integration/test_record_render.py",
    "tests/integration/test_record_reference.py",
    "tests/integration/test_job_render_record*.py",
)


def main(arguments: Sequence[str]) -> int:
    """Run the tests; return pytest's code, or 1 if PyPy cannot be had here.

    Args:
        arguments: Pytest's. With `IF_POSSIBLE` as the first one, a machine that does not allow a root file system of
            its own is told of in one line, and is no failure; whatever else goes wrong is.
    """
    if_possible = arguments[:1] == [IF_POSSIBLE]
    try:
        root = pypy_root()
        python = pypy_environment(root)
        return _run_tests(root, python, arguments[1:] if if_possible else arguments)
    except CannotRunHereError as error:
        say(f"test-pypy: {'left out: ' if if_possible else ''}{error}")
        return 0 if if_possible else 1
    except (ImagesError, ProcessError, ToolchainError) as error:
        say(f"test-pypy: {error}")
        return 1


def _run_tests(root: Path, python: str, arguments: Sequence[str]) -> int:
    files = sorted(str(path.relative_to(_ROOT)) for pattern in _PATTERNS for path in _ROOT.glob(pattern))
    # The fixtures of other tests need parts that PyPy does not have; these tests use those of the plugin.
    options = ["--noconftest", "-p", "tests.pypy.fixtures", "-p", "no:cacheprovider"]
    # The S3 server would show each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with Postgres() as server, moto_server() as endpoint:
        environment = {
            DATABASE_URL: server.url,
            DATABASE_TEMPLATE: migrated_template(server),
            S3_ENDPOINT: endpoint,
        }
        return enter(
            root, [python, "-m", "pytest", *options, *(arguments or ["-q", "-n", "2"]), *files], environment=environment
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
