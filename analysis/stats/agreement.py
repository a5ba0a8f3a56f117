"""Agreement of annotators on the same items: raw, Krippendorff's alpha, Cohen's kappa of each pair of annotators."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.stats.annotator_results import Agreement
from analysis.stats.items import VALUES, first_judgements
from analysis.stats.kappas import pairwise_kappas
from analysis.stats.krippendorff import bootstrap_sums, krippendorff_alpha
from analysis.stats.results import Array
from analysis.votes.coded import IntArray
from analysis.votes.screened import screened_frame
from analysis.votes.table import VotesTable

#: Pairs of annotators with fewer items in common say nothing by kappa.
MIN_SHARED_ITEMS = 5


def agreement(
    votes: VotesTable | pl.DataFrame, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Agreement on items judged by two or more annotators; intervals by bootstrap of prompts.

    A second vote of one annotator on one item does not count. Raw: the share of pairs of judgements that are equal.
    """
    keyed = first_judgements(screened_frame(votes, skips=True))
    item, value = keyed["item"].to_numpy(), keyed["value"].to_numpy()
    n_items = int(item.max()) + 1 if len(item) else 0
    table = np.bincount(item * VALUES + value, minlength=n_items * VALUES).reshape(-1, VALUES).astype(np.float64)
    prompt = np.zeros(n_items, dtype=np.int64)
    prompt[item] = keyed["prompt"].to_numpy()
    nominal, ordinal = (
        krippendorff_alpha(table, level=level, clusters=prompt, resamples=resamples, confidence=confidence, seed=seed)
        for level in ("nominal", "ordinal")
    )
    m = table.sum(axis=1)
    same, all_pairs = (table * (table - 1)).sum(axis=1) / 2, m * (m - 1) / 2
    raw = float(same.sum() / all_pairs.sum()) if all_pairs.sum() else None
    low, high = _raw_bounds(same, all_pairs, prompt, resamples, confidence, seed) if raw is not None else (None, None)
    names = keyed.unique(subset="annotator_code").sort("annotator_code")
    place = np.unique(keyed["annotator_code"].to_numpy(), return_inverse=True)[1].ravel()
    kappas = pairwise_kappas(
        place,
        item,
        value,
        names=names["annotator"].to_list(),
        values=VALUES,
        least=MIN_SHARED_ITEMS,
    )
    return Agreement(
        raw=raw,
        raw_low=low,
        raw_high=high,
        n_items=int((m >= 2).sum()),
        n_comparisons=round(float(all_pairs.sum())),
        alpha_nominal=nominal,
        alpha_ordinal=ordinal,
        mean_kappa=kappas.mean,
        kappas=kappas,
    )


def _raw_bounds(
    same: Array, all_pairs: Array, prompt: IntArray, resamples: int, confidence: float, seed: int
) -> tuple[float | None, float | None]:
    draws = bootstrap_sums(np.column_stack([same, all_pairs]), prompt, resamples=resamples, seed=seed)
    draws = draws[draws[:, 1] > 0]
    if len(np.unique(prompt[all_pairs > 0])) < 2:
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws[:, 0] / draws[:, 1], [tail, 1 - tail])
    return float(low), float(high)
