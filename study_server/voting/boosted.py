"""What the page must say of a triplet's vote: without it nobody would know what was seen."""

from __future__ import annotations

from study_server.assignment.records import PairContent
from study_server.errors import BadRequest
from study_server.voting.schemas import View


def check_triplet_view(content: PairContent, view: View | None, *, largest: int | None = None) -> None:
    """BadRequest for a vote on a triplet that does not say how often it was toggled, or a boosted one without its whole
    zoom (of a flickering one at most `largest`) and its flicker, which is that of the triplet or 0."""
    if view is None or view.swaps is None:
        raise BadRequest("a vote on a triplet needs view.swaps: how often test picture and reference changed places")
    if content.boosting is None:
        return
    if view.scale is None or view.scale < 1 or view.scale != round(view.scale):
        raise BadRequest(
            f"view.scale is {view.scale}; a boosted triplet is shown at a whole number of screen pixels per pixel"
        )
    if view.rate_hz not in (0.0, content.boosting.rate_hz):
        raise BadRequest(
            f"view.rate_hz is {view.rate_hz}; this triplet flickers at {content.boosting.rate_hz:g} Hz, or 0 held still"
        )
    if largest is not None and view.rate_hz and view.scale > largest:
        raise BadRequest(
            f"view.scale is {view.scale:g}; its flashes are small enough for {view.rate_hz:g} per second up to "
            f"{largest}"
        )
