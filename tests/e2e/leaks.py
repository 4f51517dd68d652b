"""Where secret values must not stand: everything but the core Secrets themselves is searched for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from dev.environment import Installation

SECRETS = "/registry/secrets/"
SHORTEST = 16
"""What is shorter (a user's name, a port) may stand anywhere."""


def known_values(installation: Installation) -> set[str]:
    """Return the values of all core Secrets of a release's namespace, but Helm's records and certificates."""
    items = json.loads(installation.kubectl("get", "secrets", "-o", "json"))["items"]
    return {
        value
        for item in items
        if item["type"] != "helm.sh/release.v1"
        for key, encoded in item.get("data", {}).items()
        if not key.endswith(".crt") and len(value := base64.b64decode(encoded).decode(errors="replace")) >= SHORTEST
    }


def leaks(installation: Installation, values: Iterable[str]) -> list[tuple[str, str]]:
    """Return where values were found, plain, in hexadecimal or in base64, each with its first characters."""
    places = {
        "etcd": "".join(_stored(installation)),
        "the logs": "".join(log.read_text(errors="replace") for log in installation.logs()),
        "the database": dump(installation.database_url),
    }
    assert all(places.values())
    return [
        (place, value[:4] + "…")
        for value in sorted(set(values))
        for place, text in places.items()
        if any(form in text for form in forms(value))
    ]


def forms(value: str) -> Iterator[str]:
    """Yield a value as it may stand in a text: as it is, in hexadecimal, and within something in base64."""
    raw = value.encode()
    yield value
    yield raw.hex()
    for offset in range(3):
        # The outer characters depend on what stands beside the value.
        yield base64.b64encode(bytes(offset) + raw).decode()[4 if offset else 0 : -4]


def dump(url: str) -> str:
    """Return the content of every table as text; bytes are in hexadecimal."""
    with psycopg.connect(url) as connection:
        tables = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        parts = []
        for table in tables:
            statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
            with connection.cursor().copy(statement) as copy:
                parts += [bytes(block).decode() for block in copy]
    return "".join(parts)


def _stored(installation: Installation) -> Iterator[str]:
    """Yield everything that etcd holds of the namespace but its Secrets: objects, statuses, Events, messages."""
    for key, value in installation.environment.control_plane.stored().items():
        if f"/{installation.namespace}/" in key and not key.startswith(SECRETS):
            yield value.decode(errors="replace")
