"""Which bytes of a video a request asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.ranges import ByteRange, UnsatisfiableRangeError, parse_range


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 999),
        ("bytes=5-9", 5, 9),
        ("Bytes= 5-9 ", 5, 9),
        ("bytes=990-5000", 990, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-5000", 0, 999),
        ("bytes=999-", 999, 999),
    ],
)
def test_a_range_is_cut_to_what_there_is(header: str, first: int, last: int) -> None:
    assert parse_range(header, 1000) == ByteRange(first, last)


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-5", "items=0-1", "bytes=0-1,5-9", "bytes=+1-2"),
        *("bytes=0x1-2", "bytes=\u0661-\u0662", "bytes=" + "0" * 300 + "-"),
    ],
)
def test_what_cannot_be_read_or_asks_for_several_ranges_gets_the_whole(header: str | None) -> None:
    assert parse_range(header, 1000) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_a_range_outside_is_refused(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@given(st.integers(0, 40), st.none() | st.integers(0, 40), st.integers(0, 30))
def test_a_range_is_what_its_numbers_select(first: int, last: int | None, size: int) -> None:
    header = f"bytes={first}-{'' if last is None else last}"
    wanted = [place for place in range(size) if first <= place and (last is None or place <= last)]
    if last is not None and last < first:
        assert parse_range(header, size) is None
    elif not wanted:
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(header, size)
    else:
        assert parse_range(header, size) == ByteRange(wanted[0], wanted[-1])


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=40) | st.text(max_size=40), st.integers(0, 10**12))
def test_whatever_is_asked_for_nothing_outside_is_sent(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except UnsatisfiableRangeError:
        return
    assert found is None or (0 <= found.first <= found.last < size and found.length > 0)
