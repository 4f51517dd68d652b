"""Writes what the chart has from elsewhere: definitions, rights, dashboard, the values' schema and reference page.

``python -m dev.generate_chart`` writes the files, ``--check`` only compares and exits 1 when one is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from b3lb.resources import RESOURCES
from dev.chart_schema import values_schema
from dev.chart_values import Value, leaves, read_values
from dev.dashboard import dashboard_text
from dev.generate_crds import definition
from dev.generated import ROOT, run_generator, stale_files, write_files

CHART = Path("charts/b3lb")
REFERENCE = Path("docs/configuration.md")
_DEFINITIONS = CHART / "templates" / "crds"
_RULES = {
    CHART / "files" / "operator-rules.yaml": Path("deploy/rbac.yaml"),
    CHART / "files" / "namespace-deletion-rules.yaml": Path("deploy/rbac-namespace-deletion.yaml"),
}
_NOTE = "Generated from {} by python -m dev.generate_chart; changes here are overwritten."
_KEEP = """  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""
_PAGE = f"""# Configuration of the chart

<!-- {_NOTE.format("charts/b3lb/values.yaml")} -->

Every value of `charts/b3lb`, with its default. Write those that you want to change into a file and install with
`--values FILE`; a value that is unknown or of the wrong kind is refused, by its name. The same texts stand in
[values.yaml](../charts/b3lb/values.yaml).
"""


def generated_files(root: Path = ROOT) -> dict[Path, str]:
    """Return every generated file's text, by its path relative to ``root``."""
    values = read_values((root / CHART / "values.yaml").read_text(encoding="utf-8"))
    files = {
        CHART / "values.schema.json": json.dumps(values_schema(values), indent=1, ensure_ascii=False) + "\n",
        REFERENCE: _reference(values),
        CHART / "files" / "grafana-dashboard.json": dashboard_text(),
    }
    for resource in RESOURCES:
        files[_DEFINITIONS / f"{resource.plural}.yaml"] = _template(definition(resource))
    for path, source in _RULES.items():
        files[path] = _rules(root / source, source)
    return files


def out_of_date(root: Path = ROOT) -> list[Path]:
    """Return the files below ``root`` that are missing, differ from what is generated, or should not be there."""
    return stale_files(root, generated_files(root), _DEFINITIONS)


def write(root: Path = ROOT) -> None:
    """Write every generated file below ``root``, and remove definitions of kinds that are gone."""
    write_files(root, generated_files(root), _DEFINITIONS)


def _template(crd: dict[str, Any]) -> str:
    text = yaml.safe_dump(crd, sort_keys=False, width=120, allow_unicode=True)
    if "{{" in text:
        raise ValueError(f"{crd['metadata']['name']}: Helm would take {{{{ for a template")
    text = text.replace("metadata:\n", "metadata:\n" + _KEEP, 1)
    return (
        f"{{{{- /* {_NOTE.format('b3lb/resources')} */}}}}\n{{{{- if .Values.crds.enabled }}}}\n{text}{{{{- end }}}}\n"
    )


def _rules(path: Path, source: Path) -> str:
    """Return the rules of the only Role or ClusterRole of a file."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    (role,) = (document for document in documents if document["kind"] in {"Role", "ClusterRole"})
    rules = yaml.safe_dump(role["rules"], sort_keys=False, width=120)
    return f"# {_NOTE.format(source)}\n{rules}"


def _reference(values: list[Value]) -> str:
    sections = [_PAGE]
    scalars = [value for value in values if not value.children]
    sections.append("## General\n\n" + _table(scalars))
    sections += [
        f"## {value.name}\n\n{value.description}\n\n{_table(leaves([value]))}" for value in values if value.children
    ]
    return "\n".join(sections)


def _table(values: Any) -> str:
    lines = ["| Value | Default | Meaning |", "| --- | --- | --- |"]
    lines += [f"| `{value.path}` | `{_compact(value.default)}` | {_meaning(value)} |" for value in values]
    return "\n".join(lines) + "\n"


def _compact(default: Any) -> str:
    return json.dumps(default, ensure_ascii=False)


def _meaning(value: Value) -> str:
    text = value.description.replace("|", "\\|").replace("<", "\\<")
    if "enum" in value.schema:
        return f"{text} One of {', '.join(f'`{item}`' for item in value.schema['enum'])}."
    if "minimum" in value.schema:
        return f"{text} From {value.schema['minimum']} to {value.schema['maximum']}."
    return text


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run the command line; return its exit code."""
    return run_generator(
        arguments,
        module="dev.generate_chart",
        description=__doc__,
        write=lambda: write(root),
        out_of_date=lambda: out_of_date(root),
    )


if __name__ == "__main__":
    sys.exit(main())
