"""Secrets at rest: AES-256-GCM with several keys, and a keyed hash to compare without decrypting.

Each configured key yields two by HKDF-SHA256 (RFC 5869), one for encryption (AES-256-GCM, NIST SP 800-38D, random
96-bit nonce in front of the ciphertext) and one for comparison (HMAC-SHA256, RFC 2104). The context, such as
``nodes/<namespace>/<name>``, is authenticated with the ciphertext: a value copied into another row cannot be decrypted.

Rotation: append a key, restart everything, move it to the front, let the operator re-encrypt, drop the old one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class CryptoError(Exception):
    """Something about keys or encrypted values is wrong; no message holds a key or a value."""


class InvalidKeysError(CryptoError, ValueError):
    """The text with the keys is malformed."""


class UnknownKeyError(CryptoError):
    """A value was encrypted with a key that is not configured (any more)."""


class DecryptionFailedError(CryptoError):
    """A value was altered, belongs elsewhere, or its key's material is another one."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An encrypted value as a row holds it; ``hash`` is the keyed hash of the value and its context."""

    ciphertext: bytes = field(repr=False)
    key_id: str
    hash: bytes = field(repr=False)


class _Key:
    """One configured key, as the two derived from it."""

    __slots__ = ("cipher", "comparison")

    def __init__(self, material: bytes) -> None:
        self.cipher = AESGCM(_derive(material, b"b3lb encryption"))
        self.comparison = _derive(material, b"b3lb comparison")

    def __repr__(self) -> str:
        return "_Key()"


class KeyRing:
    """The configured keys by ID; the first encrypts, all decrypt."""

    __slots__ = ("_keys", "_material", "primary")

    def __init__(self, material: Mapping[str, bytes]) -> None:
        """Take the keys in their order.

        Args:
            material: 32 bytes by ID, at least one.

        Raises:
            InvalidKeysError: No key, a malformed ID or a wrong length.
        """
        if not material:
            raise InvalidKeysError("no encryption key is configured")
        for number, (key_id, key) in enumerate(material.items(), start=1):
            if not _KEY_ID.fullmatch(key_id):
                # The ID is not repeated: in a malformed text it may be the key.
                raise InvalidKeysError(f"encryption key {number}: its ID may hold letters, digits, '.', '_', '-' only")
            if len(key) != KEY_BYTES:
                raise InvalidKeysError(f"encryption key {number} has {len(key)} bytes instead of {KEY_BYTES}")
        self._material = dict(material)
        self._keys = {key_id: _Key(key) for key_id, key in material.items()}
        self.primary = next(iter(material))

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Return the keys in ``id:base64[,id:base64…]``; white space around the parts is ignored.

        Raises:
            InvalidKeysError: The text is malformed; the message names the number of the key, never the key.
        """
        material: dict[str, bytes] = {}
        for number, part in enumerate(text.split(","), start=1):
            key_id, colon, encoded = part.strip().partition(":")
            if not colon:
                raise InvalidKeysError(f"encryption key {number} is not of the form id:base64")
            if key_id in material:
                raise InvalidKeysError(f"encryption key {number} has the ID of an earlier one")
            try:
                material[key_id] = base64.b64decode(encoded.strip(), validate=True)
            except (binascii.Error, ValueError):
                raise InvalidKeysError(f"encryption key {number} is not valid base64") from None
        return cls(material)

    @classmethod
    def generate(cls, key_id: str = "k1") -> KeyRing:
        """Return a ring of one new random key."""
        return cls({key_id: os.urandom(KEY_BYTES)})

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The IDs in their order, the primary one first."""
        return tuple(self._keys)

    def export(self) -> str:
        """Return the text that `parse` reads: **the keys themselves**, for a Secret and nothing else."""
        return ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in self._material.items())

    def encrypt(self, plaintext: str, *, context: str) -> Encrypted:
        """Encrypt ``plaintext`` with the primary key for the place ``context``."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self.primary].cipher.encrypt(nonce, _encode(plaintext), _encode(context))
        return Encrypted(
            ciphertext=nonce + sealed,
            key_id=self.primary,
            hash=_keyed_hash(self._keys[self.primary], plaintext, context),
        )

    def decrypt(self, ciphertext: bytes, key_id: str, *, context: str) -> str:
        """Return the value encrypted for ``context``.

        Raises:
            UnknownKeyError: ``key_id`` is not configured.
            DecryptionFailedError: Altered, encrypted for another context, or with other material under this ID.
        """
        key = self._key(key_id, context)
        if len(ciphertext) < NONCE_BYTES + TAG_BYTES:
            raise DecryptionFailedError(f"the encrypted value of {context} is too short")
        nonce, sealed = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
        try:
            plaintext = key.cipher.decrypt(nonce, sealed, _encode(context))
        except InvalidTag:
            raise DecryptionFailedError(
                f"the value of {context} cannot be decrypted with key {key_id!r}: other key material or altered data"
            ) from None
        return plaintext.decode("utf-8", "surrogatepass")

    def matches(self, plaintext: str, hash: bytes, key_id: str, *, context: str) -> bool:  # noqa: A002 - the row's name for it
        """Whether ``hash`` is that of ``plaintext`` at ``context``, without decrypting anything.

        Raises:
            UnknownKeyError: ``key_id`` is not configured.
        """
        return hmac.compare_digest(_keyed_hash(self._key(key_id, context), plaintext, context), hash)

    def tag(self, plaintext: str, *, context: str) -> tuple[str, bytes]:
        """Return the primary key's ID and the keyed hash of ``plaintext`` at ``context``, which `matches` verifies."""
        return self.primary, _keyed_hash(self._keys[self.primary], plaintext, context)

    def _key(self, key_id: str, context: str) -> _Key:
        key = self._keys.get(key_id)
        if key is None:
            known = ", ".join(self._keys)
            raise UnknownKeyError(f"the value of {context} needs encryption key {key_id!r}; configured: {known}")
        return key

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def __reduce__(self) -> str:
        raise TypeError("a key ring is not serialised by accident; see export()")


def _derive(material: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(material)


def _keyed_hash(key: _Key, plaintext: str, context: str) -> bytes:
    place = _encode(context)
    # The length in front keeps ("a", "bc") and ("ab", "c") apart.
    return hmac.digest(key.comparison, len(place).to_bytes(4, "big") + place + _encode(plaintext), "sha256")


def _encode(text: str) -> bytes:
    # Every str has to survive, and UnicodeEncodeError would carry the text.
    return text.encode("utf-8", "surrogatepass")
