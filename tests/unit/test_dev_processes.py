"""Child processes of the development environment: their start, their end and what is said about them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from dev.processes import ManagedProcess, ProcessError, free_ports, last_lines, wait_until

LOST_PARENT = """
import sys, threading, time
from pathlib import Path
from dev.processes import ManagedProcess

process = ManagedProcess("sleeper", ["sleep", "60"], log=Path(sys.argv[1]))
thread = threading.Thread(target=process.start)
thread.start()
thread.join()
time.sleep(0.1)
print(process.pid if process.running else "ended", flush=True)
time.sleep(60)
"""


def shell(tmp_path: Path, script: str) -> ManagedProcess:
    return ManagedProcess("worker", ["sh", "-c", script], log=tmp_path / "log" / "worker.log")


def test_a_process_that_ends_before_it_is_ready_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = shell(tmp_path, "echo no room left; exit 3")
    process.start()
    with pytest.raises(ProcessError, match=r"(?s)worker ended with code 3.*no room left"):
        process.wait_ready(lambda: False, timeout=5)


def test_a_process_that_is_not_ready_in_time_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = shell(tmp_path, "echo still loading; sleep 60")
    process.start()
    try:
        assert wait_until(lambda: "loading" in last_lines(process.log), timeout=5)
        with pytest.raises(ProcessError, match=r"(?s)not ready after 0.1 s.*still loading"):
            process.wait_ready(lambda: False, timeout=0.1)
    finally:
        process.kill()


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    process = ManagedProcess("worker", [str(tmp_path / "absent")], log=tmp_path / "worker.log")
    process.start()
    with pytest.raises(ProcessError, match="absent"):
        process.wait_ready(lambda: False, timeout=5)


def test_a_working_directory_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    process = ManagedProcess("worker", ["true"], log=tmp_path / "worker.log", directory=tmp_path / "absent")
    with pytest.raises(ProcessError, match="worker cannot be started"):
        process.start()


def test_an_unknown_user_is_reported(tmp_path: Path) -> None:
    process = ManagedProcess("worker", ["true"], log=tmp_path / "worker.log", user="no-such-user")
    with pytest.raises(ProcessError, match="no-such-user"):
        process.start()


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    process = shell(tmp_path, "trap '' TERM; echo set; while :; do sleep 0.05; done")
    process.start()
    assert wait_until(lambda: "set" in last_lines(process.log), timeout=5)
    process.stop(timeout=0.2)
    assert process.exit_code == -signal.SIGKILL


def test_a_process_is_asked_to_end_even_while_it_is_paused(tmp_path: Path) -> None:
    process = shell(tmp_path, "trap 'exit 7' TERM; echo set; while :; do sleep 0.05; done")
    process.start()
    assert wait_until(lambda: "set" in last_lines(process.log), timeout=5)
    process.pause()
    process.stop(timeout=5)
    assert process.exit_code == 7


def test_a_paused_process_stands_still_until_it_is_resumed(tmp_path: Path) -> None:
    process = shell(tmp_path, "while :; do echo x; sleep 0.01; done")
    process.start()
    try:
        assert wait_until(lambda: "x" in last_lines(process.log), timeout=5)
        process.pause()
        time.sleep(0.05)
        size = process.log.stat().st_size
        time.sleep(0.1)
        assert process.log.stat().st_size == size
        assert process.running
        process.resume()
        assert wait_until(lambda: process.log.stat().st_size > size, timeout=5)
    finally:
        process.kill()


def test_a_kill_reaches_descendants_with_a_session_of_their_own(tmp_path: Path) -> None:
    process = shell(tmp_path, "setsid sleep 60 & echo $!; wait")
    process.start()
    assert wait_until(lambda: bool(last_lines(process.log)), timeout=5)
    child = psutil.Process(int(last_lines(process.log)))
    process.kill()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_second_start_of_a_running_process_is_refused(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 60")
    process.start()
    try:
        with pytest.raises(ProcessError, match="runs already"):
            process.start()
    finally:
        process.kill()


def test_a_process_that_does_not_run_cannot_be_paused_but_stopped(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 60")
    process.stop()
    process.kill()
    assert process.exit_code is None
    with pytest.raises(ProcessError, match="does not run"):
        process.pause()


def test_processor_time_of_earlier_starts_and_ended_children_counts(tmp_path: Path) -> None:
    burn = f"{sys.executable} -c 'sum(range(2_000_000))'; echo done; sleep 60"
    process = shell(tmp_path, burn)
    process.start()
    assert wait_until(lambda: "done" in last_lines(process.log), timeout=10)
    first = process.cpu_seconds()
    process.kill()
    assert first > 0
    assert process.cpu_seconds() >= first
    process.start()
    assert process.cpu_seconds() >= first
    process.kill()


def test_a_child_outlives_the_thread_that_started_it_but_not_its_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOST_PARENT, str(tmp_path / "sleeper.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, timeout=5)


def test_processes_can_be_started_by_several_threads_at_once(tmp_path: Path) -> None:
    processes = [ManagedProcess(f"p{i}", ["sleep", "60"], log=tmp_path / f"{i}.log") for i in range(8)]
    threads = [threading.Thread(target=process.start) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert all(process.running for process in processes)
    finally:
        for process in processes:
            process.kill()


def test_free_ports_differ_and_lie_below_the_ephemeral_ones() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert all(1024 < port < lowest_ephemeral for port in ports)


def test_the_end_of_a_long_log_is_short(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)), encoding="ascii")
    assert last_lines(log, 2) == "line 9998\nline 9999"
    log.write_text("x" * 1_000_000, encoding="ascii")
    assert len(last_lines(log, 2)) <= 800
