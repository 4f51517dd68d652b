"""What watches over a rendering tells of its progress, and ends what hangs, is late or no longer wanted."""

import subprocess
import threading
from typing import cast

import pytest

from b3lb_jobs.errors import TransientError
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.watch import STALL_SECONDS, Stage, Watch, deadline_seconds


class Encoder:
    """Stands for FFmpeg's process."""

    killed = False

    def kill(self) -> None:
        self.killed = True


class Desk:
    """A watch whose clock the test sets, and what it wrote."""

    def __init__(self) -> None:
        self.now = 0.0
        self.noted: list[tuple[float, str]] = []
        self.wanted = True
        self.away = False
        self.encoder = Encoder()
        self.watch = Watch(self._note, monotonic=lambda: self.now)

    def _note(self, percent: float, message: str) -> bool:
        if self.away:
            raise TransientError("database: away")
        self.noted.append((percent, message))
        return self.wanted

    def start(self) -> None:
        self.watch.started(cast("subprocess.Popen[bytes]", self.encoder))

    def look(self, seconds: float) -> None:
        self.now += seconds
        self.watch.look()


def fault(desk: Desk) -> FailureCode:
    with pytest.raises(RecordError) as caught:
        desk.watch.check()
    return caught.value.code


def test_the_parts_of_the_work_are_one_hundred_percent() -> None:
    stages = list(Stage)
    assert [stage.percent(1.0) for stage in stages] == [5.0, 6.0, 96.0, 100.0]
    assert [stage.percent(0.0) for stage in stages] == [0.0, 5.0, 6.0, 96.0]
    assert Stage.RENDER.percent(7) == 96.0


def test_progress_is_written_every_ten_seconds_and_never_goes_back() -> None:
    desk = Desk()
    desk.look(1)
    desk.watch.enter(Stage.RENDER)
    desk.watch.share(0.5)
    desk.look(5)
    desk.watch.share(0.2)
    desk.look(5)
    assert desk.noted == [(0.0, "fetching the recording"), (51.0, "rendering")]


def test_a_database_that_is_away_costs_a_note_and_nothing_else() -> None:
    desk = Desk()
    desk.away = True
    desk.look(1)
    desk.watch.check()
    desk.away = False
    desk.look(10)
    assert len(desk.noted) == 1


def test_who_is_no_longer_wanted_stops_and_ends_ffmpeg() -> None:
    desk = Desk()

    def encode() -> None:
        with desk.watch.encoding(1000):
            desk.start()
            desk.wanted = False
            desk.look(10)
            assert desk.encoder.killed
            raise RecordError(FailureCode.OUT_OF_MEMORY, "FFmpeg was killed")

    with pytest.raises(RecordError) as caught:
        encode()
    assert caught.value.code is FailureCode.CANCELLED
    assert fault(desk) is FailureCode.CANCELLED


def test_an_encoder_without_progress_is_ended_but_not_one_that_finishes_its_file() -> None:
    desk = Desk()

    def encode() -> None:
        with desk.watch.encoding(10_000):
            desk.start()
            desk.watch.share(0.5)
            desk.look(STALL_SECONDS - 1)
            assert not desk.encoder.killed
            desk.watch.share(0.6)
            desk.look(2)
            assert not desk.encoder.killed
            desk.look(STALL_SECONDS)
            assert desk.encoder.killed

    with pytest.raises(RecordError, match="encoded nothing"):
        encode()
    assert fault(desk) is FailureCode.TIMEOUT
    finishing = Desk()
    with finishing.watch.encoding(10_000):
        finishing.start()
        finishing.watch.share(1.0)
        finishing.look(5 * STALL_SECONDS)
    assert not finishing.encoder.killed


def test_an_encoder_that_takes_too_long_is_ended() -> None:
    desk = Desk()

    def encode() -> None:
        with desk.watch.encoding(60):
            desk.start()
            desk.look(59)
            assert not desk.encoder.killed
            desk.watch.share(0.9)
            desk.look(1)

    with pytest.raises(RecordError, match="longer than it may"):
        encode()
    assert desk.encoder.killed


def test_the_deadline_follows_the_length_and_what_the_run_has_left() -> None:
    assert deadline_seconds(600, 1e6) == 1860
    assert deadline_seconds(600, 100) == 100


def test_nothing_is_looked_at_after_the_end() -> None:
    desk = Desk()
    with desk.watch:
        pass
    assert not desk.watch._thread.is_alive()


def test_a_watch_that_fails_itself_ends_the_encoder_and_says_why() -> None:
    failing = threading.Event()

    def note(_percent: float, _message: str) -> bool:
        failing.wait(5)
        raise ValueError("no such column")

    def work() -> None:
        with Watch(note) as watch, watch.encoding(1000):
            watch.started(cast("subprocess.Popen[bytes]", encoder))
            failing.set()
            watch._thread.join(5)
            raise RecordError(FailureCode.OUT_OF_MEMORY, "FFmpeg was killed")

    encoder = Encoder()
    with pytest.raises(ValueError, match="no such column"):
        work()
    assert encoder.killed
