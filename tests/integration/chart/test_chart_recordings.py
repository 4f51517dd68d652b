"""What the chart makes of storage and front end, and what of it is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from b3lb.storage.settings import StorageSettings
from b3lb_api.settings import ApiSettings
from b3lb_cli.recording_changes import LINK_VARIABLE
from b3lb_operator.manifests.job_template import parse_job_storage
from dev.helm import CHART, HelmError
from tests.integration.chart.charts import Helm, Manifest, declared, find

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DIRECTORY = ("--set", "storage.type=directory", "--set", "api.enabled=true")
BUCKET = ("--set", "storage.type=s3,storage.s3.bucket=recordings,api.enabled=true")
PARENTS = '[{"name": "public", "namespace": "gateways", "sectionName": "https"}]'


def env_of(deployment: Manifest) -> dict[str, Any]:
    """Return the variables of a Deployment's only container, by name."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def names(manifests: list[Manifest], kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in manifests if item["kind"] == kind}


def specs(manifests: list[Manifest], kind: str) -> dict[str, Any]:
    """Return the specs of the custom resources that the release declares, by name."""
    return {item["metadata"]["name"]: item["spec"] for item in declared(manifests) if item["kind"] == kind}


def egress(manifests: list[Manifest], name: str) -> list[Any]:
    found: list[Any] = find(manifests, "NetworkPolicy", name)["spec"]["egress"]
    return found


def test_without_a_storage_nothing_of_recordings_is_there_but_the_queues(helm: Helm) -> None:
    manifests = helm.render()
    assert names(manifests, "Deployment") == {"b3lb-operator"}
    assert names(manifests, "PersistentVolumeClaim") == set()
    assert "B3LB_JOB_STORAGE" not in env_of(find(manifests, "Deployment", "b3lb-operator"))
    assert specs(manifests, "BBBRecordProfile") == {}
    assert specs(manifests, "BBBQueue")["record"] == {
        "tasks": ["render-record"],
        "concurrency": 2,
        "resources": {"requests": {"cpu": "1", "memory": "8Gi"}, "limits": {"memory": "10Gi"}},
    }


def test_the_front_end_and_the_jobs_are_told_the_same_storage(helm: Helm) -> None:
    for values in (DIRECTORY, (*BUCKET, "--set", "storage.s3.existingSecret.name=keys")):
        manifests = helm.render(*values)
        storage = parse_job_storage(env_of(find(manifests, "Deployment", "b3lb-operator"))["B3LB_JOB_STORAGE"])
        pod = find(manifests, "Deployment", "b3lb-api")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert [entry.manifest() for entry in storage.env] == [
            entry for entry in container["env"] if entry["name"].startswith(("B3LB_STORAGE", "B3LB_S3"))
        ]
        assert container["volumeMounts"][1:] == storage.volume_mounts
        assert pod["volumes"][1:] == storage.volumes


def test_every_setting_of_the_front_end_is_one_that_it_knows(helm: Helm) -> None:
    known = {f"B3LB_{name}".upper() for name in (*ApiSettings.model_fields, *StorageSettings.model_fields)}
    secret = ("--set", "storage.s3.accessKeyId=id,storage.s3.secretAccessKey=key,storage.s3.region=eu,api.replicas=2")
    addresses = ("--set", "storage.s3.endpoint=https://s3.example.org,storage.s3.publicEndpoint=https://v.example.org")
    given = env_of(find(helm.render(*BUCKET, *secret, *addresses), "Deployment", "b3lb-api"))
    assert given.keys() <= known
    assert int(given["B3LB_UPLOAD_MAX_BYTES"]) == ApiSettings.model_fields["upload_max_bytes"].default


def test_the_front_ends_pod_knows_the_address_that_links_have(helm: Helm) -> None:
    """``kubectl exec deploy/b3lb-api -- b3lb recordings link ID`` needs nothing else."""
    farms = ("--set-json", 'namespaces=["one", "two"]', "--set-json", 'api.host="{namespace}.example.org"')
    found = [item for item in helm.render(*DIRECTORY, *farms) if item["kind"] == "Deployment"]
    urls = {item["metadata"]["namespace"]: env_of(item).get(LINK_VARIABLE) for item in found}
    assert urls["one"] == "https://one.example.org"
    assert LINK_VARIABLE not in env_of(find(helm.render(*DIRECTORY), "Deployment", "b3lb-api"))


def test_keys_among_the_values_come_into_a_secret_of_each_farm(helm: Helm) -> None:
    values = ("--set", "storage.s3.accessKeyId=id,storage.s3.secretAccessKey=key,namespaces={one,two}")
    secrets = [item for item in helm.render(*BUCKET, *values) if item["metadata"]["name"] == "b3lb-s3"]
    assert [item["metadata"]["namespace"] for item in secrets] == ["one", "two"]
    for item in secrets:
        found = {name: base64.b64decode(value).decode() for name, value in item["data"].items()}
        assert found == {"access-key-id": "id", "secret-access-key": "key"}


def test_each_farm_has_an_upload_secret_of_its_own_that_its_cluster_names(helm: Helm) -> None:
    manifests = helm.render(*DIRECTORY, "--set", "namespaces={one,two}")
    nonces = [item["data"]["nonce"] for item in manifests if item["metadata"]["name"] == "b3lb-upload"]
    assert len(set(nonces)) == len(nonces) == 2
    assert specs(manifests, "BBBCluster")["default"] == {"uploadSecretRef": {"name": "b3lb-upload"}}
    assert find(manifests[::-1], "Deployment", "b3lb-operator")


def test_an_upload_secret_of_ones_own_is_left_alone(helm: Helm) -> None:
    manifests = helm.render(*DIRECTORY, "--set", "cluster.spec.uploadSecretRef.name=mine")
    assert "b3lb-upload" not in names(manifests, "Secret")
    assert specs(manifests, "BBBCluster")["default"] == {"uploadSecretRef": {"name": "mine"}}


def test_places_that_follow_the_work_take_the_place_of_a_fixed_number(helm: Helm) -> None:
    manifests = helm.render("--set", "queues.record.spec.autoscaling.maxReplicas=10")
    record = specs(manifests, "BBBQueue")["record"]
    assert "concurrency" not in record
    assert record["autoscaling"] == {"maxReplicas": 10}


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("", 443),
        ("https://s3.example.org", 443),
        ("https://s3.example.org:9000/", 9000),
        ("http://minio.storage.svc", 80),
        ("http://[2001:db8::1]:9000", 9000),
    ],
)
def test_pods_reach_the_port_of_the_bucket_and_no_other_of_it(helm: Helm, endpoint: str, port: int) -> None:
    manifests = helm.render(*BUCKET, "--set", f"storage.s3.endpoint={endpoint}")
    rule = {"ports": [{"port": port, "protocol": "TCP"}]}
    assert egress(manifests, "b3lb-jobs-storage") == [rule]
    assert rule in egress(manifests, "b3lb-api")
    selector = find(manifests, "NetworkPolicy", "b3lb-jobs-storage")["spec"]["podSelector"]
    (expression,) = selector["matchExpressions"]
    assert expression["values"] == ["b3lb-record", "b3lb-housekeeping"]


def test_the_front_end_reaches_database_names_and_bucket_only(helm: Helm) -> None:
    ports = [entry["port"] for rule in egress(helm.render(*DIRECTORY), "b3lb-api") for entry in rule["ports"]]
    assert ports == [53, 53, 5432]


def test_archives_of_the_allowed_size_pass_the_ingress_unbuffered(helm: Helm) -> None:
    values = ("--set", "api.ingress.enabled=true,api.host=b3lb.example.org,api.uploads.maxGiB=7")
    annotations = find(helm.render(*DIRECTORY, *values), "Ingress", "b3lb-api")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "8g"
    assert annotations["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"


def test_an_http_route_leads_to_the_front_end_for_as_long_as_an_upload_takes(helm: Helm) -> None:
    values = ("--set", "api.httpRoute.enabled=true,api.host=b3lb.example.org")
    route = find(
        helm.render(*DIRECTORY, *values, "--set-json", f"api.httpRoute.parentRefs={PARENTS}"), "HTTPRoute", "b3lb-api"
    )
    assert route["spec"] == {
        "parentRefs": json.loads(PARENTS),
        "hostnames": ["b3lb.example.org"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/b3lb"}}],
                "timeouts": {"request": "0s"},
                "backendRefs": [{"name": "b3lb-api", "port": 80}],
            }
        ],
    }


def test_several_front_ends_are_drained_one_after_the_other(helm: Helm) -> None:
    assert names(helm.render(*DIRECTORY), "PodDisruptionBudget") == set()
    budget = find(helm.render(*DIRECTORY, "--set", "api.replicas=3"), "PodDisruptionBudget", "b3lb-api")
    assert budget["spec"]["maxUnavailable"] == 1


def test_prometheus_finds_the_front_end_beside_the_operator(helm: Helm) -> None:
    manifests = helm.render(*DIRECTORY, "--set", "serviceMonitor.enabled=true,namespaces={one,two}")
    monitor = find(manifests, "ServiceMonitor", "b3lb-api")["spec"]
    assert monitor["namespaceSelector"] == {"matchNames": ["one", "two"]}
    services = [item for item in manifests if (item["kind"], item["metadata"]["name"]) == ("Service", "b3lb-api")]
    for service in services:
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("api.enabled=true", "api.enabled needs a storage: write storage.type: directory or s3"),
        ("storage.type=nfs", "at '/storage/type': value must be one of 'none', 'directory', 's3'"),
        ("storage.type=s3", "storage.type s3 needs storage.s3.bucket"),
        ("storage.type=s3,storage.s3.bucket=Big", "at '/storage/s3/bucket': 'Big' does not match pattern"),
        (
            "storage.type=s3,storage.s3.bucket=abc,storage.s3.accessKeyId=x",
            "storage.s3: accessKeyId and secretAccessKey belong together",
        ),
        ("storage.s3.endpoint=s3.example.org", "at '/storage/s3/endpoint': 's3.example.org' does not match pattern"),
        (
            "storage.type=directory,api.enabled=true,api.ingress.enabled=true",
            "api.ingress and api.httpRoute need api.host",
        ),
        (
            "storage.type=directory,api.enabled=true,api.httpRoute.enabled=true,api.host=a.example.org",
            "api.httpRoute.enabled needs api.httpRoute.parentRefs",
        ),
        (
            "storage.type=directory,api.enabled=true,api.ingress.enabled=true,api.host=a.example.org,namespaces={a,b}",
            "api.host: several farms cannot have the same",
        ),
        ("recordProfile.spec.width=many", "at '/recordProfile/spec/width': got string, want integer"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(helm: Helm, setting: str, message: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render("--set", setting)
    assert message in str(refused.value)


def notes(helm: Helm, *values: str) -> str:
    """Return what is told after an installation in the namespace ``main`` with the farms ``a`` and ``b``."""
    farms = ("--namespace", "main", "--set", "namespaces={a,b}")
    return helm.run("install", "b3lb", str(CHART), "--dry-run=client", *farms, *values).partition("NOTES:")[2]


def test_the_notes_name_the_address_only_where_the_chart_makes_a_way_to_it(helm: Helm) -> None:
    host = ("--set-json", 'api.host="{namespace}.example.org"')
    assert "https://" not in notes(helm, *DIRECTORY, *host)
    assert "of the Service b3lb-api, to which you make a way" in notes(helm, *DIRECTORY, *host)
    assert "address https://a.example.org and" in notes(helm, *DIRECTORY, *host, "--set", "api.ingress.enabled=true")


def test_the_notes_name_what_has_to_be_there_for_the_storage(helm: Helm) -> None:
    assert "has to exist" not in notes(helm, *DIRECTORY)
    claim = notes(helm, *DIRECTORY, "--set", "storage.directory.existingClaim=nfs")
    assert "The PersistentVolumeClaim nfs has to exist in: a, b." in claim
    keys = notes(helm, *BUCKET, "--set", "storage.s3.existingSecret.name=keys")
    assert "The Secret keys with the keys of the bucket has to exist in: a, b." in keys
