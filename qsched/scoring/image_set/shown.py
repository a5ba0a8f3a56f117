"""Which prompts of a scored set to look at: where the arms differ most, and where a repair went worst."""

from __future__ import annotations

from collections.abc import Sequence

from qsched.locations import Location
from qsched.records import ImageRow
from qsched.scoring.image_set.table import Repair, ShownPrompt
from qsched.scoring.image_set.values import Values, pair_key

MOST_DIFFERENT = 3


def prompts_to_show(
    folder: Location, by_arm: dict[str, list[ImageRow]], values: Values, metric: str, repairs: Sequence[Repair]
) -> tuple[ShownPrompt, ...]:
    """The prompts where the arms differ most by the metric, then the worst prompt of each repair, each once."""
    by_place: dict[tuple[str, int], dict[str, ImageRow]] = {}
    for arm, rows in by_arm.items():
        for row in rows:
            by_place.setdefault(pair_key(row), {})[arm] = row
    spreads = {}
    for place, arms in by_place.items():
        found = [value for row in arms.values() if (value := values[row.image_id].get(metric)) is not None]
        pictures = {row.sha256 for row in arms.values()}
        if len(found) > 1 and len(pictures) > 1:
            spreads[place] = max(found) - min(found)
    order = sorted(spreads, key=lambda place: (-spreads[place], place))[:MOST_DIFFERENT]
    titles = {place: f"the arms differ by {spreads[place]:.4f} in {metric}" for place in order}
    for repair in repairs:
        worst = dict(repair.worst).get(metric)
        if worst is None:
            continue
        words = f"the worst of {repair.arm} against {repair.against}: {worst.difference:+.4f} {metric}"
        first = min(one for one in by_place if one[0] == worst.prompt_id)
        titles[first] = f"{titles[first]}; {words}" if first in titles else words
    return tuple(_shown(folder, place, by_place[place], title, values, metric) for place, title in titles.items())


def _shown(
    folder: Location, place: tuple[str, int], arms: dict[str, ImageRow], title: str, values: Values, metric: str
) -> ShownPrompt:
    some = next(iter(arms.values()))
    pictures = tuple((arm, folder / row.file_name, values[row.image_id].get(metric)) for arm, row in arms.items())
    return ShownPrompt(title[0].upper() + title[1:], place[0], some.prompt, place[1], pictures)
