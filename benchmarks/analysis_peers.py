"""Our estimators and the peers' on the same file of votes; each maker imports what it needs and returns the work.

FastChat's method is written here from its definition (rating_systems.py of its present form): pandas codes the names,
numpy.unique makes the table of outcomes, L-BFGS-B fits each multinomial resample in a pool of processes. Its older form
is a logistic regression (scikit-learn) on one row per vote. choix leaves resampling to its user: once votes are
resampled and their matrix of wins made anew (100 times, the time then scaled by ten), once the matrix itself is
resampled (multinomial), which is the idea of our own bootstrap and not something that choix offers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

# --- ours ---------------------------------------------------------------------------------------------------------


def ours_point(path: str) -> Callable[[], Any]:
    """The documented calls, which are also those of the command."""
    from analysis.stats import count_votes, fit_bradley_terry
    from analysis.votes import exclude, read_votes

    def work() -> Any:
        kept, _ = exclude(read_votes(path))
        return fit_bradley_terry(count_votes(kept))

    return work


def ours_two_way(path: str) -> Callable[[], Any]:
    return _ours_with_intervals(path, "two-way")


def ours_vote(path: str) -> Callable[[], Any]:
    return _ours_with_intervals(path, "vote")


def _ours_with_intervals(path: str, intervals: Literal["two-way", "vote"]) -> Callable[[], Any]:
    from analysis.stats import count_votes, fit_bradley_terry, uncertainty_of
    from analysis.votes import exclude, read_votes

    def work() -> Any:
        kept, _ = exclude(read_votes(path))
        counts = count_votes(kept)
        return uncertainty_of(fit_bradley_terry(counts), counts, intervals=intervals, resamples=1000)

    return work


def ours_command(path: str) -> Callable[[], Any]:
    """The whole command with its defaults: imports, reading, estimate, page, tables, figures in three formats."""
    script = Path(__file__).parents[1] / "analysis" / "winrates.py"
    call = [sys.executable, str(script), path, "--out", str(Path(path).with_suffix(""))]
    return lambda: subprocess.run(call, check=True, capture_output=True)


# --- peers --------------------------------------------------------------------------------------------------------


def evalica_point(path: str) -> Callable[[], Any]:
    import evalica
    import pandas as pd

    words = {
        "model_a": evalica.Winner.X,
        "model_b": evalica.Winner.Y,
        "tie": evalica.Winner.Draw,
    }

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        return evalica.bradley_terry(frame["model_a"], frame["model_b"], frame["winner"].map(words)).scores

    return work


def choix_counts(path: str) -> Any:
    """choix takes a list of pairs, or a matrix of wins that its user makes; the matrix is the fast way."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
    names = sorted(set(frame["model_a"].unique()) | set(frame["model_b"].unique()))
    table = frame.groupby(["model_a", "model_b", "winner"], observed=True).size()
    wins = np.zeros((len(names), len(names)))
    for (a, b, winner), n in table.items():
        i, j = names.index(a), names.index(b)
        wins[i, j] += n * {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[winner]
        wins[j, i] += n * {"model_a": 0.0, "model_b": 1.0, "tie": 0.5}[winner]
    return wins


def choix_fit(wins: Any) -> Any:
    """choix's maximum likelihood on a matrix of wins."""
    import choix

    return choix.ilsr_pairwise_dense(wins)


def choix_point(path: str) -> Callable[[], Any]:
    import choix  # noqa: F401  imported before the clock starts

    return lambda: choix_fit(choix_counts(path))


def choix_vote(path: str) -> Callable[[], Any]:
    """Votes resampled and counted anew for each of 100 fits; the time is scaled to 1,000 in `SCALE`."""
    import choix  # noqa: F401
    import numpy as np
    import pandas as pd

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        names = sorted(set(frame["model_a"].unique()) | set(frame["model_b"].unique()))
        k, place = len(names), {name: index for index, name in enumerate(names)}
        a, b = frame["model_a"].map(place).to_numpy(), frame["model_b"].map(place).to_numpy()
        score = frame["winner"].map({"model_a": 1.0, "model_b": 0.0, "tie": 0.5}).to_numpy()
        rng, draws = np.random.default_rng(0), []
        for _ in range(100):
            at = rng.integers(0, len(a), len(a))
            wins = np.bincount(a[at] * k + b[at], score[at], k * k).reshape(k, k)
            wins += np.bincount(b[at] * k + a[at], 1 - score[at], k * k).reshape(k, k)
            draws.append(choix_fit(wins))
        return draws

    return work


def choix_table_vote(path: str) -> Callable[[], Any]:
    """The matrix of wins resampled, 1,000 times."""
    import choix  # noqa: F401
    import numpy as np

    def work() -> Any:
        wins = choix_counts(path)
        total, share = round(wins.sum()), wins.ravel() / wins.sum()
        rng = np.random.default_rng(0)
        return [choix_fit(rng.multinomial(total, share).reshape(wins.shape).astype(float)) for _ in range(1000)]

    return work


def fastchat_table(path: str) -> tuple[int, Any, Any, Any]:
    """Number of models, then pairs (U, 2), scores (U,) and counts (U,) of the distinct outcomes."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
    code, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
    n = len(frame)
    outcome = np.select([frame["winner"] == "model_a", frame["winner"] == "model_b"], [2, 0], 1)
    rows, counts = np.unique(np.column_stack([code[:n], code[n:], outcome]), return_counts=True, axis=0)
    return len(names), rows[:, :2], rows[:, 2] / 2, counts.astype(float)


def fastchat_fit(weights: Any, k: int, pairs: Any, scores: Any) -> Any:
    """Weighted Bradley-Terry likelihood by L-BFGS-B, strengths in units of a factor ten."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    base = np.log(10.0)

    def loss(theta: Any) -> tuple[float, Any]:
        p = expit(base * (theta[pairs[:, 0]] - theta[pairs[:, 1]]))
        value = -(weights * (scores * np.log(p) + (1 - scores) * np.log(1 - p))).sum()
        pull = -base * weights * (scores - p)
        gradient = np.bincount(pairs[:, 0], pull, k) - np.bincount(pairs[:, 1], pull, k)
        return value, gradient

    return minimize(loss, np.zeros(k), jac=True, method="L-BFGS-B", options={"maxiter": 100, "gtol": 1e-6}).x


def fastchat_point(path: str) -> Callable[[], Any]:
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401

    def work() -> Any:
        k, pairs, scores, counts = fastchat_table(path)
        return fastchat_fit(counts / counts.sum(), k, pairs, scores)

    return work


def fastchat_vote(path: str) -> Callable[[], Any]:
    import multiprocessing
    from functools import partial

    import numpy as np
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401

    def work() -> Any:
        k, pairs, scores, counts = fastchat_table(path)
        drawn = np.random.default_rng(0).multinomial(round(counts.sum()), counts / counts.sum(), size=1000)
        with multiprocessing.Pool(os.cpu_count()) as pool:
            fit = partial(fastchat_fit, k=k, pairs=pairs, scores=scores)
            return list(pool.imap_unordered(fit, drawn / counts.sum()))

    return work


def logistic_point(path: str) -> Callable[[], Any]:
    """One row per vote, a tie as two rows of half weight."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        n = len(frame)
        code, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        rows = np.arange(n)
        x = np.zeros((n, len(names)))
        x[rows, code[:n]], x[rows, code[n:]] = np.log(10.0), -np.log(10.0)
        tie = (frame["winner"] == "tie").to_numpy()
        y = (frame["winner"] == "model_a").to_numpy().astype(float)
        x = np.concatenate([x, x[tie]])
        y = np.concatenate([y, np.ones(int(tie.sum()))])
        weight = np.concatenate([np.where(tie, 0.5, 1.0), np.full(int(tie.sum()), 0.5)])
        return LogisticRegression(fit_intercept=False, C=1e12, tol=1e-6).fit(x, y, sample_weight=weight).coef_

    return work


def arena_point(path: str) -> Callable[[], Any]:
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        data = PairDataset.from_pandas(frame)
        model = BradleyTerry(n_competitors=len(data.competitors))
        return model.compute_ratings_and_cis(data, significance_level=0.05)

    return work


CHOIX = "choix in a loop, votes resampled (100, scaled)"
PEERS_VOTE = [
    (CHOIX, choix_vote),
    ("choix in a loop, its matrix resampled", choix_table_vote),
    ("FastChat's method", fastchat_vote),
]
#: What the time of a task is multiplied by, where fewer resamples are run.
SCALE = {CHOIX: 10.0}

#: task -> (name, maker): the maker imports what it needs and returns the work to be timed.
TASKS: dict[str, list[tuple[str, Callable[[str], Callable[[], Any]]]]] = {
    "point": [
        ("ours", ours_point),
        ("choix I-LSR on a table made by the user", choix_point),
        ("evalica", evalica_point),
        ("FastChat's method", fastchat_point),
        ("FastChat's older form, a row a vote", logistic_point),
        ("arena-rank (with its sandwich interval)", arena_point),
    ],
    "two-way": [("ours, two-way", ours_two_way), *PEERS_VOTE],
    "vote": [("ours, vote level", ours_vote), *PEERS_VOTE],
    "command": [("ours, python analysis/winrates.py", ours_command)],
    "command-large": [("ours, python analysis/winrates.py", ours_command)],
    "memory": [
        ("ours, point", ours_point),
        ("ours, vote level", ours_vote),
        ("ours, two-way", ours_two_way),
        ("choix I-LSR on a table made by the user", choix_point),
        ("FastChat's method", fastchat_point),
        ("evalica", evalica_point),
        ("arena-rank (with its sandwich interval)", arena_point),
    ],
}
