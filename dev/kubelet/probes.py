"""Probes of a container: what they ask for, and when their answers count.

Source: https://kubernetes.io/docs/concepts/workloads/pods/probes/ and Kubernetes 1.36, pkg/kubelet/prober/worker.go.
"""

from dataclasses import dataclass
from enum import StrEnum

from dev.kubelet.api import Manifest


class ProbeKind(StrEnum):
    """What a probe decides."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True)
class Probe:
    """A probe as a container's spec describes it."""

    kind: ProbeKind
    action: Manifest
    """Has one of ``exec``, ``httpGet``, ``tcpSocket`` and ``grpc``."""
    initial_delay: float = 0.0
    """Seconds from the container's start to the first try."""
    period: float = 10.0
    """Seconds between two tries."""
    timeout: float = 1.0
    """Seconds that a try may take."""
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None
    """Seconds from the signal to the kill when it has failed; None: the pod's."""


def container_probe(container: Manifest, kind: ProbeKind) -> Probe | None:
    """The probe of a kind, None if the container has none."""
    spec = container.get(f"{kind}Probe")
    if spec is None:
        return None
    return Probe(
        kind=kind,
        action=spec,
        initial_delay=spec.get("initialDelaySeconds") or 0,
        period=spec.get("periodSeconds") or 10,
        timeout=spec.get("timeoutSeconds") or 1,
        success_threshold=spec.get("successThreshold") or 1,
        failure_threshold=spec.get("failureThreshold") or 3,
        grace=spec.get("terminationGracePeriodSeconds"),
    )


class Verdict:
    """What a probe's tries amount to: it changes when as many in a row as the threshold says agree."""

    def __init__(self, probe: Probe) -> None:
        self._thresholds = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._run = 0

    def note(self, *, success: bool) -> bool | None:
        """Counts a try; returns whether the probe succeeds, None as long as that is open."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        return success if self._run >= self._thresholds[success] else None
