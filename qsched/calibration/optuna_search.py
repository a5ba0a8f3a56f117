"""Search by optuna's TPE, for per-step families with many axes; behind the extra `optuna`, imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsched.calibration.families import Family, as_point
from qsched.scoring.extra_packages import import_extra

if TYPE_CHECKING:
    from qsched.calibration.search import Objective


def search_optuna(objective: Objective, family: Family, *, seed: int, trials: int) -> None:
    """`trials` candidates on all prompts, proposed by TPE, (1, 1) first; deterministic for a seed."""
    optuna = import_extra("optuna", "optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stock = objective.values([family.identity]).mean()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    study.enqueue_trial(dict(zip(family.axes, family.identity, strict=True)))

    def gain(trial: object) -> float:
        axes = zip(family.axes, family.bounds, strict=True)
        point = as_point([trial.suggest_float(name, low, high) for name, (low, high) in axes])  # type: ignore[attr-defined]
        return float(objective.values([point]).mean() - stock)

    study.optimize(gain, n_trials=trials, show_progress_bar=False)
