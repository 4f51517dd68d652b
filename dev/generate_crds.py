"""Writes crds/*.yaml and docs/reference/custom-resources.md from the types in b3lb.resources.

``python -m dev.generate_crds`` writes them, ``--check`` only compares and exits 1 when one is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from b3lb.resources import CATEGORY, GROUP, RESOURCES, VERSION, Resource
from b3lb.resources.base import Column, Scale, rules
from dev.crd_reference import reference_page
from dev.crd_schema import has_defaults, structural_schema, with_described_defaults
from dev.generated import ROOT, run_generator, stale_files, write_files

_DEFINITIONS = Path("crds")
_HEADER = "# Generated from b3lb/resources by python -m dev.generate_crds; changes here are overwritten.\n"


def definition(resource: Resource) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}} | ({} if resource.scale is None else {"scale": _scale(resource.scale)}),
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


def _scale(scale: Scale) -> dict[str, str]:
    return {
        "specReplicasPath": scale.spec_replicas,
        "statusReplicasPath": scale.status_replicas,
        "labelSelectorPath": scale.label_selector,
    }


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
        files[_DEFINITIONS / f"{GROUP}_{resource.plural}.yaml"] = _HEADER + text
    return files


def out_of_date(root: Path = ROOT) -> list[Path]:
    """Return the files below ``root`` that are missing, differ from what is generated, or should not be there."""
    return stale_files(root, generated_files(), _DEFINITIONS)


def write(root: Path = ROOT) -> None:
    """Write every generated file below ``root``, and remove definitions of kinds that are gone."""
    write_files(root, generated_files(), _DEFINITIONS)


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run the command line; return its exit code."""
    return run_generator(
        arguments,
        module="dev.generate_crds",
        description=__doc__,
        write=lambda: write(root),
        out_of_date=lambda: out_of_date(root),
    )


if __name__ == "__main__":
    sys.exit(main())
