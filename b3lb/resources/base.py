"""What all custom resources share: the API group, the base of their types, and the pieces of their schemas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from b3lb.resources.conditions import MESSAGE_LENGTH

GROUP = "b3lb.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "b3lb"

NAME_LENGTH = 253
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"
_QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
QUANTITY_SCHEMA: dict[str, Any] = {"pattern": _QUANTITY_PATTERN, "maxLength": 32}
"""What a schema says of a quantity of Kubernetes beside its type, e.g. 500m or 8Gi."""


class Schema(BaseModel):
    """Base of every object of a resource: camelCase in YAML, snake_case in Python, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Rule(NamedTuple):
    """A CEL rule of the API server; the message says what to write instead."""

    expression: str
    message: str


def rules(*rules: Rule) -> dict[str, Any]:
    """Return the schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": [{"rule": rule.expression, "message": rule.message} for rule in rules]}


ObjectName = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=NAME_PATTERN)]
DataKey = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=KEY_PATTERN)]
Quantity = Annotated[int | str, Field(union_mode="left_to_right", json_schema_extra=QUANTITY_SCHEMA)]


class Condition(Schema):
    """One observation of the object's state."""

    type: str = Field(min_length=1, max_length=316, description="What is observed, e.g. Ready.")
    status: str = Field(description="Whether it holds.", json_schema_extra={"enum": ["True", "False", "Unknown"]})
    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that was observed; an older one is out of date."
    )
    last_transition_time: str = Field(
        description="When status last changed.", json_schema_extra={"format": "date-time"}, max_length=64
    )
    reason: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, as one word for programs.",
    )
    message: str = Field(max_length=MESSAGE_LENGTH, description="Why, for people.")


class Status(Schema):
    """Base of every status."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status was made from."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="What is observed of this object, one entry per type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``priority`` 1 shows it with ``-o wide`` only."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource of a kind finds its numbers, for kubectl scale and autoscalers; JSON paths."""

    spec_replicas: str
    status_replicas: str
    label_selector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind: what its CustomResourceDefinition says beside the schemas of ``spec`` and ``status``."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Schema]
    status: type[Status]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    scale: Scale | None = None

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()

    @property
    def definition_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def condition_path(type_: str, field: str = "status") -> str:
    """Return the JSONPath of a field of the condition of a type."""
    return f'.status.conditions[?(@.type=="{type_}")].{field}'
