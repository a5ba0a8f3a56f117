"""What a calibration is asked to do: one frozen record, saved beside its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from qsched.calibration.decoding import FULL, checked_early_decode
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Budget
from qsched.calibration.families import Box, CoefficientFamily, Vary
from qsched.calibration.search import CLOSED_FORM, checked_size, largest_size_within
from qsched.scoring.jaq_score import UnitKind, checked_unit_kind


@dataclass(frozen=True)
class CalibrationSettings:
    """The search: strategy, family, ranges, budget, and the seed of noise and search alike.

    box      None: 0.8 to 1.2, and the ranges of a race grow; ranges that are given are limits
    size     values per axis of the first grid (None: the strategy's own); optuna runs size^2 trials
    force    keep the best coefficients even if held-out prompts show no gain
    k_units  what TC and IQ are divided by before they are added: `raw`, nothing, or `sd`, their spread at (1, 1)
    early_decode    how pictures are decoded while candidates are sorted out (decoding.py)
    """

    family: str = "constant"
    vary: Vary = "both"
    box: Box | None = None
    strategy: str = CLOSED_FORM
    size: int | None = None
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    batch_rows: int = 32
    force: bool = False
    k_units: UnitKind = "raw"
    early_decode: str = FULL

    def __post_init__(self) -> None:
        if self.is_closed_form:
            given = {
                "--family": self.family != "constant",
                "--vary": self.vary != "both",
                "--model-range or --sample-range": self.box is not None,
                "--grid-size": self.size is not None,
                "--early-decode": self.early_decode != FULL,
            }
            wrong = [name for name, is_given in given.items() if is_given]
            if wrong:
                raise CalibrationError(
                    f"{wrong[0]} means nothing to the strategy {CLOSED_FORM}, which fits its coefficients; add "
                    "--strategy race, or leave it out"
                )
        else:
            checked_size(self.strategy, self.size)
        checked_unit_kind(self.k_units)
        checked_early_decode(self.early_decode)
        if self.seed < 0:
            raise CalibrationError(f"seed {self.seed}; give 0 or more")
        if self.batch_rows < 1:
            raise CalibrationError(f"batch of {self.batch_rows} rows; give 1 or more")

    @property
    def is_closed_form(self) -> bool:
        """True if full precision is needed at calibration."""
        return self.strategy == CLOSED_FORM

    @property
    def decodes_early(self) -> bool:
        """True if there is a round of cheaper pictures before the candidates are judged."""
        return self.early_decode != FULL

    @property
    def grows(self) -> bool:
        """True if ranges may grow: a race over the default ranges."""
        return self.strategy == "race" and self.box is None

    def family_for(self, steps: int) -> CoefficientFamily:
        """The family for runs of `steps` steps; raises InputError if the settings do not fit."""
        return CoefficientFamily(self.family, steps, self.box or Box(), self.vary)

    def size_for(self, family: CoefficientFamily, n_prompts: int) -> int:
        """Values per axis of the first grid: fewer than the strategy's own if a race's budget is small."""
        size = checked_size(self.strategy, self.size)
        if self.strategy != "race" or self.size is not None or self.budget.nfe is None:
            return size
        return largest_size_within(self.budget.nfe, family, n_prompts, size=size)

    def to_json(self) -> dict[str, object]:
        """A plain dictionary for provenance."""
        return asdict(self)
