"""The chart's values: their comments are the source of schema and reference page, and nothing is out of date."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart_schema import values_schema
from dev.chart_values import ValuesError, leaves, read_values
from dev.generate_chart import CHART, generated_files, main, out_of_date
from dev.generated import ROOT

TEXT = """
# A comment that belongs to nothing.

# Names of things.
# @schema $ref: names
names: []
# A group
# of two lines.
group:
  # How many.
  # @schema {minimum: 1, maximum: 3}
  count: 2
  # Free.
  # @schema $ref: labels
  labels: {a: b}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the generator reads and writes."""
    for name in ("charts", "deploy", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_descriptions_defaults_and_structure_are_read() -> None:
    names, group = read_values(TEXT)
    assert (names.description, names.default, names.schema) == ("Names of things.", [], {"$ref": "names"})
    assert group.description == "A group of two lines."
    assert [value.path for value in leaves([names, group])] == ["names", "group.count", "group.labels"]


def test_a_value_without_description_is_refused() -> None:
    with pytest.raises(ValuesError, match=r"group\.count has no description"):
        read_values("# A group.\ngroup:\n  count: 1\n")


def test_a_map_whose_content_is_free_needs_a_named_schema() -> None:
    with pytest.raises(TypeError, match=r"labels: write a \$ref"):
        values_schema(read_values("# Labels.\nlabels: {}\n"))


def test_the_schema_is_strict_and_takes_types_from_the_defaults() -> None:
    schema = values_schema(read_values(TEXT))
    group = schema["properties"]["group"]
    assert schema["additionalProperties"] is False
    assert group["additionalProperties"] is False
    assert group["properties"]["count"] == {
        "description": "How many.",
        "type": "integer",
        "minimum": 1,
        "maximum": 3,
    }


def test_every_object_of_the_schema_says_what_it_may_hold() -> None:
    schema = values_schema(read_values((ROOT / CHART / "values.yaml").read_text(encoding="utf-8")))

    def walk(part: dict[str, Any]) -> None:
        assert "properties" not in part or part.get("additionalProperties") is False, part
        for name in ("properties", "$defs"):
            for child in part.get(name, {}).values():
                walk(child)
        for name in ("items", "additionalProperties"):
            if isinstance(part.get(name), dict):
                walk(part[name])

    walk(schema)


def test_nothing_generated_is_out_of_date() -> None:
    assert out_of_date() == []


def test_check_names_what_differs_and_writing_mends_it(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], root=copy) == 0
    role = copy / "deploy" / "rbac.yaml"
    role.write_text(role.read_text(encoding="utf-8").replace("bbbqueues/finalizers", "bbbqueues/other"))
    stray = copy / CHART / "templates" / "crds" / "stray.yaml"
    stray.write_text("")
    assert main(["--check"], root=copy) == 1
    told = capsys.readouterr().err
    assert "files/operator-rules.yaml is out of date" in told
    assert "crds/stray.yaml is out of date" in told
    assert main([], root=copy) == 0
    assert not stray.exists()
    assert main(["--check"], root=copy) == 0


def test_the_charts_rights_are_those_of_the_deployed_files() -> None:
    files = generated_files()
    rules = yaml.safe_load(files[CHART / "files" / "operator-rules.yaml"])
    documents = yaml.safe_load_all((ROOT / "deploy" / "rbac.yaml").read_text(encoding="utf-8"))
    assert rules == next(document for document in documents if document["kind"] == "Role")["rules"]
