"""Size limits of emptyDir volumes: a pod that writes more than they allow is evicted.

Source: Kubernetes 1.36, pkg/kubelet/eviction/eviction_manager.go (emptyDirLimitEviction). Such a pod gets no condition
DisruptionTarget: it was its own doing.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from dev.kubelet.api import Manifest
from dev.kubelet.quantities import parse_quantity

REASON = "Evicted"
SAMPLE_SECONDS = 0.5
"""The real kubelet looks every ten seconds."""


def limits(pod: Manifest) -> dict[str, str]:
    """The size limits of a pod's emptyDir volumes by their names, as quantities."""
    volumes = pod["spec"].get("volumes") or []
    sizes = {volume["name"]: (volume.get("emptyDir") or {}).get("sizeLimit") for volume in volumes}
    # The API server stores 0 for none at all.
    return {name: str(size) for name, size in sizes.items() if size is not None and parse_quantity(str(size)) > 0}


def excess(sizes: Mapping[str, str], directory: Path) -> str | None:
    """The message of the eviction if a volume has become too large, else None.

    Args:
        sizes: As :func:`limits` gives them.
        directory: Has one directory for each volume.
    """
    for name, size in sizes.items():
        if tree_bytes(directory / name) > parse_quantity(size):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{size}". '
    return None


def tree_bytes(directory: Path) -> int:
    """The size of all files below a directory in bytes; those that go meanwhile do not count."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += tree_bytes(Path(entry.path))
            else:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total
