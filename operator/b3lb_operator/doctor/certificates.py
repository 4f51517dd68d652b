"""The certificate that a server shows, whether or not it is good: what it says, and reading it."""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from b3lb.bbb.text import printable

SOON = timedelta(days=14)
"""A certificate that ends within this should have been renewed."""

_MOST_NAMES = 5
_NAME_LENGTH = 80
_HTTPS_PORT = 443
_MALFORMED = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What the library meets certificates with beside ValueError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a server's certificate says; ``names`` are host names and addresses."""

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    issuer: str
    self_signed: bool

    def described(self) -> str:
        """Return it in a few words, for a message."""
        shown = ", ".join(self.names[:_MOST_NAMES]) or "no name"
        more = ", …" if len(self.names) > _MOST_NAMES else ""
        issuer = "itself" if self.self_signed else self.issuer
        return f"it is for {shown}{more}, by {issuer}, until {self.not_after:%Y-%m-%d %H:%M} UTC"


def parse_certificate(der: bytes) -> Certificate:
    """Return what a certificate says (RFC 5280).

    Raises:
        ValueError: It is none.
    """
    try:
        return _certificate_of(x509.load_der_x509_certificate(der))
    except _MALFORMED as error:
        raise ValueError(str(error)) from None


def _certificate_of(parsed: x509.Certificate) -> Certificate:
    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [
            *extension.get_values_for_type(x509.DNSName),
            *(str(address) for address in extension.get_values_for_type(x509.IPAddress)),
        ]
    except x509.ExtensionNotFound:
        names = []
    return Certificate(
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        names=tuple(printable(name, _NAME_LENGTH) for name in names),
        issuer=_common_name(parsed.issuer),
        self_signed=parsed.issuer == parsed.subject,
    )


async def read_certificate(url: str, *, seconds: float) -> Certificate | None:
    """Return the certificate of the server of an ``https`` URL, None where it shows none in time.

    Nothing is verified and nothing is sent beyond the handshake: whether it is trusted, the poll has said.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _HTTPS_PORT, ssl=_any_certificate(), server_hostname=parts.hostname
            )
        try:
            session = writer.get_extra_info("ssl_object")
            der = session.getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
        return parse_certificate(der) if der else None
    except (OSError, ValueError, TimeoutError):
        return None


@functools.cache
def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return printable(str(values[0].value), _NAME_LENGTH) if values else "an authority without a name"
