"""Agreement of annotators on the same items: raw, Krippendorff's alpha, Cohen's kappa of each pair of annotators."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from analysis.stats.annotator_results import Agreement, KappaRow
from analysis.stats.items import VALUES, item_values
from analysis.stats.krippendorff import bootstrap_sums, krippendorff_alpha
from analysis.stats.results import Array
from analysis.votes.coded import IntArray
from analysis.votes.table import VotesTable

#: Pairs of annotators with fewer items in common say nothing by kappa.
MIN_SHARED_ITEMS = 5


def agreement(
    votes: VotesTable | pl.DataFrame, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Agreement on items judged by two or more annotators; intervals by bootstrap of prompts.

    A second vote of one annotator on one item does not count. Raw: the share of pairs of judgements that are equal.
    """
    keyed = item_values(votes).unique(subset=["annotator_code", "item"], keep="first", maintain_order=True)
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
    kappas = _kappas(keyed)
    known = [row for row in kappas if row.kappa is not None]
    weight = sum(row.n_items for row in known)
    return Agreement(
        raw=raw,
        raw_low=low,
        raw_high=high,
        n_items=int((m >= 2).sum()),
        n_comparisons=round(float(all_pairs.sum())),
        alpha_nominal=nominal,
        alpha_ordinal=ordinal,
        mean_kappa=sum(row.n_items * row.kappa for row in known if row.kappa is not None) / weight if weight else None,
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


def _kappas(keyed: pl.DataFrame) -> tuple[KappaRow, ...]:
    """Cohen's kappa (1960, Educ. Psychol. Meas. 20:37-46) of each pair with enough items in common."""
    if keyed.height == 0:
        return ()
    code, item, value = (keyed[name].to_numpy() for name in ("annotator_code", "item", "value"))
    n_annotators, n_items = int(code.max()) + 1, int(item.max()) + 1
    by_value = []
    for v in range(VALUES):
        at = value == v
        entries = (np.ones(int(at.sum())), (code[at], item[at]))
        by_value.append(sparse.csr_array(sparse.coo_array(entries, shape=(n_annotators, n_items))))
    seen = sparse.csr_array(sum(by_value[1:], start=by_value[0]))
    shared = sparse.triu(seen @ seen.T, k=1).tocoo()
    enough = shared.data >= MIN_SHARED_ITEMS
    a, b, n = shared.row[enough], shared.col[enough], shared.data[enough]
    if not len(n):
        return ()
    observed, expected = np.zeros(len(n)), np.zeros(len(n))
    for part in by_value:
        observed += np.asarray((part @ part.T).tocsr()[a, b]).ravel() / n
        mine, theirs = (np.asarray((x @ y.T).tocsr()[a, b]).ravel() / n for x, y in ((part, seen), (seen, part)))
        expected += mine * theirs
    names = keyed.unique(subset="annotator_code").sort("annotator_code")["annotator"].to_list()
    return tuple(
        KappaRow(names[i], names[j], round(float(size)), float(o), float((o - e) / (1 - e)) if e < 1 else None)
        for i, j, size, o, e in zip(a.tolist(), b.tolist(), n, observed, expected, strict=True)
    )
