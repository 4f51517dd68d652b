"""Documents on standard output: tables for people, JSON and YAML for programs. Columns are declared, cells are pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.table import ago, shown, table

Item = Mapping[str, Any]
Cell = Callable[[Item, datetime | None], str]

UNKNOWN = "-"
_NAME_COLUMNS = 40
_TEXT_COLUMNS = 72
_KIBI = 1024


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the cell of an item as of a moment, and how it stands."""

    heading: str
    cell: Cell
    right: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of a document's items. ``what`` names the items where there are none."""

    what: str
    columns: Sequence[Column]
    key: Callable[[Item], Any] | None = field(default=None)


def text(heading: str, name: str, *, columns: int = _NAME_COLUMNS, wide: bool = False) -> Column:
    """Return a column with a field's text, cut to so many columns of the terminal."""
    return Column(heading, lambda item, _now: shown(_text(item.get(name)), columns), wide=wide)


def long_text(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column for sentences."""
    return text(heading, name, columns=_TEXT_COLUMNS, wide=wide)


def count(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's number."""
    return Column(heading, lambda item, _now: _number(item.get(name)), right=True, wide=wide)


def percent(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's percentage."""

    def cell(item: Item, _now: datetime | None) -> str:
        value = item.get(name)
        return UNKNOWN if value is None else f"{value:.0f}%"

    return Column(heading, cell, right=True, wide=wide)


def seconds(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's seconds: exact where they are few, as an age from a minute on."""
    return Column(heading, lambda item, _now: span(item.get(name)), right=True, wide=wide)


def size(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's bytes: ``1.2 GiB``."""
    return Column(heading, lambda item, _now: bytes_text(item.get(name)), right=True, wide=wide)


def age(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column that says how long ago the moment in a field is, or in how long it comes."""
    return Column(heading, lambda item, now: since(item.get(name), now), right=True, wide=wide)


def names(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's list of names."""
    return Column(heading, lambda item, _now: joined(item.get(name)), wide=wide)


def yes(heading: str, name: str, *, wide: bool = False) -> Column:
    """Return a column with a field's truth."""

    def cell(item: Item, _now: datetime | None) -> str:
        value = item.get(name)
        return UNKNOWN if value is None else "yes" if value else "no"

    return Column(heading, cell, wide=wide)


def joined(values: Sequence[object] | None) -> str:
    """Return names in one cell."""
    return shown(",".join(map(str, values or ())), _TEXT_COLUMNS) or UNKNOWN


def span(value: float | None) -> str:
    """Return seconds for people: ``0.127s``, ``3.4s``, ``1m20s``."""
    if value is None:
        return UNKNOWN
    if value < 10:  # noqa: PLR2004 - where a fraction still matters
        return f"{value:.3g}s" if value < 1 else f"{value:.1f}s"
    return ago(timedelta(seconds=value))


def bytes_text(number: float | None) -> str:
    """Return bytes for people: ``512 B``, ``1.2 GiB``."""
    if number is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < _KIBI:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.3g} {unit}"  # noqa: PLR2004 - three digits
        number /= _KIBI
    return f"{number:.3g} TiB"


def moment(value: object) -> datetime | None:
    """Return the time that an ISO 8601 text means, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def since(value: object, now: datetime | None) -> str:
    """Return how long before ``now`` a time is, ``in …`` for one to come."""
    then = moment(value)
    if then is None or now is None:
        return UNKNOWN if then is None else f"{then:%Y-%m-%d %H:%M:%S}"
    return ago(now - then) if then <= now else f"in {ago(then - now)}"


def as_table(listing: Listing, document: Item, *, wide: bool = False) -> str:
    """Return the items of a document in columns; empty without items."""
    now = moment(document.get("asOf"))
    columns = [column for column in listing.columns if wide or not column.wide]
    items = document.get("items") or ()
    ordered = items if listing.key is None else sorted(items, key=listing.key)
    rows = [[column.cell(item, now) for column in columns] for item in ordered]
    return table(
        [column.heading for column in columns], rows, right={column.heading for column in columns if column.right}
    )


def write_listing(listing: Listing, document: Item, output: str) -> None:
    """Print a document in the form that ``-o`` names; without items, standard error says so."""
    if output not in {"table", "wide"}:
        write_document(document, output)
        return
    if not _is_list(document):
        raise CommandError(ExitCode.INTERNAL, f"the answer is no list of {listing.what}: is this an operator of b3lb?")
    printed = as_table(listing, document, wide=output == "wide")
    sys.stdout.write(printed)
    if not printed:
        sys.stdout.flush()
        sys.stderr.write(f"no {listing.what}\n")
    told = notes(document)
    if told:
        sys.stdout.flush()
        sys.stderr.writelines(f"{note}\n" for note in told)


def notes(document: Item) -> list[str]:
    """Return what a table does not show of its document: that it is cut, or old."""
    found = ["there are more; these are the first ones"] if document.get("truncated") else []
    if document.get("databaseUp") is False:
        found.append(f"the operator does not reach the database: as of {document.get('asOf') or 'never'}")
    return found


def write_document(document: object, output: str) -> None:
    """Print a document for programs, with everything that it says."""
    sys.stdout.write(as_yaml(document) if output == "yaml" else as_json(document))


def as_json(document: object) -> str:
    """Return a document as JSON, readable for people, too."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def as_yaml(document: object) -> str:
    """Return a document as YAML."""
    import yaml  # noqa: PLC0415 - only this form pays for its import

    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)


def _is_list(document: Item) -> bool:
    items = document.get("items")
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _text(value: object) -> str:
    return UNKNOWN if value is None or value == "" else str(value)


def _number(value: object) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.6g}" if isinstance(value, float) else str(value)
