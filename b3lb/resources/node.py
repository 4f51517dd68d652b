"""BBBNode: one BigBlueButton server."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from b3lb.resources.base import Column, DataKey, ObjectName, Resource, Rule, Schema, Status, condition_path, rules
from b3lb.resources.conditions import NodeCondition
from b3lb.resources.urls import (
    HOST_LENGTH,
    HOST_PATTERN,
    NUMBER_PATTERN,
    PORT_DIGITS,
    PORT_MAXIMUM,
    URL_HOST_PATTERN,
    URL_IPV4_PATTERN,
    URL_IPV6_PATTERN,
    URL_LENGTH,
    URL_NUMBER_PATTERN,
    is_host,
    normalise_url,
    origin,
)

EXACTLY_ONE = "write exactly one of host (e.g. bbb1.example.org) and apiUrl"
_API_EXAMPLE = "e.g. https://bbb1.example.org/bigbluebutton/api"
_LOAD_EXAMPLE = "e.g. https://bbb1.example.org/b3lb/load"
_HOST_MESSAGE = (
    "host must be a DNS name or an IPv4 address (four numbers from 0 to 255), e.g. bbb1.example.org; for http, a port, "
    "another path or an IPv6 address write apiUrl instead, e.g. https://[2001:db8::1]/bigbluebutton/api"
)


class DesiredState(StrEnum):
    """What the user wants a node to do."""

    ACTIVE = "Active"
    CORDONED = "Cordoned"
    DRAINING = "Draining"
    DISABLED = "Disabled"


_URL_HOST = (
    f"(self.matches(r'{URL_HOST_PATTERN}') && (!self.matches(r'{URL_NUMBER_PATTERN}') || "
    f"self.matches(r'{URL_IPV4_PATTERN}'))) || (self.matches(r'{URL_IPV6_PATTERN}') && "
    "isIP(self.substring(self.indexOf('[') + 1, self.indexOf(']'))))"
)


def _url_rules(field: str, example: str) -> tuple[Rule, ...]:
    host, port = "url(self).getHostname()", "url(self).getPort()"
    return (
        Rule(
            # No URL either, but the next rule's message helps more.
            "self.matches('[[:cntrl:]]') || "
            f"(isURL(self) && url(self).getScheme() in ['http', 'https'] && {host} != '')",
            f"{field} must be an absolute URL that begins with http:// or https://, {example}",
        ),
        Rule(
            r"!self.matches('[?#@\\s[:cntrl:]]')",
            f"{field} must not contain credentials, a query, a fragment, blanks or control characters: write only "
            f"scheme, host, port and path, {example}",
        ),
        Rule(
            f"!isURL(self) || {host} == '' || {_URL_HOST}",
            f"the host of {field} must be a DNS name, an IPv4 address (four numbers from 0 to 255) or an IPv6 address "
            f"in brackets (of an IPv4-mapped one, ::ffff:…, write the IPv4 address itself), {example}",
        ),
        Rule(
            f"!isURL(self) || {port} == '' || ({port}.size() <= {PORT_DIGITS} && int({port}) >= 1 && "
            f"int({port}) <= {PORT_MAXIMUM})",
            f"the port of {field} must be from 1 to {PORT_MAXIMUM}: write such a port, or none for 443 (https) and 80 "
            "(http)",
        ),
    )


_API_URL_RULES = (
    *_url_rules("apiUrl", _API_EXAMPLE),
    Rule("self.matches('/api/?$')", f"apiUrl must end in /api, {_API_EXAMPLE}"),
)
_HOST_RULE = Rule(f"self.matches('{HOST_PATTERN}') && (!self.matches('{NUMBER_PATTERN}') || isIP(self))", _HOST_MESSAGE)


def _checked_url(url: str) -> str:
    try:
        return normalise_url(url)
    except ValueError as error:
        raise PydanticCustomError("url", str(error)) from None


def _checked_host(host: str) -> str:
    if not is_host(host):
        raise PydanticCustomError("host", _HOST_MESSAGE)
    return host


# PydanticCustomError, because pydantic puts "Value error, " before the words of a ValueError.
_Url = Annotated[str, AfterValidator(_checked_url)]
_Host = Annotated[str, AfterValidator(_checked_host)]


class ClusterReference(Schema):
    """A BBBCluster in the same namespace."""

    name: ObjectName = Field(default="default", description="Name of the BBBCluster.")


class SecretReference(Schema):
    """A key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(
        default="secret",
        description="Key of the Secret whose value is the shared secret (on the BBB server: bbb-conf --secret).",
    )


class DrainSpec(Schema):
    """How meetings that still run hold up a drain or the deletion."""

    deadline_seconds: int = Field(
        default=3600,
        ge=0,
        le=604800,
        description="Longest time to wait for running meetings, from the beginning of the drain.",
    )


class BBBNodeSpec(Schema):
    """One BigBlueButton server."""

    model_config = ConfigDict(json_schema_extra=rules(Rule("has(self.host) != has(self.apiUrl)", EXACTLY_ONE)))

    cluster_ref: ClusterReference = Field(
        default_factory=ClusterReference, description="The cluster whose policies apply."
    )
    host: _Host | None = Field(
        default=None,
        min_length=1,
        max_length=HOST_LENGTH,
        description="DNS name or IPv4 address of the server; stands for apiUrl https://<host>/bigbluebutton/api and "
        "loadUrl https://<host>/b3lb/load. Exactly one of host and apiUrl.",
        json_schema_extra=rules(_HOST_RULE),
    )
    given_api_url: _Url | None = Field(
        default=None,
        alias="apiUrl",
        min_length=1,
        max_length=URL_LENGTH,
        description="URL of the BBB API, http or https, ending in /api, when it is not https://<host>/bigbluebutton/"
        "api. Exactly one of host and apiUrl.",
        json_schema_extra=rules(*_API_URL_RULES),
    )
    given_load_url: _Url | None = Field(
        default=None,
        alias="loadUrl",
        min_length=1,
        max_length=URL_LENGTH,
        description="URL that answers with the CPU's use as a number from 0 to 10000; default: /b3lb/load on the "
        "server of the API. A node without it works, its load then counts meetings and attendees only.",
        json_schema_extra=rules(*_url_rules("loadUrl", _LOAD_EXAMPLE)),
    )
    secret_ref: SecretReference = Field(description="Where the server's shared secret is kept.")
    state: DesiredState = Field(
        default=DesiredState.ACTIVE,
        description="Active: gets meetings. Cordoned: gets no new meetings, running ones go on. Draining: like "
        "Cordoned, with a deadline and the condition Drained. Disabled: is not polled at all.",
    )
    drain: DrainSpec = Field(
        default_factory=DrainSpec, description="How meetings that still run hold up a drain or the deletion."
    )
    weight_percent: int = Field(
        default=100, ge=1, le=1000, description="Strength of the server compared with the others; 200 halves its load."
    )
    max_meetings: int | None = Field(
        default=None, ge=1, le=100000, description="Meetings from which on the node gets no new ones; absent: no limit."
    )
    max_attendees: int | None = Field(
        default=None,
        ge=1,
        le=1000000,
        description="Attendees from which on the node gets no new meetings; absent: no limit.",
    )

    @model_validator(mode="after")
    def _exactly_one_address(self) -> Self:
        if (self.host is None) == (self.given_api_url is None):
            raise PydanticCustomError("address", EXACTLY_ONE)
        return self

    @property
    def api_url(self) -> str:
        """The URL of the BBB API in normal form, without trailing slash."""
        return self.given_api_url or normalise_url(f"https://{self.host}/bigbluebutton/api")

    @property
    def load_url(self) -> str:
        """The URL of the load report in normal form; by default on the origin of the API."""
        return self.given_load_url or f"{origin(self.api_url)}/b3lb/load"


class DrainStatus(Schema):
    """The times of a drain."""

    started_at: str = Field(
        max_length=64, description="When the drain began.", json_schema_extra={"format": "date-time"}
    )
    deadline_at: str = Field(
        max_length=64,
        description="When running meetings are waited for no longer.",
        json_schema_extra={"format": "date-time"},
    )


class BBBNodeStatus(Status):
    """What is observed of one server; the numbers are absent unless it is Ready."""

    load: int | None = Field(default=None, ge=0, description="Load by the cluster's formula, about.")
    cpu_percent: int | None = Field(
        default=None, ge=0, le=100, description="CPU use that the server reports, rounded to 5 percent."
    )
    meetings: int | None = Field(default=None, ge=0, description="Running meetings.")
    attendees: int | None = Field(default=None, ge=0, description="Attendees of all meetings.")
    drain: DrainStatus | None = Field(
        default=None, description="The drain's times, while the node is draining or being deleted."
    )


NODE = Resource(
    kind="BBBNode",
    plural="bbbnodes",
    short_name="bbbn",
    description="One BigBlueButton server: where it is, how it takes part, and how it is.",
    spec=BBBNodeSpec,
    status=BBBNodeStatus,
    columns=(
        Column("State", ".spec.state", description="What the node is meant to do."),
        Column("Ready", condition_path(NodeCondition.READY)),
        Column("Schedulable", condition_path(NodeCondition.SCHEDULABLE), description="Whether it gets new meetings."),
        Column("Load", ".status.load", "integer"),
        Column("CPU", ".status.cpuPercent", "integer", description="CPU use in percent."),
        Column("Meetings", ".status.meetings", "integer"),
        Column("Attendees", ".status.attendees", "integer"),
        Column("Reason", condition_path(NodeCondition.SCHEDULABLE, "reason"), description="Why (not) schedulable."),
        Column("Cluster", ".spec.clusterRef.name", priority=1),
        Column("Message", condition_path(NodeCondition.SCHEDULABLE, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    selectable_fields=(".spec.clusterRef.name",),
)
