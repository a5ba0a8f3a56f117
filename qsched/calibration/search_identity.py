"""What the values in a journal depend on, and which search of them a run is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from qsched.calibration.families import CoefficientFamily
from qsched.calibration.settings import CalibrationSettings
from qsched.generation import Prompt
from qsched.scoring import Jaq


def own_identity(
    settings: CalibrationSettings, steps: int, prompts: Sequence[Prompt], objective: Jaq
) -> dict[str, object]:
    """What the stored values depend on; not the strategy, family, range or batch: values are shared by those."""
    record = objective.record
    return {
        "steps": steps,
        "seed": settings.seed,
        "prompts": prompts_digest(prompts),
        "k_units": settings.k_units,
        "objective": [record.k, record.tc.name, record.tc.version, record.iq.name, record.iq.version],
    }


def search_name(settings: CalibrationSettings, family: CoefficientFamily, n_prompts: int) -> str:
    """Which search of a journal's values this is: its cost is counted under this name. A budget may be raised later."""
    if settings.is_closed_form:
        return settings.strategy
    ranges = dict(zip(family.kinds, family.bounds, strict=True))
    parts = [f"{kind} {low!r}..{high!r}" for kind, (low, high) in ranges.items()]
    name = f"{settings.strategy} {settings.size_for(family, n_prompts)} {family.name} {family.vary}"
    more = ["growing"] if settings.grows else []
    more += [f"early {settings.early_decode}"] if settings.decodes_early else []
    return ", ".join([name, *parts, *more])


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """SHA-256 of ids and texts, in order."""
    return hashlib.sha256(json.dumps([(p.prompt_id, p.prompt) for p in prompts]).encode()).hexdigest()
