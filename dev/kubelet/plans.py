"""How the containers of a pod are started: everything the pod, its image and the node say, put together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dev.kubelet.api import Api, Manifest
from dev.kubelet.containers import POD_ROOT_VARIABLE, Plan
from dev.kubelet.environment import Objects, command_line, container_environment, environment_references, expand
from dev.kubelet.images import Image
from dev.kubelet.mounts import SERVICE_ACCOUNT_PATH, Mount, container_mounts, rewrite, with_kept
from dev.kubelet.quantities import in_units
from dev.kubelet.volumes import fetch_objects

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERMINATION_PATH = "/dev/termination-log"
_HOSTNAME_LENGTH = 63


@dataclass(frozen=True)
class NodeFacts:
    """What the node gives every container."""

    allocatable: Mapping[str, str]
    services: Mapping[str, str]
    """Environment variables of Services."""
    private_mounts: bool


def service_variables(host: str, port: int) -> dict[str, str]:
    """The variables of the Service ``kubernetes``, which in-cluster clients read."""
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
    }


def memory_limit(container: Manifest) -> int | None:
    """The memory limit of a container in bytes."""
    text = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if text is None else in_units(str(text), divisor="1")


async def container_plan(
    api: Api, pod: Manifest, container: Manifest, *, image: Image, root: Path, node: NodeFacts
) -> Plan:
    """The plan of a container, with the Secrets and ConfigMaps as they are now.

    Args:
        api: The API server.
        pod: The pod, with its addresses in the status.
        container: The container of the pod's spec.
        image: Its image.
        root: The pod's directory, with its volumes in ``volumes``.
        node: What the node gives every container.

    Raises:
        ApiError: as :meth:`Api.request`.
        ConfigurationError: as :func:`build_plan`.
    """
    objects = await fetch_objects(api, pod["metadata"]["namespace"], environment_references(container))
    return build_plan(pod, container, image=image, objects=objects, root=root, node=node)


def build_plan(
    pod: Manifest, container: Manifest, *, image: Image, objects: Objects, root: Path, node: NodeFacts
) -> Plan:
    """The plan of a container.

    Args:
        pod: As in :func:`container_plan`.
        container: As in :func:`container_plan`.
        image: As in :func:`container_plan`.
        objects: The Secrets and ConfigMaps of its environment.
        root: As in :func:`container_plan`.
        node: As in :func:`container_plan`.

    Raises:
        ConfigurationError: something the container needs is missing.
    """
    variables = container_environment(
        container, pod=pod, objects=objects, services=node.services, allocatable=node.allocatable
    )
    plan = Plan(
        name=container["name"],
        command=command_line(container, entrypoint=list(image.entrypoint), variables=variables),
        environment={
            "PATH": ":".join([*image.path, DEFAULT_PATH]),
            "HOME": str(root),
            "LANG": "C.UTF-8",
            "HOSTNAME": hostname_of(pod),
            # Pods share this machine's network: a program that listens everywhere in a cluster listens here alone.
            "POD_IP": str(pod["status"]["podIP"]),
            **_image_environment(image, pod),
            **variables,
            POD_ROOT_VARIABLE: str(root),
        },
        working_directory=container.get("workingDir") or image.working_directory or str(root),
        pod_root=root,
        mounts=container_mounts(pod, container, volumes=root / "volumes", variables=variables),
        hostname=hostname_of(pod),
        private_mounts=node.private_mounts,
        termination_log=root / "internal" / f"{container['name']}.termination-log",
        log_fallback=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        termination_path=container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH,
        stop_signal=image.stop_signal,
    )
    if node.private_mounts:
        return _with_mounts(plan, pod, image)
    return _with_rewritten_paths(plan, container, image, variables)


def _image_environment(image: Image, pod: Manifest) -> dict[str, str]:
    address = {"POD_IP": str(pod["status"]["podIP"])}
    return {name: expand(value, address) for name, value in image.environment.items()}


def _with_mounts(plan: Plan, pod: Manifest, image: Image) -> Plan:
    mounts = [*plan.mounts, Mount(str(plan.termination_log), plan.termination_path)]
    if not pod["spec"].get("hostNetwork"):
        mounts.append(Mount(str(plan.pod_root / "internal" / "hosts"), "/etc/hosts"))
    return replace(plan, mounts=with_kept(mounts, [*image.visible, str(plan.pod_root)]))


def _with_rewritten_paths(plan: Plan, container: Manifest, image: Image, variables: Mapping[str, str]) -> Plan:
    """Rewrites what the pod says; what the image says are paths of this machine already, unless they are mounted."""
    mounts = plan.mounts
    kept = with_kept(mounts, image.visible)
    environment = {name: rewrite(plan.environment[name], kept) for name in image.environment}
    environment |= {name: rewrite(value, mounts) for name, value in variables.items()}
    environment = plan.environment | environment
    environment[POD_ROOT_VARIABLE] = str(plan.pod_root)
    environment["B3LB_TERMINATION_LOG"] = str(plan.termination_log)
    account = rewrite(SERVICE_ACCOUNT_PATH, mounts)
    if account != SERVICE_ACCOUNT_PATH:
        environment["B3LB_SERVICE_ACCOUNT_DIRECTORY"] = account
    inherited = 0 if container.get("command") else len(image.entrypoint)
    directory = plan.working_directory
    return replace(
        plan,
        environment=environment,
        command=[*plan.command[:inherited], *(rewrite(word, mounts) for word in plan.command[inherited:])],
        working_directory=rewrite(directory, mounts) if container.get("workingDir") else directory,
    )


def hostname_of(pod: Manifest) -> str:
    """The host name of a pod: its ``hostname``, or else its name, cut to 63 characters."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:_HOSTNAME_LENGTH].rstrip("-.")


def hosts_file(pod: Manifest) -> str:
    """The text of a pod's ``/etc/hosts``, with its ``hostAliases``."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost", f"{pod['status']['podIP']}\t{hostname_of(pod)}"]
    aliases = pod["spec"].get("hostAliases") or []
    lines += [f"{alias['ip']}\t{' '.join(alias.get('hostnames') or [])}" for alias in aliases]
    return "\n".join(lines) + "\n"
