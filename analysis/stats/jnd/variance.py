"""Two-way clustered sums of scores: people and prompts are both random (Cameron, Gelbach and Miller 2011).

    M = c_A sum_a S_a S_a' + c_P sum_p S_p S_p' - c_AP sum_ap S_ap S_ap',   c_G = G / (G - 1)

S are sums of the votes' scores over a person, a prompt, and the votes of one person on one prompt. With one prompt (a
published source on its own) only people are random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.jnd.model import Array, Codes
from analysis.triplets import TripletCodes


@dataclass(frozen=True)
class Clusters:
    """Which cluster each vote is in, for each kind of cluster, numbered from 0 without gaps."""

    person: Codes
    prompt: Codes
    both: Codes
    people: int
    prompts: int
    cells: int

    @property
    def df(self) -> float:
        """min(people, prompts) - 1 in effective numbers; people alone where there is one prompt."""
        people, prompts = effective_number(self.person), effective_number(self.prompt)
        return max((people if self.prompts == 1 else min(people, prompts)) - 1, 1.0)


def effective_number(cluster: Codes) -> float:
    """(sum n)^2 / sum n^2 of the votes n in each cluster (Kish 1965): the number of clusters where loads are equal."""
    loads = np.unique(cluster, return_counts=True)[1].astype(np.float64)
    return float(loads.sum() ** 2 / (loads**2).sum())


def cluster_votes(codes: TripletCodes) -> Clusters:
    """People and prompts that these votes have."""
    person = np.unique(codes.person, return_inverse=True)[1]
    prompt = np.unique(codes.prompt, return_inverse=True)[1]
    prompts = int(prompt.max()) + 1
    both = np.unique(person * prompts + prompt, return_inverse=True)[1]
    return Clusters(person, prompt, both, int(person.max()) + 1, prompts, int(both.max()) + 1)


def two_way(scores: Array, clusters: Clusters) -> Array:
    """M (m, m) of the votes' scores (V, m); by people alone where there is one prompt."""
    by_person = _outer(scores, clusters.person, clusters.people)
    if clusters.prompts == 1:
        return by_person
    by_prompt = _outer(scores, clusters.prompt, clusters.prompts)
    return by_person + by_prompt - _outer(scores, clusters.both, clusters.cells)


def _outer(scores: Array, cluster: Codes, number: int) -> Array:
    sums = np.stack([np.bincount(cluster, weights=column, minlength=number) for column in scores.T], axis=1)
    return (sums.T @ sums) * number / max(number - 1, 1)
