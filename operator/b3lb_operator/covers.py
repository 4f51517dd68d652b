"""Whether a live object is what was asked for, and what to write where server-side apply is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from b3lb_operator.kinds import Manifest

_SUFFIXES = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
_QUANTITIES = ("limits", "requests")


def covers(desired: Any, live: Any) -> bool:
    """Whether ``live`` holds everything that ``desired`` says.

    A map may hold more than is desired (defaults, other people's labels); a list must have the same entries in the
    same order. Amounts of ``limits`` and ``requests`` are compared as numbers, because the API server writes them in
    its own form.
    """
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return False
        return all(name in live and _field_covers(name, value, live[name]) for name, value in desired.items())
    if isinstance(desired, list):
        if not isinstance(live, list) or len(desired) != len(live):
            return False
        return all(covers(wanted, found) for wanted, found in zip(desired, live, strict=True))
    return type(desired) is type(live) and bool(desired == live)


def replacement(desired: Manifest, live: Manifest) -> Manifest:
    """Return the object that replaces ``live``: all of ``desired``, and other people's labels and annotations."""
    metadata = {**live["metadata"], **desired["metadata"]}
    metadata.pop("managedFields", None)
    for field in ("labels", "annotations"):
        merged = {**live["metadata"].get(field, {}), **desired["metadata"].get(field, {})}
        if merged:
            metadata[field] = merged
    return {**desired, "metadata": metadata}


def quantity(text: str | float) -> Decimal:
    """Return an amount of the Kubernetes API, e.g. ``100m`` or ``1Gi``, as a number.

    Raises:
        ValueError: It is none (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
    """
    written = str(text)
    suffix = next((suffix for suffix in _SUFFIXES if written.endswith(suffix)), "")
    try:
        return Decimal(written.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1)
    except InvalidOperation:
        raise ValueError(f"{written!r} is no quantity") from None


def _field_covers(name: str, desired: Any, live: Any) -> bool:
    if name in _QUANTITIES and isinstance(desired, Mapping) and isinstance(live, Mapping):
        return all(resource in live and _same_amount(amount, live[resource]) for resource, amount in desired.items())
    return covers(desired, live)


def _same_amount(desired: Any, live: Any) -> bool:
    try:
        return quantity(desired) == quantity(live)
    except ValueError:
        return bool(desired == live)
