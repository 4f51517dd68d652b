"""Runs Helm on the project's chart, and takes apart what it renders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import dev.helm
from dev.helm import CHART

HERE = Path(__file__).resolve().parent
NAMESPACE = "chart"
RELEASE = "b3lb"
VALUE_SETS = sorted(path.stem for path in (HERE / "values").glob("*.yaml"))

Manifest = dict[str, Any]


class Helm(dev.helm.Helm):
    """Helm, and what the chart renders."""

    def render(
        self, *arguments: str, namespace: str = NAMESPACE, release: str = RELEASE, chart: Path = CHART
    ) -> list[Manifest]:
        """Return the objects of the chart, hooks included."""
        return documents(self.run("template", release, str(chart), "--namespace", namespace, *arguments))

    def render_set(self, name: str) -> list[Manifest]:
        """Return the objects for one of the value sets."""
        return self.render("--values", str(values_file(name)))


def documents(text: str) -> list[Manifest]:
    """Return the objects of a YAML text, read by libyaml: PyYAML's own reader takes longer than Helm."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def values_file(name: str) -> Path:
    """Return the file of a value set."""
    return HERE / "values" / f"{name}.yaml"


def assert_rights(account: str, rights: str) -> None:
    """A service account may do what was looked at, and nothing else."""
    golden = HERE / "golden" / "rights" / f"{account}.txt"
    if os.environ.get("B3LB_WRITE_GOLDEN"):
        golden.write_text(rights, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == rights
    assert "[*]" not in re.sub(r"selfsubject\S+|\[/\S*\]", "", rights)


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the only object of that kind and name."""
    (found,) = (item for item in manifests if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def declared(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Yield the custom resources that stand in ConfigMaps."""
    for item in manifests:
        if item["kind"] == "ConfigMap":
            found = yaml.safe_load(item["data"]["object.json"])
            found["metadata"]["namespace"] = item["metadata"]["namespace"]
            yield found


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Yield a pod of each workload, as its controller would make it."""
    for item in manifests:
        if item["kind"] == "Pod":
            yield item
        elif item["kind"] in {"Deployment", "StatefulSet", "Job"}:
            template = item["spec"]["template"]
            spec = dict(template["spec"])
            for claim in item["spec"].get("volumeClaimTemplates", ()):
                volume = {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "data"}}
                spec["volumes"] = [*spec["volumes"], volume]
            name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
            metadata = {**template["metadata"], "name": f"{name}-pod", "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
