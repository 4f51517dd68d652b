"""Containers as local processes: how they end, and what is visible to them."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from dev.kubelet.containers import ContainerProcess, Ending, Plan, kill_leftovers, read_head, read_tail
from dev.kubelet.kubelet import private_mounts_work
from dev.kubelet.memory import MemoryGuard
from dev.kubelet.mounts import Mount
from dev.processes import wait_until

HERE = Path(__file__).parent
# The tests' own files lie below it, so the mount hides them.
TEMPORARY = Path(tempfile.gettempdir())


@pytest.fixture
async def private_mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not await private_mounts_work(tmp_path_factory.mktemp("probe")):
        pytest.skip("private mounts take root and a kernel that allows them")


def plan(root: Path, script: str, *, mounts: list[Mount] | None = None, **environment: str) -> Plan:
    return Plan(
        name="main",
        command=["sh", "-c", script],
        environment={"PATH": os.defpath, "B3LB_POD_ROOT": str(root), **environment},
        working_directory=str(root),
        pod_root=root,
        mounts=mounts or [],
        hostname="pod-1",
        private_mounts=mounts is not None,
        termination_log=root / "internal" / "main.termination-log",
        log_fallback=True,
    )


async def run(what: Plan) -> Ending:
    what.termination_log.parent.mkdir(parents=True, exist_ok=True)
    return await (await ContainerProcess.start(what)).wait()


def summary(ending: Ending) -> tuple[int, str, str]:
    return ending.exit_code, ending.reason, ending.message


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo out; exit 0", (0, "Completed", "")),
        ("echo out; echo err >&2; exit 65", (65, "Error", "out\nerr\n")),
        ("exit 128", (128, "Error", "")),
        ("kill -TERM $$", (143, "Error", "")),
        ("kill -KILL $$", (137, "Error", "")),
        ("printf done > internal/main.termination-log; echo out", (0, "Completed", "done")),
        ("printf bad > internal/main.termination-log; echo out; exit 1", (1, "Error", "bad")),
        ("echo $HOME$EDITOR$VIRTUAL_ENV; exit 1", (1, "Error", "\n")),
    ],
)
async def test_endings(tmp_path: Path, script: str, expected: tuple[int, str, str]) -> None:
    assert summary(await run(plan(tmp_path, script))) == expected


async def test_a_command_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    what = plan(tmp_path, "")
    what.command[:] = ["/nowhere/b3lb-job"]
    code, reason, message = summary(await run(what))
    assert (code, reason) == (128, "StartError")
    assert "No such file or directory" in message


async def test_a_working_directory_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    what = plan(tmp_path, "")
    object.__setattr__(what, "working_directory", "/nowhere")
    assert "/nowhere" in (await run(what)).message


async def test_a_message_has_at_most_4096_bytes_and_only_the_end_of_the_log_of_this_run(tmp_path: Path) -> None:
    long = await run(plan(tmp_path, "head -c 5000 /dev/zero | tr '\\0' x > internal/main.termination-log; exit 1"))
    assert long.message == "x" * 4096
    await run(plan(tmp_path, "echo first run; exit 1"))
    assert (await run(plan(tmp_path, "echo second run; exit 1"))).message == "second run\n"
    assert (tmp_path / "main.log").read_text() == "first run\nsecond run\n"


def test_the_end_of_a_log_is_cut_by_lines_and_by_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{number}\n" for number in range(100)))
    assert read_tail(path, start=0, size=2048, lines=80) == "".join(f"{number}\n" for number in range(20, 100))
    assert read_tail(path, start=0, size=6, lines=80) == "98\n99\n"
    assert read_tail(tmp_path / "none", start=0, size=6, lines=80) == ""
    assert read_head(tmp_path / "none", 10) == ""


async def test_what_a_container_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    await run(plan(tmp_path, "sleep 60 & echo $! > child"))
    await _until_dead(int((tmp_path / "child").read_text()))


async def test_processes_that_left_their_group_are_found_by_the_root_of_their_pod(tmp_path: Path) -> None:
    await run(plan(tmp_path, "setsid sh -c 'echo $$ > child; exec sleep 60' & until [ -s child ]; do sleep 0.01; done"))
    pid = int((tmp_path / "child").read_text())
    assert _alive(pid)
    assert kill_leftovers(tmp_path / "other") == 0
    assert kill_leftovers(tmp_path.parent) == 1
    await _until_dead(pid)


async def test_a_container_dies_with_its_kubelet(tmp_path: Path) -> None:
    program = (
        f"import asyncio, sys; sys.path[:0] = {[str(HERE.parents[1]), str(HERE)]}\n"
        "from pathlib import Path\n"
        "from test_kubelet_containers import plan, run\n"
        f"asyncio.run(run(plan(Path({str(tmp_path)!r}), 'echo $$ > child; exec sleep 60')))"
    )
    (tmp_path / "internal").mkdir()
    kubelet = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    child = tmp_path / "child"
    assert await asyncio.to_thread(wait_until, lambda: read_head(child, 10).strip() != "", timeout=10, interval=0.02)
    kubelet.kill()
    await kubelet.wait()
    await _until_dead(int(child.read_text()))


async def test_a_nul_character_in_the_environment_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null byte"):
        await run(plan(tmp_path, "true", SECRET="a\0b"))


@contextlib.asynccontextmanager
async def guarded(process: ContainerProcess, limit: int) -> AsyncIterator[None]:
    guard = MemoryGuard()
    task = asyncio.create_task(guard.run())
    with guard.watch(process.pid, limit=limit, kill=process.kill_for_memory):
        yield
    task.cancel()


HOG = f"{sys.executable} -c 'b = bytearray(80_000_000); import time; print(1, flush=True); time.sleep(30)'"


async def test_a_tree_of_processes_above_its_limit_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "internal").mkdir()
    process = await ContainerProcess.start(plan(tmp_path, f"{HOG}; echo not reached"))
    async with guarded(process, 64 * 1024**2):
        ending = await process.wait()
    assert (ending.exit_code, ending.reason) == (137, "OOMKilled")


async def test_a_process_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "internal").mkdir()
    process = await ContainerProcess.start(plan(tmp_path, "sleep 0.7"))
    async with guarded(process, 64 * 1024**2):
        assert (await process.wait()).exit_code == 0


async def test_a_signal_after_the_end_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "internal").mkdir()
    process = await ContainerProcess.start(plan(tmp_path, "exit 3"))
    assert (await process.wait()).exit_code == 3
    process.signal(signal.SIGKILL)


@pytest.mark.usefixtures("private_mounts")
async def test_private_mounts_show_volumes_where_this_machine_has_nothing(tmp_path: Path) -> None:
    root = tmp_path / "pod"
    sources = {name: root / "volumes" / name for name in ("tmp", "token", "work")}
    for source in sources.values():
        source.mkdir(parents=True)
    (sources["token"] / "token").write_text("jwt")
    (sources["token"] / "ca.crt").write_text("pem")
    (root / "internal").mkdir()
    (root / "internal" / "hosts").write_text("127.0.0.1 localhost\n")
    script = """
    set -e
    [ "$(hostname)" = pod-1 ]
    [ "$(cat /etc/hosts)" = "127.0.0.1 localhost" ]
    [ "$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" = jwt ]
    ! touch /var/run/secrets/kubernetes.io/serviceaccount/x 2> /dev/null
    [ -e /dev/null ] && [ -d /proc/self ] && [ -d /usr ]
    echo new > $TEMPORARY/b3lb-test-file
    echo kept > /b3lb-test/deep/file
    echo bye > /dev/termination-log
    """
    mounts = [
        Mount(str(root / "internal" / "main.termination-log"), "/dev/termination-log"),
        Mount(str(root / "internal" / "hosts"), "/etc/hosts"),
        Mount(str(sources["tmp"]), str(TEMPORARY)),
        Mount(str(root), str(root)),
        Mount(str(sources["token"]), "/var/run/secrets/kubernetes.io/serviceaccount", read_only=True),
        Mount(str(sources["work"]), "/b3lb-test/deep"),
    ]
    before = _host_paths()

    ending = await run(plan(root, script, mounts=mounts, TEMPORARY=str(TEMPORARY)))

    assert summary(ending) == (0, "Completed", "bye\n")
    assert (sources["tmp"] / "b3lb-test-file").read_text() == "new\n"
    assert (sources["work"] / "file").read_text() == "kept\n"
    assert _host_paths() == before
    assert socket.gethostname() != "pod-1"


@pytest.mark.usefixtures("private_mounts")
async def test_a_mount_source_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    ending = await run(plan(tmp_path, "true", mounts=[Mount("/nowhere", "/srv")]))
    assert (ending.reason, "/nowhere" in ending.message) == ("StartError", True)


async def test_private_mounts_are_not_even_tried_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not await private_mounts_work(tmp_path)
    assert caplog.records == []


def _host_paths() -> list[Path]:
    """What the containers of these tests could have changed on this machine."""
    touched = [Path("/dev/termination-log"), TEMPORARY / "b3lb-test-file"]
    return sorted([*Path("/").iterdir(), *(path for path in touched if path.exists())])


def _alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def _until_dead(pid: int) -> None:
    assert await asyncio.to_thread(wait_until, lambda: not _alive(pid), timeout=5, interval=0.02)
