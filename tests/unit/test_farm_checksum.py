"""The simulated node's own checksum agrees with published vectors and accepts only what is allowed."""

import hashlib
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.farm.checksum import ALGORITHMS, checksum, is_valid, signed_url, split_checksum

SECRET: Final = "s3cret"


@pytest.mark.parametrize(
    ("call", "query", "secret", "algorithm", "expected"),
    [
        (
            "create",
            "name=Test+Meeting&meetingID=abc123&attendeePW=111222&moderatorPW=333444",
            "639259d4-9dd8-4b25-bf01-95f9567eaf4b",
            "sha1",
            "1fcbb0c4fc1f039f73aa6d697d2db9ba7f803f17",
        ),
        (
            "getMeetingInfo",
            "meetingID=m1&password=mod-pw",
            "w7-secret",
            "sha1",
            "f4ec5162b3840ff3fd8a8ac6b27218d6a9439291",
        ),
        (
            "getMeetingInfo",
            "meetingID=m1&password=mod-pw",
            "w7-secret",
            "sha256",
            "2a93a0e94d917f900d4806586081d9041d810aef725d4b038c2545136efbc851",
        ),
    ],
)
def test_published_vectors(call: str, query: str, secret: str, algorithm: str, expected: str) -> None:
    assert checksum(call, query, secret=secret, algorithm=algorithm) == expected
    assert is_valid(call, f"{query}&checksum={expected}", secret=secret, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_length_tells_the_algorithm(algorithm: str) -> None:
    query = f"checksum={hashlib.new(algorithm, b'getMeetings' + SECRET.encode()).hexdigest()}"
    assert is_valid("getMeetings", query, secret=SECRET, algorithms=ALGORITHMS)
    assert is_valid("getMeetings", query, secret=SECRET, algorithms=[algorithm])
    assert not is_valid("getMeetings", query, secret=SECRET, algorithms=set(ALGORITHMS) - {algorithm})


@pytest.mark.parametrize(
    ("query", "signed", "given_checksum"),
    [
        ("", "", ""),
        ("checksum=ab", "", "ab"),
        ("&checksum=ab", "", "ab"),
        ("a=1&checksum=ab", "a=1", "ab"),
        ("checksum=ab&a=1", "a=1", "ab"),
        ("a=1&checksum=ab&b=%c3%A4+x%20y", "a=1&b=%c3%A4+x%20y", "ab"),
        ("checksum=ab&checksum=cd", "", ""),
        ("mychecksum=ab", "mychecksum=ab", ""),
    ],
)
def test_the_checksum_is_taken_out_wherever_it_stands(query: str, signed: str, given_checksum: str) -> None:
    assert split_checksum(query)[1] == given_checksum
    assert split_checksum(query)[0].strip("&") == signed


def test_the_query_is_checked_as_it_was_sent() -> None:
    """Another encoding of the same parameters has another checksum."""
    query = signed_url("", "getMeetingInfo", "meetingID=a%20b", secret=SECRET).partition("?")[2]
    assert is_valid("getMeetingInfo", query, secret=SECRET, algorithms=ALGORITHMS)
    assert not is_valid("getMeetingInfo", query.replace("%20", "+"), secret=SECRET, algorithms=ALGORITHMS)
    assert not is_valid("isMeetingRunning", query, secret=SECRET, algorithms=ALGORITHMS)
    assert not is_valid("getMeetingInfo", query, secret="other", algorithms=ALGORITHMS)


@pytest.mark.parametrize("wrong", ["", "0" * 40, "0" * 64, "x" * 40, "ä" * 40, "0" * 41, "\udcff" * 64])
def test_a_wrong_checksum_is_refused(wrong: str) -> None:
    assert not is_valid("getMeetings", f"checksum={wrong}", secret=SECRET, algorithms=ALGORITHMS)


def test_upper_case_is_refused() -> None:
    right = checksum("getMeetings", "", secret=SECRET, algorithm="sha1")
    assert not is_valid("getMeetings", f"checksum={right.upper()}", secret=SECRET, algorithms=ALGORITHMS)


def test_an_empty_secret_switches_the_check_off() -> None:
    assert is_valid("getMeetings", "checksum=nonsense", secret="", algorithms=ALGORITHMS)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="&?# ")),
    st.sampled_from(ALGORITHMS),
    st.text(st.characters(codec="utf-8"), min_size=1),
)
def test_every_signed_url_is_valid(value: str, algorithm: str, secret: str) -> None:
    url = signed_url("", "getMeetingInfo", f"meetingID={value}", secret=secret, algorithm=algorithm)
    query = url.partition("?")[2]
    assert is_valid("getMeetingInfo", query, secret=secret, algorithms=[algorithm])
