"""The votes of a growing simulated study, kept as sums of products, so that a look costs a millisecond.

A two-way sandwich needs of the votes only G = sum_g n_g n_g' over annotators, over prompts and over both together, n_g
the votes of a cluster by cell (pair and winner): the meat is S' G S, S the scores of the cells. New people add to G.
This is a twin of `analysis.stats.stopping.look_at_arms` for studies without ties; a test compares the two. It leaves
out the corrections of `analysis.stats.small_samples` beyond G / (G - 1), which are nothing with hundreds of people.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analysis.stats.spread import Spread

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]


class GrowingCounts:
    """Votes on pairs of `arms` arms; arm 0 is the baseline."""

    def __init__(self, *, arms: int, prompts: int) -> None:
        self._first, self._second = np.triu_indices(arms, 1)
        pairs = len(self._first)
        self._x = np.zeros((pairs, arms))
        self._x[np.arange(pairs), self._first] = 1.0
        self._x[np.arange(pairs), self._second] = -1.0
        self._number = np.zeros((arms, arms), dtype=np.int64)
        self._number[self._first, self._second] = np.arange(pairs)
        self._number[self._second, self._first] = np.arange(pairs)
        self._cells, self._arms, self.people = 2 * pairs, arms, 0
        self._votes = np.zeros(self._cells)
        self._by_annotator = np.zeros((self._cells, self._cells))
        self._by_both = np.zeros((self._cells, self._cells))
        self._by_prompt = np.zeros((prompts, self._cells))
        self._theta = np.zeros(arms)

    def add(self, person: Codes, prompt: Codes, first: Codes, second: Codes, first_wins: NDArray[np.bool_]) -> None:
        """All votes of some new people, numbered from 0 in `person`."""
        m, prompts = self._cells, len(self._by_prompt)
        swapped = first > second
        cell = self._number[first, second] + m // 2 * (first_wins == swapped)
        people = int(person.max()) + 1
        by_person = np.bincount(person * m + cell, minlength=people * m).reshape(people, m).astype(np.float64)
        self._by_annotator += by_person.T @ by_person
        self._add_both(person * prompts + prompt, cell)
        self._by_prompt += np.bincount(prompt * m + cell, minlength=prompts * m).reshape(prompts, m)
        self._votes += by_person.sum(axis=0)
        self.people += people

    def _add_both(self, both: Codes, cell: Codes) -> None:
        """Of annotator and prompt together most have a single vote, which is a product with itself."""
        m = self._cells
        order = both.argsort(kind="stable")
        both, cell = both[order], cell[order]
        starts = np.concatenate([[True], both[1:] != both[:-1]])
        group = starts.cumsum() - 1
        several = np.bincount(group)[group] > 1
        self._by_both[np.arange(m), np.arange(m)] += np.bincount(cell[~several], minlength=m)
        if several.any():
            group = (starts[several].cumsum() - 1) * m + cell[several]
            size = int(starts[several].sum())
            votes = np.bincount(group, minlength=size * m).reshape(size, m).astype(np.float64)
            self._by_both += votes.T @ votes

    def votes_of_arms(self) -> Array:
        """Votes in which each arm takes part."""
        n = self._votes.reshape(2, -1).sum(axis=0)
        return np.asarray(np.bincount(self._first, n, self._arms) + np.bincount(self._second, n, self._arms))

    def differences(self) -> tuple[Array, Spread]:
        """Log-odds of the other arms against the baseline, Bradley-Terry, and their two-way spread."""
        wins, n = self._votes[: self._cells // 2], self._votes.reshape(2, -1).sum(axis=0)
        one = np.full((self._arms, self._arms), 1 / self._arms)
        for _ in range(20):
            p = expit(self._x @ self._theta)
            information = self._x.T @ ((n * p * (1 - p))[:, None] * self._x)
            step = np.linalg.solve(information + one, self._x.T @ (wins - n * p))
            self._theta = self._theta + step
            if np.abs(step).max() < 1e-9:
                break
        to_contrasts = np.column_stack([-np.ones(self._arms - 1), np.eye(self._arms - 1)])
        bread = to_contrasts @ np.linalg.inv(information + one)
        bread -= bread.mean(axis=1, keepdims=True)
        scores = np.concatenate([self._x, self._x]) * np.concatenate([1 - p, -p])[:, None]
        to_cells = bread @ scores.T
        prompts = int((self._by_prompt.sum(axis=1) > 0).sum())

        def variance(sums: Array) -> Array:
            return np.asarray(np.einsum("ij,jk,ik->i", to_cells, sums, to_cells))

        by_vote = variance(np.diag(self._votes))
        two_way = (
            variance(self._by_annotator) * self.people / (self.people - 1)
            + variance(self._by_prompt.T @ self._by_prompt) * prompts / (prompts - 1)
            - variance(self._by_both)
        )
        df = np.full(self._arms - 1, min(self.people, prompts) - 1.0)
        return to_contrasts @ self._theta, Spread(np.sqrt(np.maximum(two_way, 0.0)), np.sqrt(by_vote), df)
