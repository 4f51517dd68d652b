"""How the task checksum-files is tested: in this process, without a database and without a cluster."""

import hashlib
from pathlib import Path

import checksum_task
import pytest

from b3lb_jobs.errors import PermanentError, SoftTimeLimitError, TransientError
from b3lb_jobs.trial import trial_context


def test_every_file_has_its_checksum_and_progress_is_told(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.txt"):
        (tmp_path / name).write_text(name)
    told: list[tuple[float, str]] = []
    context = trial_context(on_progress=lambda percent, message: told.append((percent, message)))
    result = checksum_task.CHECKSUM_FILES.run(context, {"directory": str(tmp_path), "pattern": "*.mp4"})
    assert result == {
        "complete": True,
        "files": 2,
        "sha256": {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.mp4", "b.mp4")},
    }
    assert told == [(0.0, "a.mp4"), (50.0, "b.mp4")]


def test_without_the_directory_it_fails_for_good(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no directory"):
        checksum_task.CHECKSUM_FILES.run(trial_context(), {"directory": str(tmp_path / "none")})


def test_wrong_arguments_are_refused_before_anything_happens() -> None:
    with pytest.raises(PermanentError, match="the arguments are not valid: directory: Field required"):
        checksum_task.CHECKSUM_FILES.run(trial_context(), {})


def test_a_file_that_cannot_be_read_now_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_text("a")

    def busy(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", busy)
    with pytest.raises(TransientError, match=r"a\.mp4: Permission denied") as caught:
        checksum_task.CHECKSUM_FILES.run(trial_context(), {"directory": str(tmp_path)})
    assert caught.value.countdown == 30.0


def test_when_the_time_is_over_what_is_there_is_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    def overdue(path: Path) -> str:
        if path.name == "b":
            raise SoftTimeLimitError("the soft time limit of 240 s is over")
        return "sum"

    monkeypatch.setattr(checksum_task, "_checksum", overdue)
    result = checksum_task.CHECKSUM_FILES.run(trial_context(), {"directory": str(tmp_path)})
    assert result == {"complete": False, "files": 2, "sha256": {"a": "sum"}}
