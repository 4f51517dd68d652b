"""Where things are in the picture: slides and screen share at the upper left, webcams at the upper right.

All lengths are pixels of the video, even where video is placed, for its colours are stored for two by two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.media import Video

_WIDE = 16 / 9
_SMALLEST = 2


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the picture."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class WebcamBox:
    """Where the webcams are, and whether their picture is first cut to 16:9."""

    box: Box
    crop: bool = False


def parse_profile(document: Mapping[str, Any]) -> BBBRecordProfileSpec:
    """Return a profile from its stored spec.

    Raises:
        RecordError: ``PROFILE_INVALID``.
    """
    try:
        return BBBRecordProfileSpec.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(FailureCode.PROFILE_INVALID, f"{place}: {first['msg']}") from None


def stage_size(profile: BBBRecordProfileSpec, webcams: Video | None) -> tuple[int, int]:
    """Return width and height of the part that slides and screen share have."""
    if webcams is None or not profile.webcam.size_percent:
        return profile.width, profile.height
    return profile.width - _camera_width(profile), profile.height


def webcam_box(profile: BBBRecordProfileSpec, webcams: Video | None) -> WebcamBox | None:
    """Return the place of the webcams; None where they are hidden or there are none."""
    if webcams is None or not profile.webcam.size_percent:
        return None
    width, height = float(webcams.width), float(webcams.height)
    crop = profile.webcam.crop and width / height < _WIDE
    if crop:
        height = width / _WIDE
    elif profile.webcam.stretch:
        # What was filmed as 4:3 becomes 16:9.
        width *= 16 / 12
    fitted_width, fitted_height = fit(width, height, _camera_width(profile), profile.height)
    return WebcamBox(Box(profile.width - fitted_width, 0, fitted_width, fitted_height), crop)


def fit(width: float, height: float, box_width: int, box_height: int) -> tuple[int, int]:
    """Return the largest even size with these proportions in a box."""
    scale = min(box_width / width, box_height / height)
    return _even(width * scale, box_width), _even(height * scale, box_height)


def _camera_width(profile: BBBRecordProfileSpec) -> int:
    # Both parts keep at least a block, whatever the share.
    return max(_SMALLEST, _even(profile.width * profile.webcam.size_percent / 100, profile.width - _SMALLEST))


def _even(length: float, limit: int) -> int:
    # A little is added so that 479.9999 is not 478.
    return max(_SMALLEST, min(int((length + 1e-6) / 2) * 2, limit - limit % 2))
