"""The status of an object whose spec this program cannot read: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from b3lb.resources.conditions import ConditionStatus, set_condition
from b3lb_operator.manifests.facts import Block


def build_unreadable_status(
    block: Block, *, types: Iterable[str], old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """Return ``observedGeneration`` and ``conditions``; the other keys of a status are the caller's to keep or drop.

    Args:
        block: Why the spec cannot be read.
        types: The conditions that are False because of it; all others stay as they are.
        old: The status that the object carries, {} for none.
        generation: The object's ``metadata.generation``.
        now: What a condition that changes gets as its time.
    """
    conditions = list(old.get("conditions", ()))
    for type_ in types:
        conditions = set_condition(
            conditions,
            type_,
            status=ConditionStatus.FALSE,
            reason=block.reason,
            message=block.message,
            observed_generation=generation,
            now=now,
        )
    return {"observedGeneration": generation, "conditions": conditions}
