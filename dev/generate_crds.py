"""Writes crds/*.yaml and docs/reference/custom-resources.md from the types in b3lb.resources.

``python -m dev.generate_crds`` writes them, ``--check`` only compares and exits 1 when one is out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from b3lb.resources import CATEGORY, GROUP, RESOURCES, VERSION, Resource
from b3lb.resources.base import Column, rules
from dev.crd_reference import reference_page
from dev.crd_schema import has_defaults, structural_schema, with_described_defaults

ROOT = Path(__file__).resolve().parent.parent
_HEADER = "# Generated from b3lb/resources by python -m dev.generate_crds; changes here are overwritten.\n"


def definition(resource: Resource) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
    }
    if resource.selectable_fields:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable_fields]
    version["schema"] = {"openAPIV3Schema": _root_schema(resource)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.definition_name, "labels": {"app.kubernetes.io/part-of": "b3lb"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": [resource.short_name],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def _root_schema(resource: Resource) -> dict[str, Any]:
    spec, status = with_described_defaults(structural_schema(resource.spec)), structural_schema(resource.status)
    root: dict[str, Any] = {"type": "object", "description": resource.description}
    if spec.get("required"):
        root["required"] = ["spec"]
    elif has_defaults(spec):
        spec["default"] = {}
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"Always {resource.kind}."},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status,
    }
    return root | (rules(*resource.rules) if resource.rules else {})


def _column(column: Column) -> dict[str, Any]:
    result: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        result["description"] = column.description
    if column.priority:
        result["priority"] = column.priority
    return result


def generated_files() -> dict[Path, str]:
    """Return every generated file's text, by its path relative to the repository."""
    files = {Path("docs/reference/custom-resources.md"): reference_page(RESOURCES)}
    for resource in RESOURCES:
        text = yaml.safe_dump(definition(resource), sort_keys=False, width=120, allow_unicode=True)
        files[Path("crds") / f"{GROUP}_{resource.plural}.yaml"] = _HEADER + text
    return files


def out_of_date(root: Path = ROOT) -> list[Path]:
    """Return the files below ``root`` that are missing, differ from what is generated, or should not be there."""
    files = generated_files()
    wrong = [path for path, text in files.items() if not (root / path).is_file() or (root / path).read_text() != text]
    return sorted([*wrong, *(path for path in _present(root) if path not in files)])


def _present(root: Path) -> list[Path]:
    return [path.relative_to(root) for path in (root / "crds").glob("*.yaml")]


def write(root: Path = ROOT) -> None:
    """Write every generated file below ``root``, and remove definitions of kinds that are gone."""
    files = generated_files()
    for path in _present(root):
        if path not in files:
            (root / path).unlink()
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.generate_crds", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    if not parser.parse_args(arguments).check:
        write(root)
        return 0
    wrong = out_of_date(root)
    for path in wrong:
        print(f"{path} is out of date: run python -m dev.generate_crds", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
