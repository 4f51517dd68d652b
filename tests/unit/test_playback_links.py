"""Links to videos that expire."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.crypto import KeyRing
from b3lb.recordings.links import LinkProblem, link_problem, link_query

KEYS = KeyRing.generate()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def query(nonce: str = "n1", keys: KeyRing = KEYS) -> dict[str, str]:
    return dict(parse_qsl(link_query(nonce, LATER, keys)))


def test_a_link_is_good_until_it_expires() -> None:
    assert link_problem("n1", query(), KEYS, LATER - timedelta(seconds=1)) is None
    assert link_problem("n1", query(), KEYS, LATER) is LinkProblem.EXPIRED


def test_a_link_that_would_be_good_for_too_long_shows_nothing() -> None:
    hour = timedelta(hours=1)
    assert link_problem("n1", query(), KEYS, NOW, longest=hour) is None
    assert link_problem("n1", query(), KEYS, NOW - timedelta(seconds=1), longest=hour) is LinkProblem.TOO_LONG


def test_a_link_without_a_signature_or_a_moment_is_not_signed() -> None:
    for missing in ("expires", "signature"):
        assert link_problem("n1", {**query(), missing: ""}, KEYS, NOW) is LinkProblem.UNSIGNED
    assert link_problem("n1", {}, KEYS, NOW) is LinkProblem.UNSIGNED


def test_neither_the_moment_nor_the_video_can_be_exchanged() -> None:
    longer = str(int(LATER.timestamp()) + 1)
    assert link_problem("n1", {**query(), "expires": longer}, KEYS, NOW) is LinkProblem.WRONG_SIGNATURE
    assert link_problem("n2", query("n1"), KEYS, NOW) is LinkProblem.WRONG_SIGNATURE
    assert link_problem("n1", query(keys=KeyRing.generate()), KEYS, NOW) is LinkProblem.WRONG_SIGNATURE


def test_a_link_outlives_the_exchange_of_the_primary_key() -> None:
    old, new = (f"{name}:{base64.b64encode(bytes([number] * 32)).decode()}" for number, name in enumerate(("k1", "k2")))
    link = query(keys=KeyRing.parse(old))
    assert link_problem("n1", link, KeyRing.parse(f"{new},{old}"), NOW) is None
    assert link_problem("n1", link, KeyRing.parse(new), NOW) is LinkProblem.WRONG_SIGNATURE


@given(st.text(max_size=300), st.text(max_size=20) | st.integers().map(str))
def test_whatever_is_given_as_a_signature_is_not_one(signature: str, expires: str) -> None:
    problem = link_problem("n1", {"expires": expires, "signature": signature}, KEYS, NOW)
    assert problem in {LinkProblem.UNSIGNED, LinkProblem.WRONG_SIGNATURE}


@pytest.mark.parametrize("signature", ["k1.", "k1.!!!!", "nobody.AAAA", ".", "k1." + "A" * 5000, "k1.\ud800"])
def test_a_malformed_signature_is_wrong(signature: str) -> None:
    assert link_problem("n1", {**query(), "signature": signature}, KEYS, NOW) is LinkProblem.WRONG_SIGNATURE
