"""The front end's metrics: what is documented is what is served, and the outcome of an upload is what it was told."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from b3lb_api.instruments import STORED, Instruments
from dev.generated import ROOT

_ROW = re.compile(r"^\| `(b3lb_api_\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)


def served(instruments: Instruments) -> set[tuple[str, str, str]]:
    found = set()
    for family in text_string_to_metric_families(instruments.text().decode()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name.startswith("b3lb_"):
            found.add((name, family.type, ", ".join(sorted(labels))))
    return found


def test_the_documented_metrics_are_those_that_are_served() -> None:
    instruments = Instruments()
    with instruments.upload() as outcome:
        outcome.name = STORED
    instruments.playbacks.labels("video", "200").inc()
    instruments.playbacks_broken.labels("HungUp").inc()
    text = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
    assert {(name, kind, labels.strip()) for name, kind, labels in _ROW.findall(text)} == served(instruments)


def test_an_upload_that_ends_by_a_fault_of_the_program_counts_as_one() -> None:
    instruments = Instruments()
    with pytest.raises(ZeroDivisionError), instruments.upload():
        raise ZeroDivisionError
    assert instruments.registry.get_sample_value("b3lb_api_uploads_total", {"outcome": "Error"}) == 1
    assert instruments.registry.get_sample_value("b3lb_api_upload_seconds_count") == 0
