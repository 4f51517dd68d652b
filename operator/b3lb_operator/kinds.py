"""The kinds of objects that the operator watches or writes, and how one object is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Manifest = dict[str, Any]
"""A Kubernetes object as plain JSON values."""

FIELD_MANAGER = "b3lb-operator"
PART_OF_LABEL = "app.kubernetes.io/part-of=b3lb"
SECRET_FIELDS = "type!=helm.sh/release.v1"  # noqa: S105 - a selector
"""Field selector: Helm's records of releases are Secrets, too, and large."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the Kubernetes API; ``plural`` is its name in paths."""

    name: str
    api_version: str
    plural: str

    @property
    def group_version_plural(self) -> tuple[str, str, str]:
        """Group ("" for core), version and plural."""
        group, _, version = self.api_version.rpartition("/")
        return group, version, self.plural

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path below the API server's address."""
        prefix = "/apis/" if "/" in self.api_version else "/api/"
        parts = [part for part in (name, subresource) if part]
        return "/".join([f"{prefix}{self.api_version}/namespaces/{namespace}/{self.plural}", *parts])


CLUSTER = Kind("BBBCluster", "b3lb.io/v1alpha1", "bbbclusters")
NODE = Kind("BBBNode", "b3lb.io/v1alpha1", "bbbnodes")
QUEUE = Kind("BBBQueue", "b3lb.io/v1alpha1", "bbbqueues")
TENANT = Kind("BBBTenant", "b3lb.io/v1alpha1", "bbbtenants")
API_SECRET = Kind("BBBSecret", "b3lb.io/v1alpha1", "bbbsecrets")
RECORD_PROFILE = Kind("BBBRecordProfile", "b3lb.io/v1alpha1", "bbbrecordprofiles")
RECORDING = Kind("BBBRecording", "b3lb.io/v1alpha1", "bbbrecordings")
SECRET = Kind("Secret", "v1", "secrets")
CRON_JOB = Kind("CronJob", "batch/v1", "cronjobs")
JOB = Kind("Job", "batch/v1", "jobs")
POD = Kind("Pod", "v1", "pods")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
EVENT = Kind("Event", "events.k8s.io/v1", "events")

CONFIGURED_KINDS = (CLUSTER, NODE, QUEUE, TENANT, API_SECRET, RECORD_PROFILE)
"""The custom resources that people write; each has a row of configuration."""

CUSTOM_KINDS = (*CONFIGURED_KINDS, RECORDING)
KINDS = (*CUSTOM_KINDS, SECRET, CRON_JOB, JOB, LEASE)
"""Every kind that is watched."""


class Key(NamedTuple):
    """Where an object of a known kind is found."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(manifest: Manifest) -> Key:
    """Return the key of an object."""
    metadata = manifest["metadata"]
    return Key(metadata["namespace"], metadata["name"])


def is_deleting(manifest: Manifest) -> bool:
    """Whether somebody asked for the object's deletion."""
    return "deletionTimestamp" in manifest["metadata"]


def is_owned_by(manifest: Manifest, uid: str) -> bool:
    """Whether an object goes when the one with that uid goes."""
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences", ()))


def is_newer(version: str, other: str) -> bool:
    """Whether resource version ``version`` came after ``other`` of the same object.

    Resource versions are decimal numbers that may be compared for order
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions). Those of another form count as
    newer, so that whatever arrives last stands.
    """
    if version.isdecimal() and other.isdecimal():
        return int(version) > int(other)
    return version != other
