import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from b3lb.bbb.checksum import ALGORITHMS, sign, signed_url

# From the BBB documentation: https://docs.bigbluebutton.org/development/api/#usage
CREATE_QUERY = "name=Test+Meeting&meetingID=abc123&attendeePW=111222&moderatorPW=333444"
CREATE_SECRET = "639259d4-9dd8-4b25-bf01-95f9567eaf4b"


@pytest.mark.parametrize(
    ("call", "query", "secret", "algorithm", "checksum"),
    [
        ("create", CREATE_QUERY, CREATE_SECRET, "sha1", "1fcbb0c4fc1f039f73aa6d697d2db9ba7f803f17"),
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
def test_known_checksums(call: str, query: str, secret: str, algorithm: str, checksum: str) -> None:
    assert sign(call, query, secret, algorithm) == checksum


@pytest.mark.parametrize(("algorithm", "length"), [("sha1", 40), ("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_the_length_tells_the_algorithm(algorithm: str, length: int) -> None:
    checksum = sign("getMeetings", "", "secret", algorithm)
    assert len(checksum) == length
    assert checksum == checksum.lower()
    assert algorithm in ALGORITHMS


@pytest.mark.parametrize("algorithm", ["md5", "SHA256", "", "sha224", "shake_128"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    with pytest.raises(ValueError, match="unknown checksum algorithm"):
        sign("getMeetings", "", "secret", algorithm)


@given(st.binary(max_size=60), st.text(max_size=20).filter(lambda text: text.isprintable()))
def test_the_raw_bytes_of_the_query_are_hashed(query: bytes, secret: str) -> None:
    decoded = query.decode("utf-8", "surrogateescape")
    assert sign("create", decoded, secret, "sha256") == hashlib.sha256(b"create" + query + secret.encode()).hexdigest()


@pytest.mark.parametrize(("one", "other"), [("a=1+2", "a=1%202"), ("a=%C3%BC", "a=%c3%bc"), ("a=1&b=2", "b=2&a=1")])
def test_nothing_is_normalised_before_it_is_signed(one: str, other: str) -> None:
    assert sign("create", one, "secret", "sha1") != sign("create", other, "secret", "sha1")


def test_a_call_without_parameters_has_the_checksum_as_its_only_one() -> None:
    url = signed_url("https://bbb1.example.org/bigbluebutton/api", "getMeetings", "", "secret", "sha1")
    checksum = hashlib.sha1(b"getMeetingssecret", usedforsecurity=False).hexdigest()
    assert url == f"https://bbb1.example.org/bigbluebutton/api/getMeetings?checksum={checksum}"


def test_a_slash_at_the_end_of_the_base_is_not_doubled() -> None:
    base = "http://bbb1.example.org/bigbluebutton/api"
    assert signed_url(base + "/", "end", "meetingID=1", "s", "sha1") == signed_url(
        base, "end", "meetingID=1", "s", "sha1"
    )


@pytest.mark.parametrize("query", ["name=a+b&x=%2f%2F", "name=*~!'()", "meta_a=%E2%82%ac&name=1,2"])
def test_the_signed_query_goes_out_as_it_was_signed(query: str) -> None:
    url = signed_url("https://bbb1.example.org/bigbluebutton/api", "create", query, "secret", "sha256")
    sent = URL(url, encoded=True).raw_query_string
    assert sent == f"{query}&checksum={sign('create', query, 'secret', 'sha256')}"
