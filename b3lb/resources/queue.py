"""BBBQueue: a list of tasks and when they run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from b3lb.release import DEFAULT_PRIORITY, GREATEST_PRIORITY, LEAST_PRIORITY, scaled
from b3lb.resources.base import Column, Quantity, Resource, Rule, Scale, Schema, Status, condition_path, rules
from b3lb.resources.conditions import QueueCondition
from b3lb.resources.schedule import RANGE_RULE, SCHEDULE_RULE
from b3lb.resources.time_zone import TIME_ZONE_RULE
from b3lb.resources.window import QueueWindow
from b3lb.tasks import RENDER_RECORD
from b3lb.window import Window, parse_window

CHECK_NODES = "check-nodes"
EVERY_MINUTE = "* * * * *"
NAME_MAXIMUM = 40
"""Longest name of a queue: its CronJob is called b3lb-<name>, and Kubernetes allows 52 characters there."""

RATE_PATTERN = r"^[1-9][0-9]{0,4}/[smh]$"
_TASK_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_TICK_RULE = Rule(
    f"!has(self.tickSeconds) || (has(self.schedule) && self.schedule == '{EVERY_MINUTE}')",
    f'tickSeconds needs schedule: "{EVERY_MINUTE}" (a pod per minute ticks within its minute): write that, or leave '
    "out tickSeconds",
)
_CHECK_NODES_RULE = Rule(
    f"!('{CHECK_NODES}' in self.tasks) || (has(self.schedule) && self.schedule == '{EVERY_MINUTE}')",
    f'the task {CHECK_NODES} needs schedule: "{EVERY_MINUTE}" (nodes that were not checked for 150 s are Stale): write '
    "that, with tickSeconds for how often nodes are polled, and give tasks with another schedule a BBBQueue of their "
    "own",
)
_ONCE_RULE = Rule(
    "self.all(task, self.exists_one(other, other == task))",
    "tasks must not have the same task twice: take one of them out",
)
_NAME_RULE = Rule(
    f"self.metadata.name.size() <= {NAME_MAXIMUM}",
    f"metadata.name must have at most {NAME_MAXIMUM} characters because the CronJob is called b3lb-<name>: write a "
    "shorter one",
)
_RESOURCE_RULE = Rule(
    "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])", "write only cpu, memory and ephemeral-storage"
)

_SCALED_ON_DEMAND_RULE = Rule(
    "!has(self.schedule) || self.concurrency == 1",
    "concurrency must be 1 beside a schedule, whose pods do not overlap: only a queue that runs on demand can be "
    "scaled; leave out schedule, or give tasks that run on demand a BBBQueue of their own",
)
_AUTOSCALING_RULE = Rule(
    "!has(self.autoscaling) || (!has(self.schedule) && self.concurrency == 1)",
    "autoscaling must stand alone: leave out schedule, for only a queue that runs on demand can be scaled, and leave "
    "out concurrency, for minReplicas and maxReplicas take its place; write those to scale by hand",
)
_REPLICAS_RULE = Rule(
    "self.minReplicas <= self.maxReplicas",
    "minReplicas must not be more than maxReplicas: write e.g. minReplicas: 3 and maxReplicas: 10",
)
_TIME_LIMIT_RULE = Rule(
    "!has(self.softTimeLimitSeconds) || !has(self.timeLimitSeconds) || "
    "self.softTimeLimitSeconds < self.timeLimitSeconds",
    "softTimeLimitSeconds must be less than timeLimitSeconds: what is left between them is for saving",
)

_WINDOW_RULE = Rule(
    "!has(self.window) || !has(self.schedule)",
    "window must stand without schedule, which says itself when its pods start: leave out one of them",
)

DEFAULT_TIME_LIMIT_SECONDS = 300
RENDERING_TIME_LIMIT_SECONDS = 12 * 3600
"""Of a queue that renders: each render has its own limit below it, by the length of its recording."""

_SAVING_SECONDS = 60

TaskName = Annotated[str, Field(min_length=1, max_length=63, pattern=_TASK_PATTERN)]


class QueueResources(Schema):
    """Compute resources of a pod."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=3,
        description="What the pod is sure to get, e.g. cpu: 100m and memory: 256Mi.",
        json_schema_extra=rules(_RESOURCE_RULE),
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=3,
        description="What the pod gets at most, e.g. memory: 1Gi.",
        json_schema_extra=rules(_RESOURCE_RULE),
    )


class QueueRetry(Schema):
    """What happens to an enqueued run that failed for a passing reason."""

    max_retries: int = Field(default=3, ge=0, le=100, description="How often it is tried again.")
    backoff_seconds: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="Longest pause before the first retry; it doubles with each one. The pause is a random part of it, "
        "so that runs that failed together do not come back together.",
    )
    maximum_seconds: int = Field(default=600, ge=1, le=86400, description="Longest pause of all.")


class QueueAutoscaling(Schema):
    """Within which limits the number of pods follows the number of runs."""

    model_config = ConfigDict(json_schema_extra=rules(_REPLICAS_RULE))

    min_replicas: int = Field(
        default=1, ge=1, le=1000, description="So many runs may be at work at the same time in any case."
    )
    max_replicas: int = Field(ge=1, le=1000, description="So many at most.")


class BBBQueueSpec(Schema):
    """Tasks and when they run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _TICK_RULE,
            _CHECK_NODES_RULE,
            _TIME_LIMIT_RULE,
            _SCALED_ON_DEMAND_RULE,
            _AUTOSCALING_RULE,
            _WINDOW_RULE,
        )
    )

    tasks: list[TaskName] = Field(
        min_length=1,
        max_length=20,
        description="Names of the tasks, in the order in which they run, e.g. check-nodes. A task belongs to one queue "
        "only.",
        # Atomic: their order matters, and whoever edits the list owns all of it, also what they left out.
        json_schema_extra={"x-kubernetes-list-type": "atomic", **rules(_ONCE_RULE)},
    )
    schedule: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description='When a pod starts: minute, hour, day of month, month and day of week, e.g. "*/5 * * * *", or '
        "@hourly and the like. Absent: only when a run is enqueued, e.g. with b3lb run.",
        json_schema_extra=rules(SCHEDULE_RULE, RANGE_RULE),
    )
    time_zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Time zone of schedule and window, e.g. Europe/Berlin; absent: Etc/UTC.",
        json_schema_extra=rules(TIME_ZONE_RULE),
    )
    window: QueueWindow | None = Field(
        default=None,
        description="Only within this part of the day enqueued runs begin; those at work go on after it. Absent: "
        "always.",
    )
    tick_seconds: Literal[5, 10, 15, 20, 30, 60] | None = Field(
        default=None,
        description=f'How often tasks that tick run within the minute of their pod; only with schedule "{EVERY_MINUTE}"'
        ". Ticks do not overlap: one whose time passed more than a second before the end of the last is left out. "
        "Absent: the task's own default.",
    )
    max_ticks: int | None = Field(
        default=None,
        ge=1,
        le=12,
        description="After so many ticks a pod of the schedule ends; the next slot starts a new one. Absent: at the "
        "end of its minute.",
    )
    max_memory_growth_mib: int | None = Field(
        default=None,
        alias="maxMemoryGrowthMiB",
        ge=1,
        le=1048576,
        description="A pod of the schedule ends after the tick at whose end it has so many MiB more in memory than at "
        "its beginning; the next slot starts a new one. Absent: only its memory limit counts.",
    )
    max_in_flight: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Requests to nodes that are under way at the same time; 1 sends one after the other. A node that "
        "does not answer within half a second is waited for, but does not count any more.",
    )
    suspend: bool = Field(default=False, description="Whether no new pods are started; a running one goes on.")
    concurrency: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Enqueued runs that are at work at the same time, each in a pod of its own; also set by kubectl "
        "scale. A queue with a schedule works on one at a time, beside the pod of the schedule.",
    )
    autoscaling: QueueAutoscaling | None = Field(
        default=None,
        description="In place of a fixed concurrency: as many enqueued runs as there are, those at work included, "
        "within these limits; status.replicas has the number.",
    )
    batch_size: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many enqueued runs a pod takes at once, to work on as many side by side as it has CPUs; "
        "1 spreads work evenly, more starts fewer pods. concurrency counts pods.",
    )
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=LEAST_PRIORITY,
        le=GREATEST_PRIORITY,
        description="Priority of enqueued runs that name none; the highest of those that wait is released first, and "
        "an hour of waiting is worth one level.",
    )
    rate_limit: str | None = Field(
        default=None,
        min_length=3,
        max_length=8,
        pattern=RATE_PATTERN,
        description="How many enqueued runs begin per second (s), minute (m) or hour (h), evenly spread, e.g. 10/m; "
        "absent: any number.",
    )
    retry: QueueRetry = Field(
        default_factory=QueueRetry, description="What happens to an enqueued run that failed for a passing reason."
    )
    soft_time_limit_seconds: int | None = Field(
        default=None,
        ge=1,
        le=86400,
        description="After this time an enqueued run is interrupted so that it can save what it has. Absent: 60 s, of "
        "less than five minutes a fifth, before timeLimitSeconds.",
    )
    time_limit_seconds: int | None = Field(
        default=None,
        ge=2,
        le=172800,
        description="After this time, from the creation of its Job on, an enqueued run is stopped and has failed. "
        f"Absent: {DEFAULT_TIME_LIMIT_SECONDS}, with the task {RENDER_RECORD} {RENDERING_TIME_LIMIT_SECONDS}.",
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=r"^\S+$",
        description="Container image of the pods; absent: the one that the operator was started with.",
    )
    resources: QueueResources | None = Field(
        default=None,
        description="Compute resources of a pod; they take the place of the default (requests cpu 100m and memory "
        "256Mi, limit memory 1Gi) as a whole.",
    )
    successful_jobs_history_limit: int = Field(
        default=3, ge=0, le=100, description="Number of succeeded Jobs that are kept."
    )
    failed_jobs_history_limit: int = Field(default=5, ge=0, le=100, description="Number of failed Jobs that are kept.")

    @property
    def hard_limit_seconds(self) -> int:
        """After how many seconds a run is stopped."""
        if self.time_limit_seconds is not None:
            return self.time_limit_seconds
        default = RENDERING_TIME_LIMIT_SECONDS if RENDER_RECORD in self.tasks else DEFAULT_TIME_LIMIT_SECONDS
        return max(default, (self.soft_time_limit_seconds or 0) + _SAVING_SECONDS)

    @property
    def soft_limit_seconds(self) -> int:
        """After how many seconds a run is interrupted."""
        hard = self.hard_limit_seconds
        return self.soft_time_limit_seconds or hard - min(_SAVING_SECONDS, -(-hard // 5))

    @model_validator(mode="after")
    def _window_is_known(self) -> Self:
        """Refuse a window in a time zone that this program does not know: nothing else would say so."""
        try:
            _ = self.opening
        except ValueError as error:
            raise PydanticCustomError("window", "{error}", {"error": str(error)}) from None
        return self

    @property
    def opening(self) -> Window | None:
        """When enqueued runs may begin, None for always."""
        return None if self.window is None else parse_window(self.window.start, self.window.end, self.time_zone)

    def replicas(self, demand: int) -> int:
        """Return how many enqueued runs may be at work at the same time while ``demand`` wait or are at work."""
        limits = self.autoscaling
        if limits is None:
            return self.concurrency
        return scaled(demand, least=limits.min_replicas, most=limits.max_replicas)


class BBBQueueStatus(Status):
    """What is observed of a queue."""

    depth: int | None = Field(
        default=None, ge=0, description="Enqueued runs that wait for a Job, and slots of the schedule without a Job."
    )
    active: int | None = Field(
        default=None, ge=0, description="Jobs of the schedule that run now, and enqueued runs that are at work."
    )
    replicas: int | None = Field(
        default=None, ge=0, description="How many enqueued runs may be at work now: by concurrency or autoscaling."
    )
    selector: str | None = Field(
        default=None, max_length=256, description="Label selector of the queue's pods, for kubectl and autoscalers."
    )
    succeeded: int | None = Field(default=None, ge=0, description="Succeeded Jobs that are still kept.")
    failed: int | None = Field(default=None, ge=0, description="Failed Jobs that are still kept.")
    last_schedule_time: str | None = Field(
        default=None,
        max_length=64,
        description="When a Job was last started by the schedule.",
        json_schema_extra={"format": "date-time"},
    )
    next_schedule_time: str | None = Field(
        default=None,
        max_length=64,
        description="When the schedule starts the next Job; absent while it starts none.",
        json_schema_extra={"format": "date-time"},
    )
    last_success_time: str | None = Field(
        default=None,
        max_length=64,
        description="When a Job last succeeded.",
        json_schema_extra={"format": "date-time"},
    )


QUEUE = Resource(
    kind="BBBQueue",
    plural="bbbqueues",
    short_name="bbbq",
    description="Background work: tasks, and when a Job runs them.",
    spec=BBBQueueSpec,
    status=BBBQueueStatus,
    columns=(
        Column("Schedule", ".spec.schedule"),
        Column("Tick", ".spec.tickSeconds", "integer", description="Seconds between ticks."),
        Column("Suspend", ".spec.suspend", "boolean"),
        Column("Depth", ".status.depth", "integer", description="Runs that wait, and slots without a run."),
        Column("Active", ".status.active", "integer", description="Jobs of the schedule and runs at work now."),
        Column("Replicas", ".status.replicas", "integer", 1, "Enqueued runs that may be at work now."),
        # As text: kubectl shows dates by their age, and this one is still to come.
        Column("Next", ".status.nextScheduleTime", priority=1, description="When the schedule starts the next Job."),
        Column("Last Success", ".status.lastSuccessTime", "date"),
        Column("Ready", condition_path(QueueCondition.READY)),
        Column("Reason", condition_path(QueueCondition.READY, "reason")),
        Column("Message", condition_path(QueueCondition.READY, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(_NAME_RULE,),
    scale=Scale(
        spec_replicas=".spec.concurrency", status_replicas=".status.replicas", label_selector=".status.selector"
    ),
)
