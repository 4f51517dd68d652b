"""However hostile an answer of 64 MiB is, reading it takes a bounded amount of memory, and of time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dev.environment import REPOSITORY
from tests.integration.hostile_answers import ANSWERS

pytestmark = pytest.mark.integration

# A job has 1 GiB. Names are the most expensive: libxml2 keeps them.
MOST_MIB = 200


@pytest.mark.parametrize("name", ANSWERS)
def test_memory_is_bounded(name: str) -> None:
    command = [sys.executable, "-m", "tests.integration.hostile_answers", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    grown, outcome = done.stdout.split(maxsplit=1)
    print(name, done.stdout)
    assert float(grown) < MOST_MIB
    assert outcome.strip() in {"TooLarge", "InvalidXML", *(f"{count} meetings" for count in range(100))}
