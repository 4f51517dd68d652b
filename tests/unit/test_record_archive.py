"""Archives of recordings are unpacked while they arrive, and nothing that is hostile in them gets anywhere."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3lb_jobs.record.archive import ArchiveLimits, extract
from b3lb_jobs.record.failures import FailureCode, RecordError, Retry
from dev.recordings.options import Generation, Options
from dev.recordings.writing import write_archive, write_recording

Edit = Callable[[tarfile.TarInfo], None]


def archive(*members: tuple[str, bytes], edit: Edit | None = None) -> bytes:
    """Return a tar with these members after the ones that every recording has."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for index, (name, data) in enumerate(
            [("./metadata.xml", b"<recording/>"), ("./shapes.svg", b"<svg/>"), *members]
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if edit is not None and index > 1:
                edit(member)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def refused(data: bytes, target: Path, limits: ArchiveLimits | None = None) -> FailureCode:
    with pytest.raises(RecordError) as caught:
        extract(io.BytesIO(data), target, limits)
    return caught.value.code


@pytest.mark.parametrize("generation", list(Generation))
def test_what_rendering_needs_is_written_and_the_rest_is_passed_over(generation: Generation, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write_recording(source, Options(generation=generation, width=64, height=48), media=False)
    target.mkdir()
    stream = io.BytesIO()
    write_archive(source, stream)
    stream.seek(0)
    found = extract(stream, target)
    written = {path.relative_to(target).as_posix(): path.stat().st_size for path in target.rglob("*") if path.is_file()}
    assert written == found.files
    assert found.size == sum(written.values())
    assert {"metadata.xml", "shapes.svg", "panzooms.xml", "cursor.xml", "deskshare.xml"} <= set(written)
    assert not any("thumbnails" in path or path == "slides_new.xml" for path in written)
    assert all((target / path).read_bytes() == (source / path).read_bytes() for path in written)
    assert ("tldraw.json" in written) == generation.is_tldraw


@pytest.mark.parametrize("name", ["../x", "./presentation/../../x.png", "/etc/passwd", "a/../b"])
def test_paths_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    assert refused(archive((name, b"x")), tmp_path) is FailureCode.ARCHIVE_UNSAFE
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_nothing_but_files_and_directories_is_taken(kind: bytes, tmp_path: Path) -> None:
    def edit(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    assert refused(archive(("video/webcams.webm", b""), edit=edit), tmp_path) is FailureCode.ARCHIVE_UNSAFE


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    def edit(member: tarfile.TarInfo) -> None:
        member.type = tarfile.GNUTYPE_SPARSE

    assert refused(archive(("video/webcams.webm", b""), edit=edit), tmp_path) is FailureCode.ARCHIVE_UNSAFE


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    assert refused(archive(("metadata.xml", b"<other/>")), tmp_path) is FailureCode.ARCHIVE_UNSAFE


@pytest.mark.parametrize("names", [("a.png", "a.png/b.png"), ("a.png/b.png", "a.png")])
def test_a_name_that_is_both_a_file_and_a_folder_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    members = [(f"presentation/{name}", b"x") for name in names]
    assert refused(archive(*members), tmp_path) is FailureCode.ARCHIVE_UNSAFE


def test_a_member_whose_headers_do_not_end_is_refused_before_they_are_in_memory(tmp_path: Path) -> None:
    data = archive(("a" * 2_000_000, b"x"))
    assert refused(data, tmp_path) is FailureCode.ARCHIVE_UNSAFE


def test_members_and_bytes_are_limited(tmp_path: Path) -> None:
    many = archive(*[(f"notes/{index}", b"") for index in range(30)])
    assert refused(many, tmp_path / "1", ArchiveLimits(members=20)) is FailureCode.ARCHIVE_TOO_LARGE
    (tmp_path / "2").mkdir()
    assert refused(many, tmp_path / "2", ArchiveLimits(document=5)) is FailureCode.ARCHIVE_TOO_LARGE
    (tmp_path / "3").mkdir()
    large = archive(("presentation/x/slide-1.png", bytes(2_000)))
    assert refused(large, tmp_path / "3", ArchiveLimits(picture=1_000)) is FailureCode.ARCHIVE_TOO_LARGE
    (tmp_path / "4").mkdir()
    media = archive(("video/webcams.webm", bytes(200_000)))
    assert refused(media, tmp_path / "4", ArchiveLimits(total=100_000)) is FailureCode.ARCHIVE_TOO_LARGE


@pytest.mark.parametrize("data", [b"garbage" * 200, gzip.compress(archive()), b"\0" * 511])
def test_what_is_no_plain_tar_is_corrupt(data: bytes, tmp_path: Path) -> None:
    assert refused(data, tmp_path) is FailureCode.ARCHIVE_CORRUPT


def test_an_empty_archive_says_so(tmp_path: Path) -> None:
    assert refused(b"", tmp_path) is FailureCode.ARCHIVE_EMPTY


def test_an_archive_that_was_cut_anywhere_is_corrupt(tmp_path: Path) -> None:
    whole = archive(("video/webcams.webm", random.Random(1).randbytes(20_000)))
    end = 512 * 4 + 512 + 20_000
    for index, cut in enumerate([600, 2_048, 2_560, 10_000, end - 1, -(-end // 512) * 512]):
        target = tmp_path / str(index)
        target.mkdir()
        assert refused(whole[:cut], target) is FailureCode.ARCHIVE_CORRUPT, cut


def test_a_recording_without_its_parts_is_incomplete(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("metadata.xml")
        tar.addfile(member, io.BytesIO())
    assert refused(stream.getvalue(), tmp_path) is FailureCode.RECORDING_INCOMPLETE


def test_a_full_disk_is_told_apart_and_worth_another_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    code = refused(archive(("video/webcams.webm", b"x")), tmp_path)
    assert code is FailureCode.DISK_FULL
    assert code.retry is Retry.BACKOFF


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 6_000), st.binary(min_size=1, max_size=12)), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_change_of_an_archive_ends_well_or_with_a_known_code(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], kind: int
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
        for name in ("metadata.xml", "shapes.svg", "presentation/" + "x" * 120 + "/slide-1.png"):
            member = tarfile.TarInfo(name)
            member.size = 700
            tar.addfile(member, io.BytesIO(bytes(700)))
    data = bytearray(stream.getvalue())
    for place, new in changes:
        data[place : place + len(new)] = new
        # Whoever means harm makes the check sum right again.
        start = place - place % 512
        block = data[start : start + 512]
        block[148:156] = b" " * 8
        data[start + 148 : start + 156] = f"{sum(block):06o}\0 ".encode()
    target = tmp_path_factory.mktemp("target")
    with contextlib.suppress(RecordError):
        files = extract(io.BytesIO(bytes(data)), target).files
        assert all((target / name).stat().st_size == size for name, size in files.items())
