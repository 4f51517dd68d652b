"""Certificates, tokens and kubeconfig files of the control plane."""

import base64
import datetime as dt
import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=365)
_CLOCK_SKEW = dt.timedelta(minutes=5)
_HOST_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "10.0.0.1")


@dataclass(frozen=True)
class Tokens:
    """Bearer tokens of the three fixed users, kept out of every repr."""

    admin: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    controller_manager: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    scheduler: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def static_token_file(self) -> str:
        """Content for ``--token-auth-file``: token, user, uid, groups.

        https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
        """
        return (
            f'{self.admin},admin,admin,"system:masters"\n'
            f"{self.controller_manager},system:kube-controller-manager,controller-manager\n"
            f"{self.scheduler},system:kube-scheduler,scheduler\n"
        )


def write_private(path: Path, content: bytes) -> Path:
    """Writes a file that only its owner can read, replacing an older one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return temporary.replace(path)


def write_certificates(directory: Path) -> Path:
    """Creates a certificate authority and the serving certificate signed by it.

    Writes ``ca.crt``, ``serving.crt`` and ``serving.key``; the authority's own key is forgotten.

    Returns:
        The path of ``ca.crt``.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b3lb development CA")])
    ca_builder = _builder(ca_name, ca_key.public_key(), ca_key.public_key(), issuer=ca_name, authority=True)
    ca = ca_builder.sign(ca_key, hashes.SHA256())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in _HOST_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    certificate = (
        _builder(name, key.public_key(), ca_key.public_key(), issuer=ca_name, authority=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(directory / "serving.crt", certificate.public_bytes(serialization.Encoding.PEM))
    write_private(directory / "serving.key", _private_pem(key))
    return write_private(directory / "ca.crt", ca.public_bytes(serialization.Encoding.PEM))


def write_service_account_key(path: Path) -> None:
    """Creates the key that signs service account tokens, unless there is one already."""
    if not path.exists():
        write_private(path, _private_pem(ec.generate_private_key(ec.SECP256R1())))


def kubeconfig(*, url: str, ca_file: Path, token: str, user: str, namespace: str = "default") -> bytes:
    """A kubeconfig file with the certificate authority and the token inside."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "b3lb", "cluster": {"server": url, "certificate-authority-data": _base64(ca_file)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "b3lb", "context": {"cluster": "b3lb", "user": user, "namespace": namespace}}],
        "current-context": "b3lb",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _builder(
    name: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Name,
    authority: bool,
) -> x509.CertificateBuilder:
    """A certificate that strict verifiers (RFC 5280 section 4.2.1, Python 3.13) accept."""
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
