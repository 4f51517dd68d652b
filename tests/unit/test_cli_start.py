"""From start to table every command takes at most one second of CPU time, and a shell completes all of them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from b3lb_cli.cli import parser
from tests.unit.commands import b3lb
from tests.unit.control_documents import RUN_ID, listing
from tests.unit.fake_plane import FakePlane, fake_plane

MOST_SECONDS = 1.0
BASH = shutil.which("bash")
COMMANDS = (
    "queues",
    "nodes -o wide",
    "nodes -o yaml",
    "tenants",
    "runs",
    f"result {RUN_ID}",
    "meetings --secret uni-001",
    "accounting",
    "inspect ping",
    "inspect stats",
    "top --once",
    "report",
    "doctor",
    "completion bash",
    "--help",
)

_MEASURED = """
import resource, sys
from b3lb_cli.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
sys.stdout.flush()
used = resource.getrusage(resource.RUSAGE_SELF)
sys.stderr.write(f"{used.ru_utime + used.ru_stime}")
sys.exit(code)
"""


@pytest.fixture(scope="module")
def plane() -> Iterator[FakePlane]:
    with fake_plane() as made:
        made.documents["/doctor"] = listing("FindingList")
        made.answers["/version"] = (200, {"gitVersion": "v1.34.1"})
        yield made


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_within_a_second_of_cpu_time(plane: FakePlane, tmp_path: Path, command: str) -> None:
    """The best of three: memory and caches are shared with whatever else runs, the work is the same."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("B3LB_")}
    environment["KUBECONFIG"] = str(plane.kubeconfig(tmp_path))
    seconds: list[float] = []
    while not seconds or (min(seconds) > MOST_SECONDS and len(seconds) < 3):
        ended = subprocess.run(
            [sys.executable, "-c", _MEASURED, *command.split()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (ended.returncode, bool(ended.stdout)) == (0, True), ended.stderr
        seconds.append(float(ended.stderr.split()[-1]))
    print(f"b3lb {command}: {min(seconds):.2f} s of CPU time")
    assert min(seconds) <= MOST_SECONDS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_every_command(shell: str, tmp_path: Path) -> None:
    code, script, err = b3lb("completion", shell)
    assert (code, err) == (0, "")
    commands = parser().format_help().split("COMMAND\n", 1)[1]
    names = [line.split()[0] for line in commands.splitlines() if line.startswith("    ") and line[4:5].isalpha()]
    assert {"queues", "nodes", "run", "inspect", "top", "report", "doctor", "completion"} <= set(names)
    assert all(name in script for name in [*names, "active-queues", "--operator-namespace"])
    if shutil.which(shell) is not None:
        path = tmp_path / "script"
        path.write_text(script)
        subprocess.run([shell, "-n", str(path)], check=True, timeout=30)


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_bash_offers_what_can_stand_there() -> None:
    script = b3lb("completion", "bash")[1]
    ask = 'COMP_WORDS=(b3lb inspect act); COMP_CWORD=2; _shtab_b3lb; printf "%s\\n" "${COMPREPLY[@]}"'
    offered = subprocess.run(
        [str(BASH), "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    assert offered == ["active", "active-queues"]


def test_every_command_has_help_with_examples() -> None:
    listings = [f"inspect {name}" for name in ("ping", "active", "scheduled", "registered", "stats", "active-queues")]
    others = ["queues", "nodes", "clusters", "meetings", "tenants", "tenants metrics", "accounting", "run", "runs"]
    for command in [*listings, *others, "result", "revoke", "purge", "top", "report", "completion"]:
        code, out, _ = b3lb(*command.split(), "--help")
        assert (code, "\nexamples:\n  " in out) == (0, True), command
