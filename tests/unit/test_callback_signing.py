"""What the recording-ready callback says."""

import jwt
import pytest

from b3lb.callbacks.signing import FIELD, SigningError, recording_ready_form

SECRET = "639259d4-9dd8-4b25-bf01-95f9567eaf4b-639259d4"


def test_the_form_holds_one_token_that_names_meeting_and_recording_and_verifies_with_the_secret() -> None:
    form = recording_ready_form(meeting_id="room, 1 ä", record_id="a94a8f-1700000000000", secret=SECRET)
    assert list(form) == [FIELD] == ["signed_parameters"]
    assert jwt.get_unverified_header(form[FIELD]) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(form[FIELD], SECRET, algorithms=["HS256"])
    assert claims == {"meeting_id": "room, 1 ä", "record_id": "a94a8f-1700000000000"}


def test_another_secret_does_not_verify_it() -> None:
    form = recording_ready_form(meeting_id="m", record_id="r", secret=SECRET)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(form[FIELD], SECRET[::-1], algorithms=["HS256"])


def test_a_short_secret_signs_as_well_and_without_a_word() -> None:
    # The signature is what `openssl dgst -sha256 -hmac short` says.
    token = recording_ready_form(meeting_id="a", record_id="b", secret="short")[FIELD]
    assert token == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZWV0aW5nX2lkIjoiYSIsInJlY29yZF9pZCI6ImIifQ"
        ".vIRNf-Wm0c18lKKVoCIPJcEsLJHmk7v7CiVJ0RBMAZU"
    )


@pytest.mark.parametrize("secret", ["", "-----BEGIN PUBLIC KEY-----\nMIIBCgKC\n-----END PUBLIC KEY-----", "\ud800"])
def test_what_is_no_secret_signs_nothing_and_is_not_repeated(secret: str) -> None:
    with pytest.raises(SigningError) as raised:
        recording_ready_form(meeting_id="m", record_id="r", secret=secret)
    assert not secret or secret not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
