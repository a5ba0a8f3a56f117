"""What a calibration is asked to do: one frozen record, saved beside its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Budget
from qsched.calibration.families import Box, Family, Vary
from qsched.calibration.search import checked_size


@dataclass(frozen=True)
class CalibrationSettings:
    """The search: family, ranges, strategy, budget, and the seed of noise and search alike.

    size     values per axis of the first grid (None: the strategy's own); optuna runs size^2 trials
    force    keep the best coefficients even if held-out prompts show no gain
    """

    family: str = "constant"
    vary: Vary = "both"
    box: Box = field(default_factory=Box)
    strategy: str = "race"
    size: int | None = None
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    batch_rows: int = 32
    force: bool = False

    def __post_init__(self) -> None:
        checked_size(self.strategy, self.size)
        if self.seed < 0:
            raise CalibrationError(f"seed {self.seed}; give 0 or more")
        if self.batch_rows < 1:
            raise CalibrationError(f"batch of {self.batch_rows} rows; give 1 or more")

    def family_for(self, steps: int) -> Family:
        """The family for runs of `steps` steps; raises InputError if the settings do not fit."""
        return Family(self.family, steps, self.box, self.vary)

    def to_json(self) -> dict[str, object]:
        """A plain dictionary for provenance."""
        return asdict(self)
