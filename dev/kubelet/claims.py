"""Static persistent volumes: the directory of this machine behind a claim."""

import contextlib
from pathlib import Path

from dev.kubelet.api import Api, Manifest
from dev.kubelet.fields import ConfigurationError


def volume_directory(volume: Manifest) -> Path:
    """The directory of a PersistentVolume.

    Raises:
        ConfigurationError: it is not one of this machine (``hostPath`` or ``local``).
    """
    for kind in ("hostPath", "local"):
        if kind in volume["spec"]:
            return Path(volume["spec"][kind]["path"])
    name = volume["metadata"]["name"]
    raise ConfigurationError(f'persistent volume "{name}" is not supported by the process kubelet')


async def claimed_directory(api: Api, namespace: str, claim: str) -> Path:
    """The directory of the volume that a claim is bound to.

    Raises:
        ApiError: as :meth:`Api.request`.
        ConfigurationError: the claim does not exist or is not bound, or its volume is none of this machine.
    """
    found = await api.find(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
    if found is None:
        raise ConfigurationError(f'persistentvolumeclaim "{claim}" not found in namespace {namespace}')
    if (found.get("status") or {}).get("phase") != "Bound":
        raise ConfigurationError(f'persistentvolumeclaim "{claim}" is not bound')
    return volume_directory(await api.request("GET", f"/api/v1/persistentvolumes/{found['spec']['volumeName']}"))


def link_directory(link: Path, directory: Path) -> None:
    """Makes a volume's place in a pod's directory lead to a directory of this machine, which is created if needed.

    Raises:
        OSError: it cannot be created.
    """
    if not directory.exists():
        directory.mkdir(parents=True)
        # Programs run as any user here; a real kubelet would give it to the pod's fsGroup.
        directory.chmod(0o777)
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(directory)
