"""Where the volumes of a pod appear to a container: mounted, or by rewriting paths."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dev.kubelet.api import Manifest
from dev.kubelet.environment import expand
from dev.kubelet.volumes import READ_ONLY_KINDS, volume_kind

SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Mount:
    """A file or directory of this machine that a container sees somewhere else."""

    source: str
    target: str
    read_only: bool = False


def container_mounts(pod: Manifest, container: Manifest, *, volumes: Path, variables: Mapping[str, str]) -> list[Mount]:
    """The mounts of a container, outer ones first.

    Args:
        pod: The pod.
        container: The container of the pod's spec.
        volumes: The directory with one directory for each volume.
        variables: The container's environment, for ``subPathExpr``.
    """
    kinds = {volume["name"]: volume_kind(volume) for volume in pod["spec"].get("volumes") or []}
    mounts = []
    for mount in container.get("volumeMounts") or []:
        part = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
        mounts.append(
            Mount(
                source=str(volumes / mount["name"] / part),
                target=_normal(mount["mountPath"]),
                read_only=bool(mount.get("readOnly")) or kinds[mount["name"]] in READ_ONLY_KINDS,
            )
        )
    return sorted(mounts, key=lambda mount: PurePosixPath(mount.target).parts)


def with_kept(mounts: list[Mount], paths: Iterable[str]) -> list[Mount]:
    """Adds a mount for each path that one of the mounts would hide, so that it stays visible."""
    kept = [
        Mount(source=path, target=path)
        for path in dict.fromkeys(map(_normal, paths))
        if any(_inside(path, mount.target) and path != mount.target for mount in mounts)
    ]
    return sorted([*mounts, *kept], key=lambda mount: PurePosixPath(mount.target).parts)


def rewrite(text: str, mounts: Iterable[Mount]) -> str:
    """A text in which a mount's target at the beginning is replaced by its source, the innermost mount's if several.

    Only whole path segments count: ``/data`` rewrites ``/data`` and ``/data/x``, not ``/database``.
    """
    fitting = [mount for mount in mounts if _inside(text, mount.target)]
    if not fitting:
        return text
    innermost = max(fitting, key=lambda mount: len(mount.target))
    return innermost.source + text[len(innermost.target) :]


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _normal(path: str) -> str:
    return str(PurePosixPath(path))
