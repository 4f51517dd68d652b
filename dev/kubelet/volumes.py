"""Volumes of a pod as directories of this machine."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dev.kubelet.api import Api, Manifest
from dev.kubelet.claims import claimed_directory, link_directory
from dev.kubelet.environment import Objects, Reference, referenced_entries
from dev.kubelet.fields import ConfigurationError, field_value, resource_value

DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600
CLAIM = "persistentVolumeClaim"
READ_ONLY_KINDS = frozenset({"secret", "configMap", "projected", "downwardAPI"})

TokenKey = tuple[str, int]
"""Audience (empty: the API server's) and lifetime in seconds of a service account token."""


@dataclass(frozen=True)
class VolumeFile:
    """A file of a volume."""

    content: bytes
    mode: int


def volume_kind(volume: Manifest) -> str:
    """The kind of a volume, e.g. ``emptyDir``."""
    return next((key for key in volume if key != "name"), "emptyDir")


def volume_references(volume: Manifest) -> set[Reference]:
    """The Secrets and ConfigMaps a volume shows."""
    references: set[Reference] = set()
    for source in _sources(volume):
        if "secret" in source:
            references.add(("Secret", _name(source["secret"])))
        if "configMap" in source:
            references.add(("ConfigMap", source["configMap"]["name"]))
    return references


def volume_tokens(volume: Manifest) -> set[TokenKey]:
    """The service account tokens a volume shows."""
    return {_token_key(item["serviceAccountToken"]) for item in _sources(volume) if "serviceAccountToken" in item}


def volume_files(
    volume: Manifest,
    *,
    pod: Manifest,
    objects: Objects,
    tokens: Mapping[TokenKey, str],
    allocatable: Mapping[str, str],
) -> dict[str, VolumeFile]:
    """The files of a volume by their path in it.

    Args:
        volume: The volume of the pod's spec.
        pod: The pod, with its addresses in the status.
        objects: The objects of :func:`volume_references`.
        tokens: The tokens of :func:`volume_tokens`.
        allocatable: The node's allocatable resources.

    Raises:
        ConfigurationError: something the volume shows is missing, or this kind of volume is not supported.
    """
    kind = volume_kind(volume)
    if kind != "emptyDir" and kind not in READ_ONLY_KINDS:
        raise ConfigurationError(f'volume "{volume["name"]}": {kind} is not supported by the process kubelet')
    mode = DEFAULT_MODE if kind == "emptyDir" else (volume[kind] or {}).get("defaultMode", DEFAULT_MODE)
    files: dict[str, VolumeFile] = {}
    for source in _sources(volume):
        for key, value in source.items():
            if key in {"secret", "configMap"}:
                files |= _entries(key, value, namespace=pod["metadata"]["namespace"], objects=objects, mode=mode)
            elif key == "downwardAPI":
                files |= _downward(value, pod=pod, allocatable=allocatable, mode=mode)
            elif key == "serviceAccountToken":
                files[value["path"]] = VolumeFile(tokens[_token_key(value)].encode(), mode)
            else:
                raise ConfigurationError(f'volume "{volume["name"]}": {key} is not supported by the process kubelet')
    return files


def _sources(volume: Manifest) -> Iterator[Manifest]:
    kind = volume_kind(volume)
    if kind == "projected":
        yield from volume["projected"].get("sources") or []
    elif kind in READ_ONLY_KINDS:
        yield {kind: volume[kind]}


def _name(secret: Manifest) -> str:
    # A secret volume says secretName, a projected source says name.
    return str(secret.get("secretName") or secret["name"])


def _token_key(source: Manifest) -> TokenKey:
    return source.get("audience", ""), source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS


def _entries(key: str, source: Manifest, *, namespace: str, objects: Objects, mode: int) -> dict[str, VolumeFile]:
    kind: Literal["Secret", "ConfigMap"] = "Secret" if key == "secret" else "ConfigMap"
    name = _name(source) if kind == "Secret" else source["name"]
    optional = bool(source.get("optional"))
    entries = referenced_entries(objects, (kind, name), namespace=namespace, optional=optional) or {}
    if not source.get("items"):
        return {path: VolumeFile(content, mode) for path, content in entries.items()}
    files = {}
    for item in source["items"]:
        if item["key"] in entries:
            files[item["path"]] = VolumeFile(entries[item["key"]], item.get("mode", mode))
        elif not optional:
            raise ConfigurationError(f"references non-existent {key} key: {item['key']}")
    return files


def _downward(source: Manifest, *, pod: Manifest, allocatable: Mapping[str, str], mode: int) -> dict[str, VolumeFile]:
    files = {}
    for item in source.get("items") or []:
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(pod, item["resourceFieldRef"], container={}, allocatable=allocatable)
        files[item["path"]] = VolumeFile(text.encode(), item.get("mode", mode))
    return files


async def fetch_objects(api: Api, namespace: str, references: set[Reference]) -> Objects:
    """The referenced objects; None for those that do not exist.

    Raises:
        ApiError: as :meth:`Api.request`.
    """
    plural = {"Secret": "secrets", "ConfigMap": "configmaps"}
    ordered = sorted(references)
    found = await asyncio.gather(
        *(api.find(f"/api/v1/namespaces/{namespace}/{plural[kind]}/{name}") for kind, name in ordered)
    )
    return dict(zip(ordered, found, strict=True))


async def request_token(api: Api, pod: Manifest, key: TokenKey) -> str:
    """A token of the pod's service account that ends with the pod.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/

    Raises:
        ApiError: as :meth:`Api.request`.
    """
    audience, seconds = key
    metadata = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    specification: Manifest = {
        "expirationSeconds": seconds,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]},
    }
    if audience:
        specification["audiences"] = [audience]
    answer = await api.request(
        "POST",
        f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": specification},
    )
    return str(answer["status"]["token"])


async def materialise(api: Api, pod: Manifest, directory: Path, *, allocatable: Mapping[str, str]) -> None:
    """Creates or updates the directories of all volumes of a pod.

    Args:
        api: The API server.
        pod: The pod, with its addresses in the status.
        directory: Gets one directory for each volume.
        allocatable: The node's allocatable resources.

    Raises:
        ApiError: as :meth:`Api.request`.
        ConfigurationError: as :func:`volume_files` and :func:`claimed_directory`.
        OSError: a file or directory cannot be written.
    """
    everything = pod["spec"].get("volumes") or []
    claims = {volume["name"]: volume[CLAIM] for volume in everything if CLAIM in volume}
    volumes = [volume for volume in everything if CLAIM not in volume]
    references = set().union(*(volume_references(volume) for volume in volumes))
    keys = sorted(set().union(*(volume_tokens(volume) for volume in volumes)))
    objects = await fetch_objects(api, pod["metadata"]["namespace"], references)
    contents = await asyncio.gather(*(request_token(api, pod, key) for key in keys))
    tokens = dict(zip(keys, contents, strict=True))
    for name, claim in claims.items():
        link_directory(directory / name, await claimed_directory(api, pod["metadata"]["namespace"], claim["claimName"]))
    for volume in volumes:
        files = volume_files(volume, pod=pod, objects=objects, tokens=tokens, allocatable=allocatable)
        write_files(directory / volume["name"], files)


def write_files(directory: Path, files: Mapping[str, VolumeFile]) -> None:
    """Writes a volume's files, each of them at once: readers see the old or the new content."""
    if not directory.exists():
        directory.mkdir(parents=True)
        # Mode of an emptyDir; what may be read is decided by the pod's directory above it.
        directory.chmod(0o777)
    for path, file in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            output.write(file.content)
        temporary.chmod(file.mode)
        temporary.replace(target)
