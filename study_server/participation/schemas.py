"""What the pages of participation send, checked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from study_server.web.bodies import RequestBody, ResponseBody


class ScreeningBody(RequestBody):
    """What the page measured of the device; checks are None where they were not shown."""

    viewport_width: int = Field(ge=0, le=100_000)
    viewport_height: int = Field(ge=0, le=100_000)
    screen_width: int | None = Field(default=None, ge=0, le=100_000)
    screen_height: int | None = Field(default=None, ge=0, le=100_000)
    device_pixel_ratio: float = Field(gt=0, le=100)
    zoom: float | None = Field(default=None, gt=0, le=100)
    touch: bool = False
    color_gamut: Literal["srgb", "p3", "rec2020"] | None = None
    dark_mode: bool | None = None
    colour_plate: Any = None
    grey_steps: Any = None


class ScreeningProblem(ResponseBody):
    """What does not fit: a code and words for the person."""

    code: str
    message: str


class ScreeningResult(ResponseBody):
    """Whether the device fits, whether it may be checked again, and where the person goes otherwise."""

    ok: bool
    problems: tuple[ScreeningProblem, ...]
    retry: bool
    redirect: str | None
