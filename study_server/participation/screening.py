"""Does a device show the pictures well enough? A pure function of the study's rules and what the page measured."""

from __future__ import annotations

from typing import Any

from study_server.participation.schemas import ScreeningBody
from study_server.studies.people import Screening


def find_problems(rules: Screening, body: ScreeningBody, *, simulated: bool = False) -> tuple[tuple[str, str], ...]:
    """What does not fit, as (code, words for the person). A check that was asked for and not done is a problem."""
    problems = []
    if rules.min_viewport_width is not None and body.viewport_width < rules.min_viewport_width:
        problems.append(
            ("viewport", f"The window is {body.viewport_width} wide; enlarge it to {rules.min_viewport_width}.")
        )
    if rules.min_viewport_height is not None and body.viewport_height < rules.min_viewport_height:
        problems.append(
            (
                "viewport",
                f"The window is {body.viewport_height} high; enlarge it to {rules.min_viewport_height}.",
            )
        )
    if rules.max_zoom is not None and body.zoom is not None and body.zoom > rules.max_zoom:
        problems.append(
            (
                "zoom",
                f"The page is zoomed to {100 * body.zoom:.0f} %; at most {100 * rules.max_zoom:.0f} % is allowed "
                "(Ctrl and 0).",
            )
        )
    if not rules.touch and body.touch:
        problems.append(("touch", "This study needs a computer with a mouse, not a touch screen."))
    if simulated:
        return tuple(problems)
    if rules.colour_plate and not _same(body.colour_plate, "shown", "answered"):
        problems.append(("colour_plate", "The number in the coloured dots was not read as expected."))
    if rules.grey_steps and not (
        _same(body.grey_steps, "dark_shown", "dark_counted") and _same(body.grey_steps, "light_shown", "light_counted")
    ):
        problems.append(("grey_steps", "Some of the grey steps were not seen; raise the brightness of the screen."))
    return tuple(problems)


def _same(check: Any, shown: str, answered: str) -> bool:
    if not isinstance(check, dict) or shown not in check or answered not in check:
        return False
    return str(check[shown]).strip() == str(check[answered]).strip() != ""
