"""A certificate that breaks the rules of certificates is none, whatever the library calls it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from b3lb_operator.doctor.certificates import parse_certificate

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def certificate(*extensions: str) -> bytes:
    """Return a certificate with extensions of these OIDs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one.example.org")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    for oid in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"x"), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_an_extension_that_is_there_twice_makes_no_certificate() -> None:
    # Bytes of two OIDs that differ in their last one.
    first, second = bytes([0x06, 0x05, 0x2A, 0x03, 0x04, 0x05, 0x06]), bytes([0x06, 0x05, 0x2A, 0x03, 0x04, 0x05, 0x07])
    der = certificate("1.2.3.4.5.6", "1.2.3.4.5.7")
    assert parse_certificate(der).self_signed
    assert der.count(second) == 1
    with pytest.raises(ValueError, match="Duplicate"):
        parse_certificate(der.replace(second, first))
