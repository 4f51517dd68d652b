"""The kinds of columns that tables have in common."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def timestamp(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[Any]:
    """Return a column of a point in time, UTC, by the database's clock when ``now``."""
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def integer(
    name: str, default: int | None = None, *, nullable: bool = False, comment: str | None = None
) -> sa.Column[int]:
    """Return a column of 32 bits."""
    text = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.Integer, nullable=nullable, server_default=text, comment=comment)


def count(name: str, *, comment: str | None = None) -> sa.Column[int]:
    """Return a column of 64 bits that begins at zero."""
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"), comment=comment)


def identity() -> list[sa.Column[Any]]:
    """Return the columns that every configuration table begins with."""
    return [
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        timestamp("deleted_at", nullable=True),
    ]


def block() -> list[sa.Column[Any]]:
    """Return the columns that say why an object cannot be used; both null while it can."""
    return [
        sa.Column("blocked_reason", sa.Text, nullable=True, comment="a condition's reason, e.g. SecretNotFound"),
        sa.Column("blocked_message", sa.Text, nullable=True),
    ]
