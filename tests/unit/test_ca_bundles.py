"""What a cluster's Secret holds of certificate authorities is stored as any program reads it."""

from __future__ import annotations

import base64
import ssl
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.configuration import ClusterRow
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve import resolve_cluster
from tests.unit.certificates import certificate
from tests.unit.operator_fakes import cluster_manifest, secret_manifest

ONE, OTHER = certificate("one"), certificate("other")
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def resolved(bundle: str) -> tuple[ClusterRow, Block | None]:
    manifest = cluster_manifest(tls={"caSecretRef": {"name": "ca"}})
    row, block = resolve_cluster(manifest, {"ca": secret_manifest("ca", **{"ca.crt": bundle})})
    assert row is not None
    return row, block


def trusted(bundle: str | None) -> int:
    """Return how many authorities the jobs' TLS takes from a bundle."""
    assert bundle is not None
    context = ssl.create_default_context(cadata=bundle)
    return len(context.get_ca_certs(binary_form=True))


@pytest.mark.parametrize(
    "bundle",
    [
        ONE + OTHER,
        f"# Zertifizierungsstelle der Universität Zürich ☃\n{ONE}# und noch eine\n{OTHER}",
        textwrap.indent(ONE + OTHER, "    "),
        textwrap.indent(ONE + OTHER, "\t"),
        (ONE + OTHER).replace("\n", "\r\n"),
        ONE + KEY + OTHER,
        f"\ufeff{ONE}{OTHER}",
    ],
    ids=["plain", "comments", "indented", "tabs", "CRLF", "private key", "byte order mark"],
)
def test_a_bundle_is_stored_as_its_certificates_and_nothing_else(bundle: str) -> None:
    row, block = resolved(bundle)
    assert (row.ca_certificates, block) == (ONE + OTHER, None)
    assert trusted(row.ca_certificates) == 2


@given(
    st.lists(st.text(st.characters(exclude_characters="-", exclude_categories=["Cs", "Cc"]), max_size=40), max_size=4)
)
def test_what_is_accepted_can_be_used_whatever_stands_around_it(comments: list[str]) -> None:
    row, block = resolved("".join(f"{comment}\n{ONE}" for comment in comments) + OTHER)
    if block is None:
        assert trusted(row.ca_certificates) == 1 + bool(comments)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("flip", [0x80, 0xFF])
def test_a_damaged_certificate_is_a_reason_or_can_be_used(flip: int) -> None:
    der = ssl.PEM_cert_to_DER_cert(ONE)
    messages = set()
    for position in range(len(der)):
        damaged = bytes([*der[:position], der[position] ^ flip, *der[position + 1 :]])
        bundle = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(damaged).decode()}-----END CERTIFICATE-----\n"
        row, block = resolved(bundle)
        if block is None:
            assert trusted(row.ca_certificates) <= 1
        else:
            messages.add(block.message.partition(";")[0])
    assert "key ca.crt of Secret ca holds no certificates in PEM" in messages
    assert any("holds certificates that cannot be used" in message for message in messages)
