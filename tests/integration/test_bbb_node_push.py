"""The script that BigBlueButton servers push recordings with, run by a plain POSIX shell against the front end."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from b3lb.db.tables import record_sets
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.interface import StorageError
from tests.integration.database_farm import Farm
from tests.integration.upload_server import NONCE, Server, metadata_xml, rows, serving, settings_for

SCRIPT = Path(__file__).parents[2] / "examples" / "bbb-node" / "b3lb-push"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("curl") or not shutil.which("flock"), reason="curl or flock is missing"),
]


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    (tmp_path / "storage").mkdir()
    return DirectoryStorage(tmp_path / "storage")


@pytest.fixture
def server(farm: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path) -> Iterator[Server]:
    farm.fill(1, [farm.cluster(secret=NONCE)])
    with serving(settings_for(farm, database_url, tmp_path / "storage"), storage) as running:
        yield running


@pytest.fixture
def node(tmp_path: Path, server: Server) -> Path:
    """A server's disk with two published recordings and a configured script."""
    for record_id in ("first-1", "second-2"):
        folder = tmp_path / "published" / record_id
        (folder / "video").mkdir(parents=True)
        (folder / "metadata.xml").write_bytes(metadata_xml(record_id))
        (folder / "video" / "webcams.webm").write_bytes(record_id.encode() * 1000)
    configure(tmp_path, B3LB_URL=f"http://{server.host}:{server.port}/", B3LB_NONCE=NONCE)
    return tmp_path


def configure(node: Path, **values: str) -> None:
    given = {
        "B3LB_PUBLISHED": str(node / "published"),
        "B3LB_STATE": str(node / "state"),
        "B3LB_ATTEMPTS": "3",
        "B3LB_PAUSE": "0",
        **values,
    }
    with (node / "conf").open("a") as file:
        file.writelines(f"{name}='{value}'\n" for name, value in given.items())


def push(node: Path, *record_ids: str, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{programs}:{os.environ['PATH']}" if programs else os.environ["PATH"]
    environment = {"PATH": path, "B3LB_PUSH_CONFIG": str(node / "conf")}
    command = ["sh", str(SCRIPT), *record_ids]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)


def program(node: Path, name: str, text: str) -> Path:
    """Put a program before those of the system; return its directory."""
    folder = node / "programs"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


def test_everything_published_is_sent_once_and_arrives_whole(node: Path, farm: Farm, storage: DirectoryStorage) -> None:
    ended = push(node)
    assert ended.returncode == 0, ended.stderr
    found = {row["record_id"]: row["archive_key"] for row in rows(farm, record_sets)}
    assert sorted(found) == ["first-1", "second-2"]
    with storage.open(found["first-1"]) as file, tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
        video = archive.extractfile("./video/webcams.webm")
        assert video is not None
        assert video.read() == b"first-1" * 1000
    again = push(node)
    assert (again.returncode, again.stderr) == (0, "")
    assert list((node / "state" / "work").iterdir()) == []


def test_the_nonce_is_no_argument_of_any_program(node: Path) -> None:
    curl = shutil.which("curl")
    programs = program(node, "curl", f'printf "%s\\n" "$*" >>{node}/arguments\nexec {curl} "$@"')
    assert push(node, programs=programs).returncode == 0
    assert "metadata.xml" in (node / "arguments").read_text()
    assert NONCE not in (node / "arguments").read_text()


def test_a_fault_is_tried_again_and_what_is_left_waits_for_the_next_run(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, faults = DirectoryStorage.create, iter([True, True, False, *[True] * 3])

    def fail(self: DirectoryStorage, key: str, **more: str) -> object:
        if key.endswith("archive.tar") and next(faults, False):
            raise StorageError("away")
        return create(self, key, **more)

    monkeypatch.setattr(DirectoryStorage, "create", fail)
    ended = push(node)
    assert ended.returncode == 75
    assert "first-1: attempt 2 of 3: 503" in ended.stderr
    assert "first-1: taken" in ended.stderr
    assert "second-2: attempt 3 of 3: 503" in ended.stderr
    ended = push(node)
    assert (ended.returncode, ended.stderr) == (0, "b3lb-push: second-2: taken\n")


def test_a_server_that_is_away_is_waited_for(node: Path) -> None:
    configure(node, B3LB_URL="http://127.0.0.1:9")
    ended = push(node, "first-1")
    assert ended.returncode == 75
    assert "attempt 3 of 3: 000" in ended.stderr


def test_a_recording_that_is_refused_is_not_sent_again_by_itself(node: Path) -> None:
    (node / "published" / "first-1" / "metadata.xml").write_bytes(metadata_xml("first-1", breakout=True))
    ended = push(node)
    assert ended.returncode == 65
    assert "first-1: refused with 403" in ended.stderr
    assert "second-2: taken" in ended.stderr
    assert push(node).returncode == 0
    assert push(node, "first-1").returncode == 65


def test_a_wrong_nonce_ends_the_run_and_marks_nothing(node: Path) -> None:
    configure(node, B3LB_NONCE="wrong")
    ended = push(node)
    assert (ended.returncode, ended.stderr) == (78, "b3lb-push: b3lb does not know the nonce\n")
    assert list((node / "state" / "refused").iterdir()) == []
    configure(node, B3LB_NONCE=NONCE)
    assert push(node).returncode == 0


def test_only_what_was_taken_is_deleted_and_only_if_asked_for(node: Path) -> None:
    (node / "published" / "first-1" / "metadata.xml").write_bytes(metadata_xml("first-1", breakout=True))
    programs = program(node, "bbb-record", f'echo "$*" >>{node}/deleted')
    configure(node, B3LB_DELETE="yes")
    assert push(node, programs=programs).returncode == 65
    assert (node / "deleted").read_text() == "--delete second-2\n"


@pytest.mark.parametrize("record_id", ["../first-1", "a b", "-x", "a;b"])
def test_what_is_no_record_id_is_refused(node: Path, record_id: str) -> None:
    assert push(node, record_id).returncode == 78


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, "<html>a portal, not b3lb</html>"),
        (200, '{"status":"stored","recordId":"another-9"}'),
        (400, "<html>The plain HTTP request was sent to HTTPS port</html>"),
        (403, "<html>Forbidden by a filter</html>"),
        (413, "<html>Request Entity Too Large</html>"),
    ],
)
def test_what_somebody_else_answers_neither_takes_nor_refuses_anything(node: Path, status: int, answer: str) -> None:
    """A proxy that is wrongly configured must cost no recording, least of all with B3LB_DELETE."""
    (node / "answer").write_text(answer)
    programs = program(
        node,
        "curl",
        f'while [ "$1" != --output ]; do shift; done; cat >/dev/null\ncp {node}/answer "$2"; printf {status}',
    )
    program(node, "bbb-record", f'echo "$*" >>{node}/deleted')
    configure(node, B3LB_DELETE="yes")
    ended = push(node, programs=programs)
    assert ended.returncode == 75, ended.stderr
    assert not (node / "deleted").exists()
    assert list((node / "state" / "sent").iterdir()) == list((node / "state" / "refused").iterdir()) == []
    assert "look at B3LB_URL" in ended.stderr


def test_a_folder_that_is_no_recording_holds_up_nothing(node: Path) -> None:
    shutil.copytree(node / "published" / "first-1", node / "published" / "first-1.bak")
    ended = push(node)
    assert (ended.returncode, ended.stderr) == (0, "b3lb-push: first-1: taken\nb3lb-push: second-2: taken\n")
