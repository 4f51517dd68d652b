"""What the pods of a kubelet share."""

from dataclasses import dataclass, field
from pathlib import Path

from dev.kubelet.addresses import AddressPool
from dev.kubelet.api import Api, Manifest
from dev.kubelet.images import ImageFile
from dev.kubelet.memory import MemoryGuard
from dev.kubelet.plans import NodeFacts
from dev.kubelet.services import ServiceDirectory


@dataclass(frozen=True)
class Host:
    """What the pods of a kubelet share."""

    api: Api
    node: NodeFacts
    address: str
    images: ImageFile
    memory: MemoryGuard
    addresses: AddressPool
    directory: Path
    """Gets one directory for each pod."""
    start_delay: float = 0.0
    """Seconds before the containers of a pod are started."""
    restart_backoff: float = 10.0
    """Seconds before the second restart of a container; doubled with each further one."""
    services: ServiceDirectory = field(default_factory=ServiceDirectory)
    """Where the Services are."""

    def pod_directory(self, pod: Manifest) -> Path:
        """The directory of a pod."""
        metadata = pod["metadata"]
        return self.directory / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
