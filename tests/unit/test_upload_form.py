"""The form of an upload, however its bytes are cut."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_api.multipart import FormError, UploadForm

BOUNDARY = "xyz"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, data: bytes) -> bytes:
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode() + data + b"\r\n"
    )


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def read(data: bytes, cuts: list[int], *, most: int = 1000) -> tuple[bytes, bytes]:
    form = UploadForm(TYPE, file="file", field="meta", most_field_bytes=most)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    file = b"".join(form.feed(data[start:end]) for start, end in pairwise(places))
    return file, form.finish()


near_boundaries = st.lists(st.sampled_from([b"--xyz", b"\r\n", b"-", b"x", b"\r\n--xy", b"\x00"]), max_size=20).map(
    b"".join
)


@given(file=near_boundaries, field=near_boundaries, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_both_parts_come_out_whole_however_the_body_is_cut(file: bytes, field: bytes, cuts: list[int]) -> None:
    if b"\r\n--xyz" in b"\r\n" + file or b"\r\n--xyz" in b"\r\n" + field:
        return
    assert read(body(part("other", b"1"), part("file", file), part("meta", field)), cuts) == (file, field)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=10))
def test_any_bytes_are_a_form_or_refused(data: bytes, cuts: list[int]) -> None:
    for text in (data, body(part("file", b"a"), part("meta", data)), part("file", b"a")[:-4] + data):
        with suppress(FormError):
            read(text, cuts)


tokens = st.sampled_from(
    [
        *(b"--xyz", b"--xyz--", b"\r\n", b"\n", b"\r", b"-", b"\r\n\r\n", b": ", b";", b"=", b'"', b"\x00", b"\xff"),
        *(b"Content-Disposition: form-data", b'; name="file"', b'; name="meta"', b'; filename="f"', b"a: b\r\n", b"x"),
        *(b"; name*=utf-8''%E2%82%AC", b"; name*0*=x''%ff", b'; name="\\"', b"Content-Type: a/b\r\n"),
    ]
)


@st.composite
def near_forms(draw: st.DrawFn) -> bytes:
    """Draw a form in which some pieces were put, taken away or doubled."""
    text = bytearray(body(part("meta", b"1\r\n2"), part("other", b""), part("file", b"--xy\r\n--x")))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        text[start : start + draw(st.integers(0, 8))] = b"".join(draw(st.lists(tokens, max_size=3)))
    return bytes(text)


def outcome(data: bytes, cuts: list[int]) -> tuple[bytes, bytes] | None:
    try:
        return read(data, cuts, most=40)
    except FormError:
        return None


@given(near_forms() | st.lists(tokens, max_size=30).map(b"".join), st.lists(st.integers(0, 600), max_size=12))
def test_what_a_form_says_does_not_depend_on_how_it_is_cut(data: bytes, cuts: list[int]) -> None:
    found = outcome(data, cuts)
    assert found == outcome(data, [])
    if found is not None:
        assert found[0] in data
        assert found[1] in data
        assert len(found[1]) <= 40


# As a header's bytes are decoded.
latin = st.binary(max_size=60).map(lambda data: data.decode("latin-1"))


@given(latin | latin.map(lambda text: f"multipart/form-data; boundary={text}"))
def test_any_content_type_begins_a_form_or_is_refused(content_type: str) -> None:
    with suppress(FormError):
        UploadForm(content_type, file="file", field="meta", most_field_bytes=10).feed(b"--x\r\n")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        f"multipart/form-data; boundary={'x' * 300}",
    ],
)
def test_a_body_of_another_type_is_refused(content_type: str) -> None:
    with pytest.raises(FormError):
        UploadForm(content_type, file="file", field="meta", most_field_bytes=10)


@pytest.mark.parametrize(
    "data",
    [
        body(part("meta", b"x" * 1001), part("file", b"")),
        body(part("meta", b""), part("meta", b""), part("file", b"")),
        body(*[part("other", b"")] * 17),
        body(part("file", b"")),
        body(part("meta", b"")),
        part("meta", b"") + part("file", b""),
        b"--xyz\r\n" + b"a: b\r\n" * 100 + b"\r\n",
        b"--xyz\r\nContent-Disposition: " + b"x" * 10_000,
    ],
)
def test_too_much_or_too_little_is_refused(data: bytes) -> None:
    with pytest.raises(FormError):
        read(data, [])
