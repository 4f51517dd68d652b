"""Static volumes for claims: a default StorageClass without provisioner, and directories of this machine."""

import secrets
from pathlib import Path

from dev.kubelet.api import Manifest

STORAGE_CLASS = "local"


def volume_manifests(directory: Path, *, count: int, size: str = "20Gi") -> list[Manifest]:
    """The StorageClass and new volumes, each an own directory, which the kubelet creates when it is first used.

    A claim waits until a pod uses it. Nothing limits the size of a volume, and a released one is never used again.
    https://kubernetes.io/docs/concepts/storage/storage-classes/#local

    Args:
        directory: Gets one directory for each volume that is used.
        count: How many volumes.
        size: The capacity of each, a Kubernetes quantity.
    """
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    return [storage_class, *(_volume(directory, f"local-{secrets.token_hex(4)}", size) for _ in range(count))]


def _volume(directory: Path, name: str, size: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "hostPath": {"path": str(directory / name), "type": "DirectoryOrCreate"},
        },
    }
