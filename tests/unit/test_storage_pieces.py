"""Pieces that are read as one file."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.storage.pieces import Pieces


@given(
    st.lists(st.binary(max_size=5).map(bytearray), max_size=6),
    st.lists(st.tuples(st.integers(-3, 40), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])), max_size=5),
    st.integers(0, 12),
)
def test_pieces_are_read_as_their_join_would_be(
    pieces: list[bytearray], places: list[tuple[int, int]], count: int
) -> None:
    given_, expected = io.BufferedReader(Pieces(pieces), 4), io.BytesIO(b"".join(pieces))
    for offset, whence in places:
        if whence == os.SEEK_SET and offset < 0:
            continue
        base = {os.SEEK_SET: 0, os.SEEK_CUR: expected.tell(), os.SEEK_END: len(expected.getvalue())}[whence]
        if base + offset < 0:
            continue
        assert given_.seek(offset, whence) == expected.seek(offset, whence)
        assert given_.read(count) == expected.read(count)
    assert given_.read() == expected.read()


def test_there_is_nothing_before_the_begin() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Pieces([bytearray(b"abc")]).seek(-4, os.SEEK_END)
