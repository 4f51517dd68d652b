"""A panel of Grafana's dashboard, and the choice of namespaces that all of them follow."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACES = 'namespace=~"$namespace"'
"""What chooses the farms' namespaces."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its expressions with the legends of their series; ``width`` in 24ths, ``height`` in Grafana's rows.

    ``unit`` is one of Grafana's (https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats).
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    text: str = ""
