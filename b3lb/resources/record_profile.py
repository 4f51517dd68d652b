"""BBBRecordProfile: how recordings become video files."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from b3lb.resources.base import QUANTITY_SCHEMA, Column, Resource, Rule, Schema, Status, condition_path, rules
from b3lb.resources.conditions import RecordProfileCondition

_EVEN_MESSAGE = "must be even, for video is coded in blocks of two by two: write the number above or below"
_WEBCAM_MESSAGE = "webcam.crop and webcam.stretch exclude each other: write at most one of them as true"
_WEBCAM_RULE = Rule("!has(self.crop) || !has(self.stretch) || !self.crop || !self.stretch", _WEBCAM_MESSAGE)
_COLOUR_MESSAGE = "backdrop must be a colour as # and six hexadecimal digits: write e.g. #000000 for black"
_COLOUR_PATTERN = "^#[0-9A-Fa-f]{6}$"
_COLOUR_RULE = Rule(f"self.matches('{_COLOUR_PATTERN}')", _COLOUR_MESSAGE)
_QUANTITY_RULE = Rule(
    "type(self) == int ? self > 0 : isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
    "must be a quantity above 0: write e.g. 2 or 500m for cpu and 8Gi for memory or ephemeral-storage",
)


class Container(StrEnum):
    """Formats of video files."""

    MP4 = "mp4"
    WEBM = "webm"


class Preset(StrEnum):
    """Presets of the encoder x264 (https://trac.ffmpeg.org/wiki/Encode/H.264#Preset), from fast to thorough."""

    ULTRAFAST = "ultrafast"
    SUPERFAST = "superfast"
    VERYFAST = "veryfast"
    FASTER = "faster"
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"
    SLOWER = "slower"
    VERYSLOW = "veryslow"


class Runtime(StrEnum):
    """Python interpreters of the rendering pod."""

    PYPY = "pypy"
    CPYTHON = "cpython"


def _checked_even(number: int) -> int:
    if number % 2:
        raise PydanticCustomError("even", _EVEN_MESSAGE)
    return number


def _checked_colour(colour: str) -> str:
    if not re.fullmatch(_COLOUR_PATTERN, colour):
        raise PydanticCustomError("colour", _COLOUR_MESSAGE)
    return colour


def _even(field: str) -> Rule:
    return Rule("self % 2 == 0", f"{field} {_EVEN_MESSAGE}")


def _within(resource: str, field: str) -> Rule:
    """Return the rule that what is requested of a resource is not above its limit."""
    requested, limit = f"self.requests.{field}", f"self.limits.{field}"
    # The API server checks the default {} before it fills it in, so nothing is sure to be there.
    return Rule(
        f"!has(self.requests) || !has(self.limits) || !has({requested}) || !has({limit}) || "
        f"!isQuantity(string({requested})) || !isQuantity(string({limit})) || "
        f"quantity(string({requested})).compareTo(quantity(string({limit}))) <= 0",
        f"requests.{resource} must not be above limits.{resource}: write a larger limit or a smaller request",
    )


_Colour = Annotated[str, AfterValidator(_checked_colour)]
_EvenInteger = Annotated[int, AfterValidator(_checked_even)]
_PositiveQuantity = Annotated[
    int | str, Field(union_mode="left_to_right", json_schema_extra=QUANTITY_SCHEMA | rules(_QUANTITY_RULE))
]


class WebcamSpec(Schema):
    """The webcams in the picture, at its upper right."""

    model_config = ConfigDict(json_schema_extra=rules(_WEBCAM_RULE))

    size_percent: int = Field(
        default=25, ge=0, le=90, description="Width of the webcams as a share of the width, in percent; 0 hides them."
    )
    crop: bool = Field(default=False, description="Whether webcams are cut to 16:9 at top and bottom.")
    stretch: bool = Field(default=False, description="Whether webcams are stretched to 16:9, which distorts them.")

    @model_validator(mode="after")
    def _crop_or_stretch(self) -> Self:
        if self.crop and self.stretch:
            raise PydanticCustomError("webcam", _WEBCAM_MESSAGE)
        return self


class VideoSpec(Schema):
    """How video is encoded."""

    preset: Preset = Field(
        default=Preset.VERYFAST,
        description="How thoroughly mp4 is compressed; beyond veryfast the CPU's time nearly doubles and files with "
        "slides get no smaller. webm has no presets.",
    )
    crf: int = Field(
        default=23,
        ge=0,
        le=51,
        description="Constant rate factor on the scale of H.264: 0 is lossless, 51 the worst quality; 18 to 28 are "
        "sensible. webm gets the quality of the same class.",
    )
    frames_per_second: int = Field(default=25, ge=5, le=60, description="Frames per second of the video.")


class RenderRequests(Schema):
    """What the rendering pod is sure to get."""

    cpu: _PositiveQuantity | None = Field(
        default=None, description="CPU, e.g. 1 or 500m; absent: what the BBBQueue says, else 1."
    )
    memory: _PositiveQuantity | None = Field(
        default=None, description="Memory, e.g. 8Gi; absent: what the BBBQueue says, else 8Gi."
    )
    ephemeral_storage: _PositiveQuantity | None = Field(
        default=None,
        alias="ephemeral-storage",
        description="Disk for the unpacked recording and the video, e.g. 20Gi; "
        "absent: what the BBBQueue says, else 2Gi and 1.2 times the archive's size.",
    )


class RenderLimits(Schema):
    """What the rendering pod gets at most."""

    cpu: _PositiveQuantity | None = Field(
        default=None, description="CPU, e.g. 2; absent: what the BBBQueue says, else no limit."
    )
    memory: _PositiveQuantity | None = Field(
        default=None, description="Memory, e.g. 10Gi; absent: what the BBBQueue says, else 10Gi."
    )
    ephemeral_storage: _PositiveQuantity | None = Field(
        default=None, alias="ephemeral-storage", description="Disk, e.g. 40Gi; absent: as for requests."
    )


class RenderResources(Schema):
    """Compute resources of the rendering pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _within("cpu", "cpu"),
            _within("memory", "memory"),
            _within("ephemeral-storage", "ephemeral__dash__storage"),
        )
    )

    requests: RenderRequests = Field(
        default_factory=RenderRequests, description="What the rendering pod is sure to get."
    )
    limits: RenderLimits = Field(default_factory=RenderLimits, description="What the rendering pod gets at most.")


class BBBRecordProfileSpec(Schema):
    """How recordings become video files."""

    width: _EvenInteger = Field(
        default=1920, ge=320, le=3840, description="Width in pixels, even.", json_schema_extra=rules(_even("width"))
    )
    height: _EvenInteger = Field(
        default=1080, ge=240, le=2160, description="Height in pixels, even.", json_schema_extra=rules(_even("height"))
    )
    webcam: WebcamSpec = Field(
        default_factory=WebcamSpec, description="The webcams in the picture, at its upper right."
    )
    backdrop: _Colour = Field(
        default="#000000",
        min_length=1,
        max_length=7,
        description="Colour where neither slides nor webcams are, as # and six hexadecimal digits.",
        json_schema_extra=rules(_COLOUR_RULE),
    )
    annotations: bool = Field(
        default=True, description="Whether drawings, texts and the pointer on the slides are shown."
    )
    container: Container = Field(
        default=Container.MP4, description="Format of the file: mp4 holds H.264 and AAC, webm holds VP9 and Opus."
    )
    video: VideoSpec = Field(default_factory=VideoSpec, description="How video is encoded.")
    is_default: bool = Field(
        default=False,
        alias="default",
        description="Whether recordings are rendered with this profile when their BBBSecret names no profiles.",
    )
    runtime: Runtime = Field(default=Runtime.PYPY, description="Python interpreter of the rendering pod.")
    resources: RenderResources = Field(
        default_factory=RenderResources, description="Compute resources of the rendering pod."
    )


class BBBRecordProfileStatus(Status):
    """What is observed of a profile."""


RECORD_PROFILE = Resource(
    kind="BBBRecordProfile",
    plural="bbbrecordprofiles",
    short_name="bbbrp",
    description="How recordings become video files: picture, encoding, and what the rendering pod needs.",
    spec=BBBRecordProfileSpec,
    status=BBBRecordProfileStatus,
    columns=(
        Column("Width", ".spec.width", "integer"),
        Column("Height", ".spec.height", "integer"),
        Column("Container", ".spec.container"),
        Column("Default", ".spec.default", "boolean", description="Used where a BBBSecret names no profiles."),
        Column("Accepted", condition_path(RecordProfileCondition.ACCEPTED)),
        Column("Reason", condition_path(RecordProfileCondition.ACCEPTED, "reason"), priority=1),
        Column("Message", condition_path(RecordProfileCondition.ACCEPTED, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
