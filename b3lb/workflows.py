"""Runs that belong together, and what to do next with them: pure functions.

A chain runs its steps one after the other and may hand the result of each to the next; a group runs them side by side;
chunks split a list of items over the pods of one Job. A workflow is a run itself, and its steps are runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from b3lb.release import GREATEST_PRIORITY, LEAST_PRIORITY

MOST_STEPS = 100
MOST_CHUNKS = 1000
MOST_ITEMS = 100_000

_NAMED = 5
_ERROR_CHARACTERS = 120

Name = Annotated[str, Field(min_length=1, max_length=63)]


class InvalidWorkflowError(ValueError):
    """A workflow cannot be like that; the message is one line for people."""


class WorkflowKind(StrEnum):
    """What becomes of the steps; chain and group are carried on by the operator, chunks by a Job."""

    CHAIN = "chain"
    GROUP = "group"
    CHUNKS = "chunks"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Step(_Strict):
    """A run within a chain or group.

    ``receives`` is the argument that gets the result of the step before; without it the result is not handed over.
    """

    task: Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = Field(default=None, ge=LEAST_PRIORITY, le=GREATEST_PRIORITY)
    receives: Name | None = None


class Chunks(_Strict):
    """One task for many items: each chunk of ``size`` items is given as the argument ``argument``."""

    task: Name
    items: list[Any] = Field(min_length=1, max_length=MOST_ITEMS)
    size: int = Field(ge=1)
    argument: Name = "items"
    arguments: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = Field(default=None, ge=LEAST_PRIORITY, le=GREATEST_PRIORITY)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.argument in self.arguments:
            raise ValueError(f"the argument {self.argument} is that of the items: leave it out of arguments")
        if -(-len(self.items) // self.size) > MOST_CHUNKS:
            raise ValueError(f"that makes more than {MOST_CHUNKS} chunks: write a larger size")
        return self

    def split(self) -> list[dict[str, Any]]:
        """Return the arguments of each chunk; every item is in exactly one of them, in order."""
        starts = range(0, len(self.items), self.size)
        return [{**self.arguments, self.argument: self.items[start : start + self.size]} for start in starts]


class Workflow(_Strict):
    """Exactly one of a chain, a group and chunks."""

    chain: list[Step] | None = Field(default=None, min_length=1, max_length=MOST_STEPS)
    group: list[Step] | None = Field(default=None, min_length=1, max_length=MOST_STEPS)
    chunks: Chunks | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(part is not None for part in (self.chain, self.group, self.chunks)) != 1:
            raise ValueError("write exactly one of chain, group and chunks")
        if any(step.receives for step in (self.chain or [])[:1]):
            raise ValueError("the first step of a chain receives nothing: there is no step before it")
        if any(step.receives for step in self.group or ()):
            raise ValueError("the steps of a group receive nothing: they run side by side")
        return self

    @property
    def kind(self) -> WorkflowKind:
        """Which of the three it is."""
        if self.chain is not None:
            return WorkflowKind.CHAIN
        return WorkflowKind.GROUP if self.group is not None else WorkflowKind.CHUNKS

    @property
    def steps(self) -> Sequence[Step]:
        """The runs that it consists of, in order; each chunk is one."""
        if self.chunks is None:
            return self.chain or self.group or ()
        chunks = self.chunks
        return [Step(task=chunks.task, arguments=given, priority=chunks.priority) for given in chunks.split()]


def parse_workflow(content: object) -> Workflow:
    """Return the workflow that stands in a document, such as a YAML file.

    Raises:
        InvalidWorkflowError: It is none; the message names the first field that is wrong and repeats no value.
    """
    try:
        return Workflow.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidWorkflowError(f"{path}: {message}" if path else message) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step as the database has it; ``begun`` when it was its turn, ``over`` when it has ended for good."""

    place: int
    task: str
    state: str
    begun: bool
    over: bool
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it has a result."""
        return self.over and self.state == "SUCCESS"

    @property
    def name(self) -> str:
        """What people call it; they count from 1."""
        return f"step {self.place + 1} ({self.task})"


@dataclass(frozen=True, slots=True)
class WorkflowEnd:
    """How a workflow ends."""

    state: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What to do next: begin the step at a place, or end the workflow; steps that have not ended are then revoked."""

    begin: int | None = None
    end: WorkflowEnd | None = None


def chain_move(steps: Sequence[StepState]) -> Move:
    """Return what to do next with a chain, given all its steps in order: after a failure nothing begins any more."""
    for step in steps:
        if step.succeeded:
            continue
        if step.over:
            return Move(end=WorkflowEnd(_failed_state([step]), _told(step)))
        return Move() if step.begun else Move(begin=step.place)
    return Move(end=WorkflowEnd("SUCCESS"))


def group_move(steps: Sequence[StepState]) -> Move:
    """Return what to do next with a group, given all its steps in order: it ends when all of them have."""
    return Move(end=joint_end(steps)) if all(step.over for step in steps) else Move()


def joint_end(steps: Sequence[StepState]) -> WorkflowEnd:
    """Return the end of steps that run side by side: SUCCESS, or which of them failed. One that is not over failed."""
    failed = [step for step in steps if not step.succeeded]
    if not failed:
        return WorkflowEnd("SUCCESS")
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    reasons = "; ".join(_told(step) for step in failed[:_NAMED])
    return WorkflowEnd(_failed_state(failed), f"{len(failed)} of {len(steps)} failed: {reasons}{more}")


def _failed_state(failed: Sequence[StepState]) -> str:
    return "REVOKED" if all(step.state == "REVOKED" for step in failed) else "FAILURE"


def _told(step: StepState) -> str:
    state = step.state if step.over else "not done"
    return f"{step.name}: {state}" + (f": {step.error[:_ERROR_CHARACTERS]}" if step.error else "")


def handed_over(arguments: Mapping[str, Any], receives: str | None, result: object) -> dict[str, Any]:
    """Return the arguments of a chain's step once the step before it has its result."""
    return dict(arguments) if receives is None else {**arguments, receives: result}
