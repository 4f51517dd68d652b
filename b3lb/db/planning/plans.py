"""What makes the existing rows of a kind equal to the wanted ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from b3lb.db.rows import Action, Existing, Row
from b3lb.db.statements import storable_text

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Difference:
    """How a wanted row differs from the existing one.

    ``repoll``: something that a poll depends on. ``anew``: in such a way that what was known of the health says nothing
    any more. ``seal``: the secret has to be encrypted (again).
    """

    changed: bool
    repoll: bool = False
    anew: bool = False
    seal: bool = False


@dataclass(frozen=True, slots=True)
class Write(Generic[_R]):
    """One row to insert, update or revive, with its revision; ``existing`` is None for a new one.

    ``anew``: health is judged from the beginning at the new revision.
    """

    action: Action
    row: _R
    existing: Existing[Any] | None
    revision: int
    repoll: bool
    seal: bool
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Plan(Generic[_R]):
    """What makes the existing rows equal to the wanted ones."""

    writes: tuple[Write[_R], ...] = ()
    deletes: tuple[Existing[Any], ...] = ()


def plan(
    desired: Sequence[Row],
    existing: Sequence[Existing[Row]],
    *,
    complete: bool,
    compare: Callable[[Row, Existing[Row]], Difference],
) -> Plan[Row]:
    """Return what has to be written.

    Args:
        desired: The wanted rows of one namespace, with unique names.
        existing: The rows that the database holds, deleted ones included; more than the wanted names do no harm.
        complete: Whether ``desired`` is everything, so that other existing rows are to be deleted.
        compare: How a wanted row differs from an existing one that is not deleted.

    Raises:
        ValueError: A name occurs twice.
    """
    wanted = {row.name: row for row in desired}
    if len(wanted) != len(desired):
        raise ValueError("two rows of one namespace have the same name")
    known = {item.row.name: item for item in existing}
    writes = [write for row in desired if (write := _write(row, known.get(row.name), compare)) is not None]
    obsolete = [item for item in existing if complete and not item.deleted and item.row.name not in wanted]
    return Plan(writes=tuple(writes), deletes=tuple(obsolete))


def _write(
    row: Row, existing: Existing[Row] | None, compare: Callable[[Row, Existing[Row]], Difference]
) -> Write[Row] | None:
    if existing is None:
        return Write(Action.INSERT, row, None, revision=1, repoll=True, seal=True, anew=True)
    difference = compare(row, existing)
    if existing.deleted:
        return Write(Action.REVIVE, row, existing, existing.revision + 1, repoll=True, seal=difference.seal, anew=True)
    if not difference.changed:
        return None
    revision = existing.revision + difference.repoll
    return Write(
        Action.UPDATE,
        row,
        existing,
        revision,
        repoll=difference.repoll,
        seal=difference.seal,
        anew=difference.anew,
    )


def compare_rows(row: Row, existing: Existing[Row]) -> Difference:
    """Compare a row whose kind has no secret and is not polled."""
    return Difference(changed=row != existing.row)


def cleaned(row: Row) -> Row:
    """Return ``row`` with texts that PostgreSQL can store, so that it equals itself when it is read back."""
    texts: dict[str, Any] = {
        item.name: storable_text(value)
        for item in dataclasses.fields(row)
        if item.name != "secret" and isinstance(value := getattr(row, item.name), str)
    }
    return dataclasses.replace(row, **texts)
