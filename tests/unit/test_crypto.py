"""Secrets at rest: what is encrypted comes back only with the right key at the right place, and nothing is told."""

import base64
import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.crypto import DecryptionFailedError, Encrypted, InvalidKeysError, KeyRing, UnknownKeyError

RING = KeyRing.generate()
CONTEXT = "nodes/default/bbb-1"
VALUE = "8cd8ef52e8e101574e400365b55e11a6"


def ring_of(*key_ids: str) -> KeyRing:
    return KeyRing({key_id: key_id.encode().ljust(32, b"\x01") for key_id in key_ids})


@given(plaintext=st.text(st.characters(), max_size=200), context=st.text(st.characters(), max_size=50))
def test_every_text_comes_back_at_its_place(plaintext: str, context: str) -> None:
    sealed = RING.encrypt(plaintext, context=context)
    assert RING.decrypt(sealed.ciphertext, sealed.key_id, context=context) == plaintext
    assert RING.matches(plaintext, sealed.hash, sealed.key_id, context=context)


@given(plaintext=st.text(max_size=50), context=st.text(max_size=20), other=st.text(max_size=20))
def test_a_value_copied_to_another_place_is_refused_and_matches_nothing(
    plaintext: str, context: str, other: str
) -> None:
    if other == context:
        other += "x"
    sealed = RING.encrypt(plaintext, context=context)
    with pytest.raises(DecryptionFailedError):
        RING.decrypt(sealed.ciphertext, sealed.key_id, context=other)
    assert not RING.matches(plaintext, sealed.hash, sealed.key_id, context=other)


@given(plaintext=st.text(max_size=50), other=st.text(max_size=50))
def test_the_hash_tells_equal_values_from_different_ones(plaintext: str, other: str) -> None:
    sealed = RING.encrypt(plaintext, context=CONTEXT)
    assert RING.matches(other, sealed.hash, sealed.key_id, context=CONTEXT) == (other == plaintext)


def test_the_hash_keeps_place_and_value_apart() -> None:
    assert not RING.matches("bc", RING.encrypt("c", context="ab").hash, "k1", context="a")


@given(position=st.integers(min_value=0, max_value=59), bit=st.integers(min_value=0, max_value=7))
def test_one_altered_bit_anywhere_is_noticed(position: int, bit: int) -> None:
    sealed = bytearray(RING.encrypt(VALUE, context=CONTEXT).ciphertext)
    assert len(sealed) == 12 + len(VALUE) + 16
    sealed[position] ^= 1 << bit
    with pytest.raises(DecryptionFailedError):
        RING.decrypt(bytes(sealed), "k1", context=CONTEXT)


@given(st.binary(max_size=64))
def test_rubbish_is_refused(rubbish: bytes) -> None:
    with pytest.raises(DecryptionFailedError):
        RING.decrypt(rubbish, "k1", context=CONTEXT)


def test_the_same_value_is_encrypted_differently_each_time() -> None:
    first, second = (RING.encrypt(VALUE, context=CONTEXT) for _ in range(2))
    assert first.ciphertext != second.ciphertext
    assert first.hash == second.hash


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old = ring_of("old")
    both = ring_of("new", "old")
    sealed = old.encrypt(VALUE, context=CONTEXT)
    assert both.decrypt(sealed.ciphertext, sealed.key_id, context=CONTEXT) == VALUE
    assert both.matches(VALUE, sealed.hash, sealed.key_id, context=CONTEXT)
    assert both.encrypt(VALUE, context=CONTEXT).key_id == both.primary == "new"
    assert both.key_ids == ("new", "old")


def test_a_dropped_key_is_named_with_the_place_that_needs_it() -> None:
    sealed = ring_of("old").encrypt(VALUE, context=CONTEXT)
    message = "the value of nodes/default/bbb-1 needs encryption key 'old'; configured: new"
    with pytest.raises(UnknownKeyError, match=message):
        ring_of("new").decrypt(sealed.ciphertext, sealed.key_id, context=CONTEXT)
    with pytest.raises(UnknownKeyError):
        ring_of("new").matches(VALUE, sealed.hash, sealed.key_id, context=CONTEXT)


def test_other_material_under_the_same_id_fails_without_telling_anything() -> None:
    sealed = KeyRing.generate("k1").encrypt(VALUE, context=CONTEXT)
    with pytest.raises(DecryptionFailedError, match=r"of nodes/default/bbb-1 .* key 'k1'") as caught:
        RING.decrypt(sealed.ciphertext, "k1", context=CONTEXT)
    text = "".join(traceback.format_exception(caught.value))
    assert VALUE not in text
    assert RING.export().partition(":")[2] not in text


def test_keys_are_read_with_white_space_and_written_as_they_are_read() -> None:
    ring = ring_of("2026-11", "2025.01_b")
    spaced = " " + ring.export().replace(",", " ,\n ") + "\n"
    again = KeyRing.parse(spaced)
    assert again.export() == ring.export()
    assert again.key_ids == ("2026-11", "2025.01_b")


def test_a_generated_key_has_32_random_bytes() -> None:
    first, second = KeyRing.generate("a").export(), KeyRing.generate("a").export()
    assert first != second
    assert len(base64.b64decode(first.removeprefix("a:"))) == 32


GOOD = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 1 is not of the form id:base64"),
        (GOOD, "key 1 is not of the form id:base64"),
        (f"a:{GOOD},", "key 2 is not of the form id:base64"),
        (f"a:{GOOD},a:{GOOD}", "key 2 has the ID of an earlier one"),
        (f"a:{GOOD[:-1]}", "key 1 is not valid base64"),
        ("a:grüße", "key 1 is not valid base64"),
        ("a:" + base64.b64encode(bytes(16)).decode(), "key 1 has 16 bytes instead of 32"),
        (f":{GOOD}", "key 1: its ID may hold"),
        (f"a b:{GOOD}", "key 1: its ID may hold"),
        (f"{'a' * 64}:{GOOD}", "key 1: its ID may hold"),
    ],
)
def test_malformed_keys_are_refused_by_number_and_never_repeated(text: str, message: str) -> None:
    with pytest.raises(InvalidKeysError, match=message) as caught:
        KeyRing.parse(text)
    assert GOOD[:8] not in "".join(traceback.format_exception(caught.value))


def test_a_ring_needs_a_key() -> None:
    with pytest.raises(InvalidKeysError, match="no encryption key"):
        KeyRing({})


@given(st.text(max_size=100))
def test_rubbish_instead_of_keys_gives_one_short_error(text: str) -> None:
    with pytest.raises(InvalidKeysError) as caught:
        KeyRing.parse(text)
    assert len(str(caught.value)) < 120


def test_representations_and_copies_hold_no_secret() -> None:
    sealed = RING.encrypt(VALUE, context=CONTEXT)
    assert repr(sealed) == "Encrypted(key_id='k1')"
    assert repr(RING) == "KeyRing(k1)"
    assert isinstance(sealed, Encrypted)
    for duplicate in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not serialised"):
            duplicate(RING)
