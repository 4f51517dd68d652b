"""Test recordings are the same for the same seed, and are what BBB publishes."""

from __future__ import annotations

import io
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest

from dev.recordings.documents import documents
from dev.recordings.options import Generation, Options, share_times, slide_times
from dev.recordings.writing import write_archive, write_recording


@pytest.mark.parametrize("generation", list(Generation))
def test_the_same_seed_gives_the_same_recording_and_another_one_another(generation: Generation) -> None:
    first = documents(Options(generation=generation))
    assert first == documents(Options(generation=generation))
    assert first != documents(Options(generation=generation, seed=2))
    assert ("tldraw.json" in first) == generation.is_tldraw
    assert ('class="canvas"' in first["shapes.svg"]) != generation.is_tldraw


def test_the_metadata_names_the_meeting_as_the_options_do() -> None:
    metadata = documents(Options(external_meeting="UNI-001-lecture"))["metadata.xml"]
    assert "<meetingId>UNI-001-lecture</meetingId>" in metadata
    assert "{" not in metadata


@pytest.mark.parametrize(("seconds", "slides", "shares"), [(5, 1, 0), (12, 3, 1), (600, 20, 4), (10_800, 40, 9)])
def test_slides_and_screen_shares_fill_the_time_without_a_gap(seconds: float, slides: int, shares: int) -> None:
    options = Options(seconds=seconds, slides=slides, screen_shares=shares)
    times = slide_times(options)
    assert (times[0].begin, times[-1].end) == (0, seconds)
    assert all(one.end == following.begin for one, following in pairwise(times))
    assert {time.page for time in times} - {None} == set(range(slides))
    assert [(time.begin, time.end) for time in times if time.page is None] or not shares
    assert len(share_times(options)) == shares


def test_the_archive_is_what_tar_writes_of_the_folder(tmp_path: Path) -> None:
    write_recording(tmp_path, Options(width=64, height=48), media=False)
    first, second = io.BytesIO(), io.BytesIO()
    write_archive(tmp_path, first)
    (tmp_path / "metadata.xml").touch()
    write_archive(tmp_path, second)
    assert first.getvalue() == second.getvalue()
    first.seek(0)
    with tarfile.open(fileobj=first) as archive:
        names = archive.getnames()
    assert names[0] == "."
    assert "./metadata.xml" in names
    assert "./presentation/first/slide-1.png" in names
