"""Files in the repository that a program writes: compared by lint, written anew by `make generate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def stale_files(root: Path, files: Mapping[Path, str], directory: Path) -> list[Path]:
    """Return what is missing below ``root``, differs from ``files``, or should not be in ``directory``."""
    wrong = [path for path, text in files.items() if not (root / path).is_file() or (root / path).read_text() != text]
    return sorted([*wrong, *_surplus(root, files, directory)])


def write_files(root: Path, files: Mapping[Path, str], directory: Path) -> None:
    """Write ``files`` below ``root``, and remove the YAML files of ``directory`` that are not among them."""
    for path in _surplus(root, files, directory):
        (root / path).unlink()
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def run_generator(
    arguments: Sequence[str] | None,
    *,
    module: str,
    description: str | None,
    write: Callable[[], None],
    out_of_date: Callable[[], Sequence[Path]],
) -> int:
    """Run the command line that every generator has; return its exit code."""
    program = f"python -m {module}"
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    wrong = out_of_date()
    for path in wrong:
        print(f"{path} is out of date: run {program}", file=sys.stderr)
    return 1 if wrong else 0


def _surplus(root: Path, files: Mapping[Path, str], directory: Path) -> list[Path]:
    present = (path.relative_to(root) for path in (root / directory).glob("*.yaml"))
    return [path for path in present if path not in files]
