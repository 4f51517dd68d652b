"""Secrets are removed from whatever people may read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.redaction import LONGEST_TEXT, redact, redact_value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://b3lb:geheim@db:5432/b3lb", "postgresql://b3lb:[redacted]@db:5432/b3lb"),
        ("postgresql://:geheim@db/b3lb", "postgresql://:[redacted]@db/b3lb"),
        ("at postgres://u:p@ss/w?rd@db, twice", "at postgres://u:[redacted]@db, twice"),
        ("postgresql://u:12345@db/b3lb", "postgresql://u:[redacted]@db/b3lb"),
        ("host=db password=geheim user=b3lb", "host=db password=[redacted] user=b3lb"),
        ("host=db password = 'ge heim' user=b3lb", "host=db password = [redacted] user=b3lb"),
        ("GET /api/getMeetings?checksum=0a1b2c&x=1", "GET /api/getMeetings?checksum=[redacted]&x=1"),
        ("url='https://n/api/create?a=b&checksum=0a1b2c'", "url='https://n/api/create?a=b&checksum=[redacted]'"),
        ("redirect=https%3A%2F%2Fn%2F%3Fchecksum%3D0a1b", "redirect=https%3A%2F%2Fn%2F%3Fchecksum%3D[redacted]"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: [redacted]"),
        ("authorization: Basic dXNlcjpwdw==", "authorization: [redacted]"),
        ("sent bearer eyJhbGciOi.J9_x-y/z==", "sent bearer [redacted]"),
        ('{"password": "geheim", "a": 1}', '{"password": "[redacted]", "a": 1}'),
        ("{'api_secret': 'geheim'}", "{'api_secret': '[redacted]'}"),
        ("{'token': b'geheim'}", "{'token': b'[redacted]'}"),
        ('{\\"secret\\": \\"geheim\\"}', '{\\"secret\\": \\"[redacted]\\"}'),
        ("B3LB_SECRET=geheim", "B3LB_SECRET=[redacted]"),
    ],
)
def test_secrets_are_removed(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://bbb-1.example.org:8443/bigbluebutton/api",
        "http://127.0.0.1:8080/a@b",
        "https://u@host/path",
        "Secret bbb-1 has no key secret: not found",
        "the checksum algorithm is sha256",
        "password authentication failed for user b3lb",
        "the token of the lease is lost",
    ],
)
def test_texts_without_a_secret_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@given(
    secret=st.text("abcdefXYZ0123456789-_.~%", min_size=8, max_size=40),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
)
def test_a_password_in_a_database_url_never_survives(secret: str, before: str, after: str) -> None:
    secret = f"pw{secret}"
    assert secret not in redact(f"{before} postgresql://user:{secret}@db.example.org/b3lb {after}")


@given(st.text(max_size=500))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize("piece", ["://a:", "://", "password=", "bearer ", '"secret": "', "a@", "authorization: x "])
def test_hostile_texts_take_bounded_time(piece: str) -> None:
    begin = time.process_time()
    assert len(redact(piece * 100_000)) < 10 * LONGEST_TEXT
    assert time.process_time() - begin < 1.5


def test_long_texts_lose_their_middle_and_never_the_name_in_front_of_a_secret() -> None:
    text = "begin " + "x" * LONGEST_TEXT + " password = " + "s" * 12_000 + " more\nend"
    short = redact(text)
    assert len(short) <= LONGEST_TEXT
    assert short.startswith("begin x")
    assert short.endswith("\n…\nend")
    assert "ss" not in short


def test_values_under_secret_names_are_removed_at_every_depth() -> None:
    value = {
        "url": "https://n/?checksum=12ab",
        "apiSecret": "geheim",
        "items": [{"password": "geheim"}, ("bearer abcdefghi",), {1: b"password=geheim"}],
        "secret_found": "yes",
        "token": 7,
        "secret": None,
        "authorization": {"any": "thing"},
    }
    assert redact_value("node", value) == {
        "url": "https://n/?checksum=[redacted]",
        "apiSecret": "[redacted]",
        "items": [{"password": "[redacted]"}, ["bearer [redacted]"], {"1": "b'password=[redacted]'"}],
        "secret_found": "yes",
        "token": 7,
        "secret": None,
        "authorization": "[redacted]",
    }


@pytest.mark.parametrize(
    "key", ["secret", "node_secret", "db.password", "X-Auth-Token", "accessToken", "Authorization"]
)
def test_a_name_that_ends_in_a_secret_word_hides_its_value(key: str) -> None:
    assert redact_value(key, "geheim") == "[redacted]"


@pytest.mark.parametrize("key", ["secretRef", "tokens_seen", "passwordless", "event"])
def test_a_name_that_only_contains_a_secret_word_does_not(key: str) -> None:
    assert redact_value(key, "bbb-1") == "bbb-1"


def test_endless_structures_end() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "[...]" in str(redact_value("x", endless))
