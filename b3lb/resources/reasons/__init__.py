"""What the reasons of conditions mean, and what to do about them; the reference page is made from it."""

from __future__ import annotations

from collections.abc import Mapping

from b3lb.resources.reasons.farm import CLUSTER_REASONS, NODE_REASONS, QUEUE_REASONS
from b3lb.resources.reasons.meaning import Meaning
from b3lb.resources.reasons.recordings import RECORDING_REASONS
from b3lb.resources.reasons.tenants import RECORD_PROFILE_REASONS, SECRET_REASONS, TENANT_REASONS

REASONS: Mapping[str, tuple[Meaning, ...]] = {
    "BBBCluster": CLUSTER_REASONS,
    "BBBNode": NODE_REASONS,
    "BBBTenant": TENANT_REASONS,
    "BBBRecordProfile": RECORD_PROFILE_REASONS,
    "BBBSecret": SECRET_REASONS,
    "BBBQueue": QUEUE_REASONS,
    "BBBRecording": RECORDING_REASONS,
}
"""The meanings of all reasons of a kind."""

__all__ = [
    "CLUSTER_REASONS",
    "NODE_REASONS",
    "QUEUE_REASONS",
    "REASONS",
    "RECORDING_REASONS",
    "RECORD_PROFILE_REASONS",
    "SECRET_REASONS",
    "TENANT_REASONS",
    "Meaning",
]
