"""Certificates that a poll accepts, and how it names those that it does not."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from b3lb.bbb.client import NodeClient, _context
from b3lb.health import LoadReason, Observation, Reason
from tests.integration.bbb_servers import ONE, SECRET, FakeNode, hangs, http, running, sends

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key; ``pem`` is what a node or a CA bundle holds."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self, directory: Path) -> ssl.SSLContext:
        """Return the context of a server with this certificate."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = directory / "server.pem"
        file.write_bytes(self.pem.encode() + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def issue(
    *names: x509.GeneralName,
    issuer: Certificate | None = None,
    authority: bool = False,
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=1),
) -> Certificate:
    """Return a new certificate, signed by itself unless there is an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority" if authority else "node")])
    signer = issuer.key if issuer else key
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certificate(builder.sign(signer, hashes.SHA256()), key)


CA = issue(authority=True)
OTHER_CA = issue(authority=True)
GOOD = issue(LOOPBACK, issuer=CA)


async def poll(certificate: Certificate, directory: Path, *, ca: str | None = CA.pem) -> Observation:
    node = FakeNode(sends(http(ONE)))
    async with running(node, context=certificate.server_context(directory)), NodeClient() as client:
        return (await client.observe(node.target(ca=ca))).observation


async def test_a_certificate_of_the_clusters_authority_is_accepted(tmp_path: Path) -> None:
    observation = await poll(GOOD, tmp_path)
    assert (observation.reason, observation.attendees, observation.load.value) == (Reason.RESPONDING, 3, 2500)


async def test_a_bundle_of_several_authorities_is_accepted(tmp_path: Path) -> None:
    assert (await poll(GOOD, tmp_path, ca=f"# ours\n{OTHER_CA.pem}\n# theirs\n{CA.pem}")).succeeded


@pytest.mark.parametrize(
    ("certificate", "ca", "message"),
    [
        (GOOD, None, "certificate of an unknown authority"),
        (GOOD, OTHER_CA.pem, "certificate of an unknown authority"),
        (issue(LOOPBACK), CA.pem, "self-signed certificate"),
        (issue(LOOPBACK, issuer=CA, ends=NOW - timedelta(hours=1)), CA.pem, "certificate has expired"),
        (issue(LOOPBACK, issuer=CA, begins=NOW + timedelta(hours=1)), CA.pem, "certificate is not yet valid"),
        (
            issue(x509.DNSName("bbb1.example.org"), issuer=CA),
            CA.pem,
            "hostname mismatch: certificate is not valid for 127.0.0.1",
        ),
        (issue(issuer=CA), CA.pem, "hostname mismatch: certificate is not valid for 127.0.0.1"),
    ],
)
async def test_each_bad_certificate_is_named(
    certificate: Certificate, ca: str | None, message: str, tmp_path: Path
) -> None:
    observation = await poll(certificate, tmp_path, ca=ca)
    assert (observation.reason, observation.message) == (Reason.TLS, message)
    assert (observation.load.reason, observation.load.message) == (LoadReason.UNREACHABLE, message)


@pytest.mark.parametrize(
    "ca",
    [
        "",
        " \n",
        "not a certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        CA.pem[:-60],
        CA.pem + "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\u00fc\n-----END CERTIFICATE-----\n",
    ],
)
async def test_a_bundle_that_is_none_is_reported_clearly(ca: str, tmp_path: Path) -> None:
    observation = await poll(GOOD, tmp_path, ca=ca)
    assert observation.reason is Reason.TLS
    assert observation.message == "the cluster's CA certificates are not a bundle of PEM certificates"
    assert observation.load.message == observation.message


@pytest.mark.parametrize(
    ("answer", "reason", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.TLS, "the port does not speak TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", Reason.TLS, "TLS failed: "),  # fatal alert: handshake failure (RFC 8446, 6)
        (b"", Reason.DISCONNECTED, "connection closed while connecting to 127.0.0.1:"),
    ],
)
async def test_what_goes_wrong_in_the_handshake_is_named(answer: bytes, reason: Reason, message: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    node = FakeNode(hangs(), port=server.sockets[0].getsockname()[1], scheme="https")
    async with server, NodeClient() as client:
        observation = (await client.observe(node.target(ca=CA.pem))).observation
    assert observation.reason is reason
    assert observation.message.startswith(message)
    assert SECRET not in observation.message


async def test_a_handshake_that_hangs_ends_with_the_budget() -> None:
    node = FakeNode(hangs())
    async with running(node), NodeClient() as client:
        node.scheme = "https"
        observation = (await client.observe(node.target(ca=CA.pem, timeout=0.4))).observation
    assert (observation.reason, observation.message) == (Reason.TIMEOUT, "no connection within 0.4 s")


async def test_nodes_with_the_same_authorities_share_one_context_and_their_connections(tmp_path: Path) -> None:
    node = FakeNode(sends(http(ONE)))
    _context.cache_clear()
    async with running(node, context=GOOD.server_context(tmp_path)), NodeClient() as client:
        for _ in range(5):
            copy = "".join(list(CA.pem))
            assert (await client.observe(node.target(ca=copy))).observation.succeeded
    assert _context.cache_info().misses == 1
    assert node.connections == 2
