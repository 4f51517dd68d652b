"""What the documentation says of tests, commands, conditions and its own pages is there."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from b3lb.resources import conditions
from dev.environment import REPOSITORY

DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
_ROW = re.compile(r"^\| (?!capability |-)(?P<capability>.+) \| (?P<test>.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(?P<path>tests/\S+\.py)::(?P<name>test_\w+)`")
_LINK = re.compile(r"\]\((?P<path>[^)#:\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HELM_UPGRADE = re.compile(r"^ *(helm upgrade .*)$", re.MULTILINE)


def read(name: str) -> str:
    """Return a document."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """Return a section of a document."""
    _, _, following = read(name).partition(f"\n## {title}\n")
    assert following
    return following.partition("\n## ")[0]


def functions(path: str) -> set[str]:
    """Return the names of the functions of a module."""
    tree = ast.parse(read(path))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_capability_names_a_test_that_exists() -> None:
    rows = list(_ROW.finditer(read("docs/capabilities.md")))
    assert len(rows) >= 30
    for row in rows:
        test = _TEST.fullmatch(row["test"])
        assert test, row["capability"]
        assert test["name"] in functions(test["path"]), row["capability"]


def test_every_field_of_a_queue_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| .* \| (`tests/.*`) \|$", read("docs/queues.md"), re.MULTILINE)
    assert len(rows) >= 15
    for row in rows:
        test = _TEST.fullmatch(row)
        assert test, row
        assert test["name"] in functions(test["path"]), row


def test_every_capability_level_has_capabilities_and_stands_in_its_order() -> None:
    titles = re.findall(r"^## (.+)$", read("docs/capabilities.md"), re.MULTILINE)
    assert titles == [
        "Level 1: basic install",
        "Level 2: seamless upgrades",
        "Level 3: full lifecycle",
        "Level 4: deep insights",
        "Level 5: auto pilot",
    ]
    assert all(_ROW.search(section("docs/capabilities.md", title)) for title in titles)


def test_the_conditions_to_be_watched_exist() -> None:
    watched = set(re.findall(r"condition[s]? `(\w+)`(?: and `(\w+)`)? of", section("docs/production.md", "Monitoring")))
    kinds = [value for value in vars(conditions).values() if isinstance(value, type) and issubclass(value, StrEnum)]
    types = {str(member) for kind in kinds if kind.__name__.endswith("Condition") for member in kind}
    named = {name for pair in watched for name in pair if name}
    assert {"Ready", "Schedulable", "MassFailure"} <= named <= types | {"Available"}


def test_the_settings_of_kube_state_metrics_name_a_definition() -> None:
    _, block = re.findall(r"```yaml\n(.*?)```", section("docs/production.md", "Monitoring"), re.DOTALL)
    settings = yaml.safe_load(block)
    (resource,) = settings["customResourceState"]["config"]["spec"]["resources"]
    (rule,) = settings["rbac"]["extraRules"]
    definition = yaml.safe_load(read(f"crds/b3lb.io_{rule['resources'][0]}.yaml"))["spec"]
    version = resource["groupVersionKind"]
    assert (version["group"], version["kind"]) == (definition["group"], definition["names"]["kind"])
    assert version["version"] in {item["name"] for item in definition["versions"]}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_an_upgrade_keeps_the_values_that_it_does_not_set(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in _HELM_UPGRADE.findall(text):
        assert "--reset-then-reuse-values" in command, command


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as a forge makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_page_and_a_heading_of_it(path: Path) -> None:
    for link in _LINK.finditer(_FENCED.sub("", path.read_text(encoding="utf-8"))):
        target = (path.parent / link["path"]).resolve() if link["path"] else path
        assert target.exists(), link[0]
        if link["anchor"] and target.suffix == ".md":
            assert link["anchor"] in anchors(target), link[0]
