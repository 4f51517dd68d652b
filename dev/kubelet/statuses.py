"""Statuses of pods as a real kubelet writes them.

Source: Kubernetes 1.36, pkg/kubelet/kubelet_pods.go, pkg/kubelet/status/generate.go and status_manager.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dev.kubelet.api import Manifest
from dev.kubelet.containers import Ending

LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"
LOST_EXIT_CODE = 137
# A strategic merge patch would otherwise add an address to those an earlier kubelet has reported.
_REPLACE = {"$patch": "replace"}
FINAL_PHASES = frozenset({"Succeeded", "Failed"})


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ContainerRecord:
    """What is known about a container of a pod."""

    name: str
    image: str
    state: Manifest = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Manifest = field(default_factory=dict)
    restart_count: int = 0
    container_id: str = ""
    started: bool = False
    """Whether it runs and its startup probe, if any, has succeeded."""
    ready: bool = False
    """Whether it has started and its readiness probe, if any, succeeds."""

    def wait(self, reason: str, message: str = "") -> None:
        """The container does not run and is going to be started; an end becomes its last state."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.started = self.ready = False

    def run(self, container_id: str, started_at: datetime, *, started: bool = True, ready: bool = True) -> None:
        """The container runs.

        Args:
            container_id: Names this run.
            started_at: When it began.
            started: Whether that is all; False: its startup probe decides.
            ready: Whether it needs nothing more to be ready; False: its readiness probe decides.
        """
        if "terminated" in self.state:
            self.last_state = self.state
        if self.last_state:
            self.restart_count += 1
        self.container_id = container_id
        self.state = {"running": {"startedAt": timestamp(started_at)}}
        self.started = started
        self.ready = started and ready

    def has_started(self, *, ready: bool) -> None:
        """The startup probe has succeeded; ``ready`` as for :meth:`run`."""
        self.started = True
        self.ready = ready

    def end(self, ending: Ending) -> None:
        """The container has ended."""
        state: Manifest = {"exitCode": ending.exit_code, "reason": ending.reason}
        if ending.message:
            state["message"] = ending.message
        state["startedAt"] = timestamp(ending.started_at)
        state["finishedAt"] = timestamp(ending.finished_at)
        state["containerID"] = ending.container_id
        self.state = {"terminated": state}
        self.started = self.ready = False

    def lose(self) -> None:
        """The pod is over and nobody knows how the container ended: that counts as a failure."""
        self.started = self.ready = False
        if "terminated" not in self.state:
            self.state = self.last_state or {
                "terminated": {
                    "exitCode": LOST_EXIT_CODE,
                    "reason": LOST_REASON,
                    "message": LOST_MESSAGE,
                    "startedAt": None,
                    "finishedAt": None,
                }
            }

    @property
    def exit_code(self) -> int | None:
        """The exit code of an ended container."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code


def new_records(containers: Sequence[Manifest] | None, *, reason: str) -> list[ContainerRecord]:
    """Records of containers that wait for their first start."""
    return [ContainerRecord(item["name"], item["image"], {"waiting": {"reason": reason}}) for item in containers or []]


def records_from_status(
    containers: Sequence[Manifest] | None, statuses: Sequence[Manifest] | None
) -> list[ContainerRecord]:
    """Records of containers as an earlier kubelet has reported them."""
    known = {status["name"]: status for status in statuses or []}
    records = new_records(containers, reason="ContainerCreating")
    for record in records:
        status = known.get(record.name, {})
        record.state = status.get("state") or record.state
        record.last_state = status.get("lastState") or {}
        record.restart_count = status.get("restartCount", 0)
        record.container_id = status.get("containerID", "")
    return records


def container_status(record: ContainerRecord, *, initial: bool = False) -> Manifest:
    """The ``containerStatuses`` entry of a container; ``initial`` for init containers, which are ready once done."""
    return {
        "name": record.name,
        "image": record.image,
        "imageID": f"process://{record.image}" if record.container_id else "",
        "containerID": record.container_id,
        "ready": record.exit_code == 0 if initial else record.ready,
        "started": record.started,
        "restartCount": record.restart_count,
        "state": record.state,
        "lastState": record.last_state,
    }


def pod_phase(*, init: Sequence[ContainerRecord], main: Sequence[ContainerRecord], over: bool) -> str:
    """The phase of a pod.

    Args:
        init: The init containers.
        main: The containers.
        over: Whether nothing will be started any more, by the restart policy or because the pod is to end. Only then
            the phase is final.
    """
    if over:
        return "Succeeded" if all(record.exit_code == 0 for record in (*init, *main)) else "Failed"
    never_ran = any("waiting" in record.state and not record.last_state for record in main)
    return "Pending" if never_ran or any(record.exit_code != 0 for record in init) else "Running"


@dataclass(frozen=True)
class PodFacts:
    """What a pod's status is made of, beside its object."""

    init: Sequence[ContainerRecord]
    main: Sequence[ContainerRecord]
    host_ip: str
    pod_ip: str
    started_at: datetime
    sandbox: bool
    """Whether its volumes are there and its containers can be started."""
    over: bool = False
    """Whether nothing will be started any more."""
    failure: tuple[str, str] | None = None
    """Reason and message if the pod has failed as a whole, whatever its containers did."""


def pod_status(pod: Manifest, facts: PodFacts, *, now: datetime) -> Manifest:
    """The status of a pod, for a strategic merge patch.

    Args:
        pod: The pod's object; conditions in it keep their transition times unless they change.
        facts: What happened to it here.
        now: The current time.
    """
    phase = pod_phase(init=facts.init, main=facts.main, over=facts.over) if facts.failure is None else "Failed"
    reason, message = facts.failure or (None, None)
    status: Manifest = {
        "phase": phase,
        # None removes them in a merge patch.
        "reason": reason,
        "message": message,
        "hostIP": facts.host_ip,
        "hostIPs": [_REPLACE, {"ip": facts.host_ip}],
        "startTime": timestamp(facts.started_at),
        "conditions": _with_transitions(
            _conditions(facts, phase),
            previous=pod.get("status", {}).get("conditions") or [],
            generation=pod["metadata"].get("generation"),
            now=now,
        ),
        "containerStatuses": [container_status(record) for record in facts.main],
    }
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [_REPLACE, {"ip": facts.pod_ip}]}
    if facts.init:
        status["initContainerStatuses"] = [container_status(record, initial=True) for record in facts.init]
    if "generation" in pod["metadata"]:
        status["observedGeneration"] = pod["metadata"]["generation"]
    return status


def _conditions(facts: PodFacts, phase: str) -> list[Manifest]:
    started = "False" if phase in FINAL_PHASES or not facts.sandbox else "True"
    ready = _ready(facts, phase)
    return [
        {"type": "PodReadyToStartContainers", "status": started},
        {"type": "Initialized", **_initialized(facts, phase)},
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
    ]


def _initialized(facts: PodFacts, phase: str) -> Mapping[str, str | None]:
    if phase == "Succeeded":
        return {"status": "True", "reason": "PodCompleted", "message": None}
    missing = [record.name for record in facts.init if record.exit_code != 0]
    if not missing:
        return {"status": "True", "reason": None, "message": None}
    return {
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(missing)}]",
    }


def _ready(facts: PodFacts, phase: str) -> Mapping[str, str | None]:
    if phase in FINAL_PHASES:
        return {"status": "False", "reason": "PodCompleted" if phase == "Succeeded" else "PodFailed", "message": None}
    missing = [record.name for record in facts.main if not record.ready]
    if not missing:
        return {"status": "True", "reason": None, "message": None}
    return {
        "status": "False",
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(missing)}]",
    }


def _with_transitions(
    conditions: list[Manifest], *, previous: list[Manifest], generation: int | None, now: datetime
) -> list[Manifest]:
    known = {condition["type"]: condition for condition in previous}
    result = []
    for condition in conditions:
        before = known.get(condition["type"], {})
        unchanged = before.get("status") == condition["status"] and before.get("lastTransitionTime")
        changed_at = before["lastTransitionTime"] if unchanged else timestamp(now)
        observed = {} if generation is None else {"observedGeneration": generation}
        result.append({**condition, **observed, "lastTransitionTime": changed_at})
    return result
