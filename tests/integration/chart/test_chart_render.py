"""What the chart renders: whole objects against golden files, and what it refuses.

``B3LB_WRITE_GOLDEN=1`` writes the golden files anew; look at their difference before it is committed.
"""

from __future__ import annotations

import base64
import copy
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.helm import CHART, HelmError
from tests.integration.chart.charts import HERE, VALUE_SETS, Helm, Manifest, find

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def stable(manifests: list[Manifest]) -> str:
    """Return the objects as text; what is generated at random, and the schemas of definitions, are left out."""
    shown = copy.deepcopy(manifests)
    for item in shown:
        if item["kind"] == "Secret":
            item["data"] = dict.fromkeys(item["data"], "(generated)")
        if item["kind"] == "CustomResourceDefinition":
            item["spec"] = "(see crds/)"
    return yaml.safe_dump_all(shown, width=120)


def test_there_are_six_value_sets() -> None:
    assert len(VALUE_SETS) == 6


@pytest.mark.parametrize("name", VALUE_SETS)
def test_what_is_rendered_is_what_was_looked_at(helm: Helm, name: str) -> None:
    rendered = stable(helm.render_set(name))
    golden = HERE / "golden" / f"{name}.yaml"
    if os.environ.get("B3LB_WRITE_GOLDEN"):
        golden.write_text(rendered, encoding="utf-8")
    assert yaml.safe_dump_all(yaml.safe_load_all(golden.read_text(encoding="utf-8")), width=120) == rendered


def test_the_linter_finds_nothing(helm: Helm) -> None:
    helm.run("lint", "--strict", str(CHART))


def test_the_definitions_are_those_of_the_repository(helm: Helm) -> None:
    rendered = [item for item in helm.render() if item["kind"] == "CustomResourceDefinition"]
    for item in rendered:
        assert item["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    files = sorted((CHART.parents[1] / "crds").glob("*.yaml"))
    assert rendered == [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]


def test_generated_secrets_have_the_form_that_the_programs_take(helm: Helm) -> None:
    manifests = helm.render("--set", "namespaces={chart,other}")
    secrets = [item for item in manifests if item["kind"] == "Secret"]
    data: dict[tuple[str, str], dict[str, str]] = {
        (item["metadata"]["name"], item["metadata"]["namespace"]): {
            key: base64.b64decode(value).decode() for key, value in item["data"].items()
        }
        for item in secrets
    }
    keys = data["b3lb-encryption", "chart"]["keys"]
    assert len(base64.b64decode(keys.removeprefix("k1:"))) == 32
    password = data["b3lb-database", "chart"]["password"]
    assert re.fullmatch(r"[A-Za-z0-9]{40}", password)
    assert data["b3lb-database", "chart"]["url"] == f"postgresql://b3lb:{password}@b3lb-database.chart.svc:5432/b3lb"
    assert data["b3lb-encryption", "other"] == data["b3lb-encryption", "chart"]
    assert data["b3lb-database", "other"] == {"url": data["b3lb-database", "chart"]["url"]}
    assert re.fullmatch(r"[A-Za-z0-9]{48}", data.pop(("b3lb-control", "chart"))["token"])
    kept = [item for item in secrets if (item["metadata"]["name"], item["metadata"]["namespace"]) in data]
    assert all(item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in kept)


@pytest.mark.parametrize(
    ("values", "peers"),
    [
        ([], [None]),
        (["metrics.enabled=false"], [None]),
        (["control.enabled=false", "metrics.enabled=false"], []),
        (["networkPolicy.metrics.peers[0].ipBlock.cidr=192.0.2.1/32"], ["192.0.2.1/32"]),
        (
            [
                "networkPolicy.metrics.peers[0].ipBlock.cidr=192.0.2.1/32",
                "networkPolicy.control.peers[0].ipBlock.cidr=192.0.2.2/32",
            ],
            ["192.0.2.1/32", "192.0.2.2/32"],
        ),
        (
            ["networkPolicy.control.peers[0].ipBlock.cidr=192.0.2.2/32", "metrics.enabled=false"],
            ["192.0.2.2/32"],
        ),
    ],
)
def test_questions_to_the_operator_open_its_port_to_nobody_whom_the_rule_for_metrics_keeps_out(
    helm: Helm, values: list[str], peers: list[str | None]
) -> None:
    manifests = helm.render(*(word for value in values for word in ("--set", value)))
    name = ("NetworkPolicy", "b3lb-operator")
    (policy,) = [item for item in manifests if (item["kind"], item["metadata"]["name"]) == name]
    rules = policy["spec"].get("ingress", [])
    assert [rule["from"][0]["ipBlock"]["cidr"] if "from" in rule else None for rule in rules] == peers
    assert all(rule["ports"] == [{"port": "http", "protocol": "TCP"}] for rule in rules)
    services = [item for item in manifests if item["kind"] == "Service" and item["metadata"]["name"] == "b3lb-operator"]
    assert len(services) == bool(peers)


def test_the_dashboard_is_off_unless_it_is_wanted_and_needs_the_token(helm: Helm) -> None:
    def settings(*options: str) -> dict[str, Any]:
        manifests = helm.render(*options)
        operator = find(manifests, "Deployment", "b3lb-operator")
        return {
            item["name"]: item.get("value") for item in operator["spec"]["template"]["spec"]["containers"][0]["env"]
        }

    assert "B3LB_DASHBOARD" not in settings()
    assert settings("--set", "dashboard.enabled=true")["B3LB_DASHBOARD"] == "true"
    with pytest.raises(HelmError, match=r"dashboard\.enabled needs control\.enabled"):
        helm.render("--set", "dashboard.enabled=true", "--set", "control.enabled=false")


def test_two_releases_share_no_name_of_the_whole_cluster(helm: Helm) -> None:
    def names(namespace: str) -> set[tuple[str, str]]:
        rendered = helm.render("--set", "crds.enabled=false", "--set", "namespaces={farm}", namespace=namespace)
        return {(item["kind"], item["metadata"]["name"]) for item in rendered if "namespace" not in item["metadata"]}

    assert {kind for kind, _ in names("one")} == {"PriorityClass", "ClusterRole", "ClusterRoleBinding"}
    assert not names("one") & names("two")


def test_no_release_of_another_namespace_has_a_name_of_the_whole_cluster(helm: Helm) -> None:
    def names(release: str, namespace: str) -> set[str]:
        rendered = helm.render("--set", "namespaces={farm}", namespace=namespace, release=release)
        return {item["metadata"]["name"] for item in rendered if item["kind"] in {"PriorityClass", "ClusterRole"}}

    assert len(names("b", "a")) == 6
    assert not names("b", "a") & names("b3lb", "a-b")


@pytest.mark.parametrize("release", ["my.release", "a" * 53, f"b3lb.{'a' * 34}.b3lb", f"b3lb-{'a' * 33}--b3lb"])
def test_the_name_of_every_release_gives_names_that_a_service_takes(helm: Helm, release: str) -> None:
    names = [item["metadata"]["name"] for item in helm.render(release=release) if item["kind"] == "Service"]
    assert len(names) == 2
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)


def test_a_release_whose_name_begins_with_a_digit_is_told_what_to_set(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r'fullnameOverride: .* would begin with "1abc-b3lb"'):
        helm.render(release="1abc")
    assert find(helm.render("--set", "fullnameOverride=abc", release="1abc"), "Service", "abc-database")


def test_another_chart_can_have_this_one_as_a_dependency(helm: Helm, tmp_path: Path) -> None:
    chart = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0"}
    dependency = {"name": "b3lb", "version": "*", "condition": "b3lb.enabled"}
    values = {"global": {"region": "eu"}, "b3lb": {"enabled": True, "log": {"level": "debug"}}}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump({**chart, "dependencies": [dependency]}))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "b3lb").symlink_to(CHART)
    assert stable(helm.render(chart=tmp_path)) == stable(helm.render("--set", "log.level=debug"))
    assert helm.render("--set", "b3lb.enabled=false", chart=tmp_path) == []


@pytest.mark.parametrize("image", ["docker.io/library/postgres:14", "docker.io/library/postgres:19"])
def test_the_data_lie_in_the_volume_in_a_directory_that_is_the_same_for_every_image(helm: Helm, image: str) -> None:
    def pod(*arguments: str) -> Any:
        return find(helm.render(*arguments), "StatefulSet", "b3lb-database")["spec"]["template"]["spec"]

    def data(container: Manifest) -> list[str]:
        return [entry["value"] for entry in container["env"] if entry["name"] == "PGDATA"]

    containers = [
        part
        for kind in ("initContainers", "containers")
        for part in pod("--set", f"database.bundled.image={image}")[kind]
    ]
    for container in containers:
        (mount,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "data")
        # The path of the image of 18, whose volumes are found again.
        assert data(container) == [f"{mount}/18/docker"]
    given = pod("--set-json", 'database.bundled.extraEnv=[{"name":"PGDATA","value":"/var/lib/postgresql/data"}]')
    assert data(given["initContainers"][0]) == data(given["containers"][0]) == ["/var/lib/postgresql/data"]


@pytest.mark.parametrize("cpu", ["0.5", "2", '"500m"'])
def test_a_quantity_may_be_a_number(helm: Helm, cpu: str) -> None:
    operator = find(helm.render("--set-json", f"operator.resources.requests.cpu={cpu}"), "Deployment", "b3lb-operator")
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == yaml.safe_load(cpu)


def test_core_goes_before_everything_and_housekeeping_preempts_nobody(helm: Helm) -> None:
    classes = {item["metadata"]["name"]: item for item in helm.render() if item["kind"] == "PriorityClass"}
    order = sorted(classes, key=lambda name: -classes[name]["value"])
    assert [name.removeprefix("chart.b3lb-") for name in order] == [
        "core",
        "operator",
        "statistics",
        "record",
        "housekeeping",
    ]
    assert classes["chart.b3lb-housekeeping"]["preemptionPolicy"] == "Never"
    assert classes["chart.b3lb-core"]["preemptionPolicy"] == "PreemptLowerPriority"


def test_what_the_documents_hand_to_kubectl_is_always_the_same_and_holds_no_hook(helm: Helm) -> None:
    documents = [CHART.parents[1] / "README.md", *(CHART.parents[1] / "docs").glob("*.md")]
    texts = [path.read_text(encoding="utf-8").replace("\\\n", "") for path in documents]
    commands = [line for text in texts for line in text.splitlines() if line.lstrip().startswith("helm template ")]
    assert commands
    for command in commands:
        _, _, release, chart, *arguments = shlex.split(command.partition("|")[0])
        assert chart == str(CHART.relative_to(CHART.parents[1]))
        first, again = (helm.render(*arguments, "--set", "crds.keep=false", release=release) for _ in range(2))
        assert first == again
        assert not [item for item in first if "helm.sh/hook" in item["metadata"].get("annotations", {})]


def test_a_new_spec_of_a_queue_restarts_the_operator(helm: Helm) -> None:
    def annotations(*arguments: str) -> Any:
        operator = find(helm.render(*arguments), "Deployment", "b3lb-operator")
        return operator["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations()
    assert annotations() != annotations("--set", "queues.core.spec.suspend=true")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("image.tga=1", "at '/image': additional properties 'tga' not allowed"),
        ("replicas=2", "at '': additional properties 'replicas' not allowed"),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'console'"),
        ("log.level=loud", "at '/log/level': value must be one of 'debug', 'info', 'warning', 'error'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
        ("operator.database.poolSize=99", "at '/operator/database/poolSize': maximum: got 99, want 20"),
        ("operator.database.poolSize=many", "at '/operator/database/poolSize': got string, want integer"),
        ("crds.keep=maybe", "at '/crds/keep': got string, want boolean"),
        ("namespaces=farm", "at '/namespaces': got string, want array"),
        ("namespaces={Farm}", "at '/namespaces/0': 'Farm' does not match pattern"),
        ("namespaces={foo.bar}", "at '/namespaces/0': 'foo.bar' does not match pattern"),
        ("fullnameOverride=My_Name", "at '/fullnameOverride': 'My_Name' does not match pattern"),
        ("nameOverride=my.name", "at '/nameOverride': 'my.name' does not match pattern"),
        ("commonLabels.bad key!=x", "at '/commonLabels': additional properties 'bad key!' not allowed"),
        ("commonLabels.key=x y", "at '/commonLabels/key': 'x y' does not match pattern"),
        ("commonAnnotations.bad key!=x", "at '/commonAnnotations': additional properties 'bad key!' not allowed"),
        ("operator.nodeSelector.disk=s s", "at '/operator/nodeSelector/disk': 's s' does not match pattern"),
        ("image.registry=https://registry", "at '/image/registry': 'https://registry' does not match pattern"),
        ("image.repository=Video", "at '/image/repository': 'Video' does not match pattern"),
        ("image.tag=a:b", "at '/image/tag': 'a:b' does not match pattern"),
        ("operator.serviceAccount.name=A_b", "at '/operator/serviceAccount/name': 'A_b' does not match pattern"),
        ("operator.priorityClassName=High", "at '/operator/priorityClassName': 'High' does not match pattern"),
        ("jobs.queues.core.priorityClassName=High", "at '/jobs/queues/core/priorityClassName': 'High' does not"),
        ("operator.extraEnv[0].name=a=b", "at '/operator/extraEnv/0/name': 'a=b' does not match pattern"),
        ("operator.extraVolumes[0].name=A.b", "at '/operator/extraVolumes/0/name': 'A.b' does not match pattern"),
        ("jobs.extraVolumeMounts[0].name=A.b", "at '/jobs/extraVolumeMounts/0/name': 'A.b' does not match pattern"),
        ("jobs.affinity.nodeAfinity.a=1", "at '/jobs/affinity': additional properties 'nodeAfinity' not allowed"),
        ("operator.tolerations[0].operater=Exists", "at '/operator/tolerations/0': additional properties 'operater'"),
        ("jobs.extraEnv[0].name=A,jobs.extraEnv[0].valueFrom.secret=x", "'/jobs/extraEnv/0/valueFrom': additional"),
        ("jobs.extraVolumes[0].name=a,jobs.extraVolumes[0].secrets.secretName=x", "'/jobs/extraVolumes/0': additional"),
        ("jobs.extraVolumeMounts[0].name=a", "at '/jobs/extraVolumeMounts/0': missing property 'mountPath'"),
        ("operator.topologySpreadConstraints[0].maxSkew=1", "'/operator/topologySpreadConstraints/0': missing prop"),
        ("networkPolicy.nodes.peers[0].cidr=::/0", "at '/networkPolicy/nodes/peers/0': additional properties 'cidr'"),
        ("database.bundled.image=a b", "at '/database/bundled/image': 'a b' does not match pattern"),
        ("database.bundled.storage.className=Fast", "at '/database/bundled/storage/className': 'Fast' does not"),
        ("database.bundled.storage.size=-1", "at '/database/bundled/storage/size': minimum: got -1, want 0"),
        ("cluster.spec.colour=red", "at '/cluster/spec': additional properties 'colour' not allowed"),
        ("cluster.spec.checksumAlgorithm=md5", "at '/cluster/spec/checksumAlgorithm': value must be one of"),
        ("queues.core.spec.tickSeconds=7", "at '/queues/core/spec/tickSeconds': value must be one of 5, 10, 15, 20"),
        ("queues.extra.enabled=true", "at '/queues': additional properties 'extra' not allowed"),
        ("jobs.queues.core.image=x", "at '/jobs/queues/core': additional properties 'image' not allowed"),
        ("operator.extraEnv[0].value=x", "at '/operator/extraEnv/0': missing property 'name'"),
        ("operator.resources.limits.memory=lots", "at '/operator/resources/limits/memory': 'lots' does not match"),
        ("database.existingSecret.name=A_b", "at '/database/existingSecret/name': 'A_b' does not match pattern"),
        (
            "priorityClasses.core=2000000000",
            "at '/priorityClasses/core': maximum: got",
        ),
        ("networkPolicy.nodes.ports={https}", "at '/networkPolicy/nodes/ports/0': got string, want integer"),
    ],
)
def test_a_wrong_or_unknown_value_is_refused_by_its_name(helm: Helm, setting: str, message: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render("--set", setting)
    assert message in str(refused.value)
