"""The documented table of metrics names exactly what is served, with its type and labels."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from dev.generated import ROOT
from tests.unit.full_exposition import full_exposition

_ROW = re.compile(r"^\| `(b3lb_\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)
Row = tuple[str, str, str]


def documented() -> list[Row]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return [(name, kind, labels.strip()) for name, kind, labels in _ROW.findall(text)]


def rows(text: str) -> list[Row]:
    found = []
    for family in text_string_to_metric_families(text):
        names = {name for sample in family.samples for name in sample.labels} - {"le"}
        kind = family.type
        name = f"{family.name}_total" if kind == "counter" else family.name
        if name.startswith("b3lb_"):
            found.append((name, kind, ", ".join(sorted(names))))
    return found


async def test_the_documented_metrics_are_those_that_are_served() -> None:
    assert set(documented()) == set(rows(await full_exposition()))


def test_each_stands_there_once() -> None:
    names = [name for name, *_ in documented()]
    assert len(names) == len(set(names))
