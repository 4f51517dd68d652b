"""Who is told of a recording."""

import pytest

from b3lb.callbacks.announcement import READY_URL, client_meeting_id, ready_url


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://example.com/ready?a=1&b=2", "https://example.com/ready?a=1&b=2"),
        (" https://example.com/ready?a=1&amp;b=2\n", "https://example.com/ready?a=1&b=2"),
        ("https://example.com/ready?copy=1&b=2", "https://example.com/ready?copy=1&b=2"),
        ("", None),
        ("ftp://example.com/", None),
        ("example.com/ready", None),
        ("https://example.com/" + "x" * 3000, None),
    ],
)
def test_the_url_of_the_metadata_is_taken_as_the_client_gave_it(value: str, expected: str | None) -> None:
    assert ready_url({READY_URL: value}) == expected


def test_without_the_url_nobody_is_told() -> None:
    assert ready_url({}) is None


def test_the_client_hears_the_id_that_it_chose() -> None:
    assert client_meeting_id("UNI-001-room-7") == "room-7"
    assert client_meeting_id("room-7") is None
