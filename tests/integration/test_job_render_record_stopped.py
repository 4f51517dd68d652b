"""A pod that renders is stopped: within ten seconds nothing is left of it, and the next one renders the recording."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.database_farm import Farm
from tests.integration.job_runs import job, started, wait_for
from tests.integration.rendering_stage import RenderingStage, program

pytestmark = pytest.mark.integration
pytest.importorskip("cairocffi")

STOP_SECONDS = 10.0


@pytest.fixture
def stage(farm: Farm, short_recording: bytes, tmp_path: Path) -> RenderingStage:
    return RenderingStage(farm, tmp_path / "storage", short_recording)


def descendants(pid: int) -> set[int]:
    """Return the processes below one, by https://man7.org/linux/man-pages/man5/proc_pid_task.5.html."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found |= {child, *descendants(child)}
    return found


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def unread(pipe: int) -> int:
    """Return how many bytes of a pipe nobody has read yet, by https://man7.org/linux/man-pages/man7/pipe.7.html."""
    answer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder)


class Pod:
    """A process that renders, with programs of its own and a folder for its temporary files."""

    def __init__(self, stage: RenderingStage, url: str, folder: Path) -> None:
        self.stage, self.url, self.folder = stage, url, folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.programs: dict[str, str] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        environment = self.stage.environment(self.stage.release()) | {"TMPDIR": str(self.temporary), **self.programs}
        with started(self.url, "--run", str(self.stage.runs["small"]), **environment) as process:
            yield process

    def stop(self, process: subprocess.Popen[str]) -> None:
        """Stop it, and look that nothing is left."""
        children = descendants(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS + 5) == 143
        assert time.monotonic() - began < STOP_SECONDS
        assert not [pid for pid in children if is_alive(pid)]
        assert list(self.temporary.iterdir()) == []

    def next_one(self) -> int:
        """Let another pod do the next attempt, as the operator does; return its exit code."""
        self.stage.farm.run("UPDATE task_runs SET in_flight = false, state = 'RETRY'")
        environment = self.stage.environment(self.stage.release()) | {"TMPDIR": str(self.temporary)}
        return job(self.url, "--run", str(self.stage.runs["small"]), **environment).returncode


@pytest.fixture
def pod(stage: RenderingStage, database_url: str, tmp_path: Path) -> Pod:
    return Pod(stage, database_url, tmp_path)


def test_a_pod_that_is_stopped_while_it_encodes_leaves_nothing_and_the_next_one_renders(pod: Pod) -> None:
    """The real encoder, given so much to do that it is sure to be at it."""
    pod.stage.plan(width=1920, height=1080, video={"framesPerSecond": 60, "preset": "veryslow"})
    with pod.running() as process:
        wait_for(lambda: any(pod.temporary.glob("*/video.mp4")), seconds=60)
        assert any("ffmpeg" in Path(f"/proc/{pid}/comm").read_text() for pid in descendants(process.pid))
        pod.stop(process)
    assert [row[1] for row in pod.stage.records()] == ["RENDERING"]
    assert pod.stage.stored() == set()
    pod.stage.farm.run('UPDATE record_profiles SET spec = spec || \'{"width": 320, "height": 240}\'::jsonb')
    pod.stage.farm.run("UPDATE record_profiles SET spec = spec - 'video'")
    assert pod.next_one() == 0
    assert [row[1] for row in pod.stage.records()] == ["RENDERED"]
    assert len(pod.stage.stored()) == 3


def test_a_pod_that_is_stopped_while_it_waits_for_the_storage_ends_at_once(pod: Pod) -> None:
    pod.stage.plan()
    ((key,),) = pod.stage.farm.rows("SELECT archive_key FROM record_sets")
    path = pod.stage.root / key
    path.unlink()
    os.mkfifo(path)
    # Opened for both, so that nobody waits here.
    pipe = os.open(path, os.O_RDWR)
    os.write(pipe, b"./metadata.xml")
    with pod.running() as process:
        wait_for(lambda: any(pod.temporary.glob("*/recording")) and unread(pipe) == 0, seconds=60)
        pod.stop(process)
    os.close(pipe)


def test_a_pod_that_is_stopped_while_it_checks_the_video_shows_nothing(pod: Pod) -> None:
    begun = pod.folder / "begun"
    real = shutil.which("ffprobe")
    script = f'case "$*" in *count_packets*) touch {begun}; exec sleep 60;; esac\nexec {real} "$@"'
    pod.programs["PATH"] = program(pod.folder / "bin", "ffprobe", script)
    pod.stage.plan()
    with pod.running() as process:
        wait_for(begun.exists, seconds=60)
        pod.stop(process)
    assert pod.stage.stored() == set()
    assert [row[1] for row in pod.stage.records()] == ["RENDERING"]
