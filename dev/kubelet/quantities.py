"""Kubernetes quantities, e.g. ``500m``, ``1.5``, ``10Gi`` or ``2e3``.

The official client has a parser, but importing that package takes seconds and tens of megabytes.
"""

import math
import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(1000),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", start=2)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)([A-Za-z]*)")


def parse_quantity(text: str) -> Decimal:
    """The number a quantity stands for.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

    Raises:
        ValueError: it is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{text[:40]!r} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def in_units(text: str, *, divisor: str) -> int:
    """A quantity as a whole number of divisors, rounded up, as ``resourceFieldRef`` gives it.

    Args:
        text: The quantity.
        divisor: The unit; ``0``, which the API server stores when none is given, means 1.
    """
    unit = parse_quantity(divisor) or Decimal(1)
    return math.ceil(parse_quantity(text) / unit)
