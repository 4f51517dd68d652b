"""Building blocks of the set-based statements: many rows travel as one JSON parameter.

``jsonb_to_recordset`` turns one parameter into rows, so that the number of statements never grows with the number of
rows, and one statement's text serves any number of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


def recordset(parameter: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.TableValuedAlias:
    """Return ``jsonb_to_recordset(:parameter)`` as a table with the names and types of ``columns``."""
    value = sa.cast(sa.bindparam(parameter, type_=sa.Text), postgresql.JSONB)
    records = sa.func.jsonb_to_recordset(value).table_valued(
        *[sa.column(_name(column), column.type) for column in columns], name="records"
    )
    return records.render_derived(with_types=True)


def differs(table: sa.Table, other: Any, names: Iterable[str]) -> sa.ColumnElement[bool]:
    """Return the condition that ``table`` and ``other`` differ in one of the columns; null equals null."""
    chosen = list(names)
    left = sa.tuple_(*[table.c[name] for name in chosen])
    return left.is_distinct_from(sa.tuple_(*[other[name] for name in chosen]))


def dump(value: object) -> str:
    """Return ``value`` as JSON that PostgreSQL accepts.

    Points in time become ISO 8601, bytes become ``bytea`` input, characters that PostgreSQL cannot store (NUL and lone
    surrogates) are replaced, and numbers that JSON cannot hold become null.
    """
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError):
        return _encode(_storable(value))
    # Only what cannot be stored as it is, which is rare, is worth a look at each value.
    return _encode(_storable(value)) if "\\u0000" in text else text


def _encode(value: object) -> str:
    return json.dumps(value, default=_shallow, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def storable_text(text: str) -> str:
    """Return ``text`` without the characters that PostgreSQL cannot store."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _shallow(value: object) -> object:
    """Return what stands for a value that JSON does not know."""
    match value:
        case datetime():
            result: object = value.isoformat()
        case bytes():
            result = "\\x" + value.hex()
        case Mapping():
            result = dict(value)
        case set() | frozenset():
            result = list(value)
        case _:
            result = str(value)
    return result


def _storable(value: object) -> object:
    """Return ``value`` with all that PostgreSQL cannot store replaced."""
    match value:
        case None | bool() | int():
            result: object = value
        case float():
            result = value if math.isfinite(value) else None
        case str():
            result = storable_text(value)
        case Mapping():
            result = {storable_text(str(key)): _storable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            result = [_storable(item) for item in value]
        case _:
            result = _storable(_shallow(value))
    return result


def _name(column: sa.ColumnElement[Any]) -> str:
    return str(column.key)
