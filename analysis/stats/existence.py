"""Whether a finite, unique estimate exists: tests on the graph of wins, before any number is computed.

- Bradley-Terry: the directed graph of wins must be strongly connected (Ford 1957, Amer. Math. Monthly 64:28-33);
  a tie counts in both directions.
- A position effect delta: strengths can go to infinity together with it. With delta = +1 or -1 the condition
  "no vote gets less likely" is a set of difference constraints theta_j <= theta_i + s, feasible exactly when the
  graph with those lengths has no negative cycle (Bellman and Ford).
- Tie models, covariates: the general condition (Albert and Anderson 1984, Biometrika 71:1-10) as a linear programme.
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from analysis.stats.counts import VoteCounts
from analysis.stats.results import Array, Existence, Model, Penalty, Ties
from analysis.votes.coded import IntArray

#: Of more than twice this many cells the linear programme first looks at about this many.
_CELLS_TRIED = 2000


def examine(
    counts: VoteCounts,
    *,
    model: Model = "bradley-terry",
    ties: Ties = "half",
    position_effect: bool = False,
    penalty: Penalty | None = None,
) -> Existence:
    """Diagnose the votes for one model: `exists`, else problems that name the arms, and remedies."""
    used = counts.without_ties() if model == "bradley-terry" and ties == "drop" else counts
    kind = "none" if penalty is None else penalty.kind
    arms = counts.arms
    wins = _win_graph(used)
    islands = _components(wins, arms, strong=False)
    components = _ordered(wins, arms)
    out_C, in_C = np.asarray(wins.sum(axis=1)).ravel(), np.asarray(wins.sum(axis=0)).ravel()
    has_votes = (out_C + in_C) > 0
    without = tuple(arm for arm, has in zip(arms, has_votes, strict=True) if not has)
    never_won = tuple(a for a, n, has in zip(arms, out_C, has_votes, strict=True) if has and n == 0)
    never_lost = tuple(a for a, n, has in zip(arms, in_C, has_votes, strict=True) if has and n == 0)
    problems: list[str] = []
    remedies: list[str] = []
    if without:
        problems.append(f"No votes {'without ties ' if ties == 'drop' else ''}for {_listed(without)}.")
        remedies.append("Collect votes for it, or leave it out." if len(without) == 1 else "Collect votes for them.")
    _graph_problems(problems, remedies, islands, components, never_won, never_lost, without, penalty)
    tie_problem = _tie_problem(used, model)
    if tie_problem:
        problems.append(tie_problem)
        remedies.append("Use --model bradley-terry for these votes.")
    separated = False
    if not problems:
        separated = _separated(used, model, position_effect, kind)
        if separated:
            problems.append(_separation_words(used, model, position_effect))
            remedies.append(_separation_remedy(used, position_effect))
    estimable: tuple[str, ...] = ()
    if problems and kind == "none":
        estimable = _estimable(counts, components, model, ties, position_effect=position_effect)
        if estimable and len(islands) - len(without) == 1:
            rest = tuple(arm for arm in arms if arm not in set(estimable))
            remedies.append(
                f"Leave out {_listed(rest)} (--exclude-arm): the {len(estimable)} arms {_listed(estimable)} have an "
                "estimate among themselves."
            )
    return Existence(
        exists=not problems,
        components=components,
        islands=islands,
        without_votes=without,
        never_won=never_won,
        never_lost=never_lost,
        position_separated=separated and position_effect,
        tie_problem=tie_problem,
        estimable=estimable,
        problems=tuple(problems),
        remedies=tuple(dict.fromkeys(remedies)),
    )


def _estimable(
    counts: VoteCounts,
    components: tuple[tuple[str, ...], ...],
    model: Model,
    ties: Ties,
    *,
    position_effect: bool,
) -> tuple[str, ...]:
    """The largest component, by votes if there are several, that has an estimate by itself."""
    bare = counts.with_outcomes(counts.outcomes)  # the graph needs no clusters
    parts = [(bare.restrict(part), part) for part in components if 1 < len(part) < len(counts.arms)]
    for part, names in sorted(parts, key=lambda item: (-len(item[1]), -item[0].n_votes, item[1])):
        if examine(part, model=model, ties=ties, position_effect=position_effect).exists:
            return names
    return ()


def _graph_problems(
    problems: list[str],
    remedies: list[str],
    islands: tuple[tuple[str, ...], ...],
    components: tuple[tuple[str, ...], ...],
    never_won: tuple[str, ...],
    never_lost: tuple[str, ...],
    without: tuple[str, ...],
    penalty: Penalty | None,
) -> None:
    kind = "none" if penalty is None else penalty.kind
    connected = [island for island in islands if not set(island) <= set(without)]
    if len(connected) > 1 and kind in ("none", "firth"):
        groups = " | ".join(_listed(island) for island in connected)
        problems.append(
            f"The arms fall into {len(connected)} groups that were never compared with one another: {groups}. "
            "No ranking across groups can be estimated."
        )
        remedies.append("Add comparisons between the groups, or analyse each group by itself.")
    if kind != "none":
        return
    if never_won:
        problems.append(f"Never won: {_listed(never_won)}; the strength is minus infinity.")
    if never_lost:
        problems.append(f"Never lost: {_listed(never_lost)}; the strength is infinite.")
    one_way = False
    for island in connected:
        # Groups that were never compared are named above; these are within one island, and their wins went one way.
        tiers = [part for part in components if set(part) <= set(island)]
        one_way |= len(tiers) > 1
        named = sum(arm in island for arm in (*never_won, *never_lost))
        if len(tiers) > 1 + named or (len(tiers) > 1 and not named):
            groups = " | ".join(_listed(part) for part in tiers)
            problems.append(
                f"Between these groups every comparison that was made went one way: {groups}. "
                "The differences between the groups are infinite."
            )
    if one_way:
        remedies.append(
            "Add comparisons that could go the other way, or ask for finite, shrunken estimates with "
            "--penalty firth or --penalty ridge:X."
        )


def _listed(arms: tuple[str, ...]) -> str:
    shown = ", ".join(arms[:12])
    return shown if len(arms) <= 12 else f"{shown} and {len(arms) - 12} more"


def _win_graph(counts: VoteCounts) -> sparse.csr_array:
    """Weight of i -> j: votes that i won against j, ties in both directions."""
    k = counts.n_arms
    left_wins, right_wins = counts.outcomes[:, 0] + counts.outcomes[:, 2], counts.outcomes[:, 1:].sum(axis=1)
    weight = np.concatenate([left_wins, right_wins])
    start = np.concatenate([counts.left, counts.right])
    end = np.concatenate([counts.right, counts.left])
    some = weight > 0
    return sparse.csr_array(sparse.coo_array((weight[some], (start[some], end[some])), shape=(k, k)))


def _components(graph: sparse.csr_array, arms: tuple[str, ...], *, strong: bool) -> tuple[tuple[str, ...], ...]:
    _, label = connected_components(graph, directed=True, connection="strong" if strong else "weak")
    groups = [tuple(arms[i] for i in np.flatnonzero(label == value)) for value in range(label.max() + 1)]
    return tuple(sorted(groups, key=lambda group: (-len(group), group)))


def _ordered(graph: sparse.csr_array, arms: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Strongly connected components, winners before those they beat (topological, then by size and name)."""
    n, label = connected_components(graph, directed=True, connection="strong")
    start, end = graph.nonzero()
    beats = {(a, b) for a, b in zip(label[start].tolist(), label[end].tolist(), strict=True) if a != b}
    groups = {value: tuple(arms[i] for i in np.flatnonzero(label == value)) for value in range(n)}
    beaten_by, losers = dict.fromkeys(groups, 0), {value: list[int]() for value in groups}
    for a, b in beats:
        beaten_by[b] += 1
        losers[a].append(b)
    # Those that nothing which is left beats, the largest first; a search of all pairs for each took minutes.
    free = [(-len(groups[v]), groups[v], v) for v in groups if not beaten_by[v]]
    heapq.heapify(free)
    ordered: list[tuple[str, ...]] = []
    while free:
        _, group, chosen = heapq.heappop(free)
        ordered.append(group)
        for b in losers[chosen]:
            beaten_by[b] -= 1
            if not beaten_by[b]:
                heapq.heappush(free, (-len(groups[b]), groups[b], b))
    return tuple(ordered)


def _tie_problem(counts: VoteCounts, model: Model) -> str | None:
    if model == "bradley-terry":
        return None
    ties = counts.outcomes[:, 2].sum()
    if ties == 0:
        return "There is no tie, so the tie parameter has no finite estimate."
    if ties == counts.outcomes.sum():
        return "Every vote is a tie, so the tie parameter has no finite estimate."
    return None


def _separated(counts: VoteCounts, model: Model, position_effect: bool, kind: str) -> bool:
    """Whether some direction of the parameters makes no vote less likely (or changes nothing at all)."""
    if kind == "firth":
        # Jeffreys' prior goes to minus infinity in every direction that the design identifies.
        x = _directions(counts, position_effect, free=True)
        return bool(np.linalg.matrix_rank(x) < x.shape[1])
    free = kind == "none"
    extra = counts.covariates.shape[1] > 0
    one_way = model != "bradley-terry" and not _both_ways_somewhere(counts)
    if extra or one_way or not free:
        return _separated_by_programme(counts, model, position_effect, free=free)
    return position_effect and any(_feasible(counts, sign) for sign in (1.0, -1.0))


def _both_ways_somewhere(counts: VoteCounts) -> bool:
    """A cell with wins of both sides rules out that ties become ever rarer or ever more frequent by themselves."""
    return bool(((counts.outcomes[:, 0] > 0) & (counts.outcomes[:, 1] > 0)).any())


def _edges(counts: VoteCounts, sign: float) -> tuple[IntArray, IntArray, Array]:
    """Difference constraints theta[end] <= theta[start] + length for delta = sign."""
    left = (counts.outcomes[:, 0] + counts.outcomes[:, 2]) > 0
    right = (counts.outcomes[:, 1] + counts.outcomes[:, 2]) > 0
    start = np.concatenate([counts.left[left], counts.right[right]])
    end = np.concatenate([counts.right[left], counts.left[right]])
    length = np.concatenate([sign * counts.position[left], -sign * counts.position[right]])
    return start, end, length


def _feasible(counts: VoteCounts, sign: float) -> bool:
    """No negative cycle (Bellman and Ford): the position effect can grow without bound."""
    start, end, length = _edges(counts, sign)
    distance = np.zeros(counts.n_arms)
    for _ in range(counts.n_arms + 1):
        shorter = distance.copy()
        np.minimum.at(shorter, end, distance[start] + length)
        if np.array_equal(shorter, distance):
            return True
        distance = shorter
    return False


def _separated_by_programme(counts: VoteCounts, model: Model, position_effect: bool, *, free: bool) -> bool:
    x = _directions(counts, position_effect, free=free)
    p = x.shape[1]
    with_ties = model != "bradley-terry"
    if p == 0 and not with_ties:
        return False
    if len(x) > 2 * _CELLS_TRIED:
        # With a measured covariate nearly every vote is a cell. Where some of them rule every direction out, so do all.
        some = np.arange(0, len(x), -(-len(x) // _CELLS_TRIED))
        rows = _constraints(x[some], counts.outcomes[some], with_ties)
        if not _improving(rows) and np.linalg.matrix_rank(rows) == rows.shape[1]:
            return False
    if _improving(_constraints(x, counts.outcomes, with_ties)):
        return True
    return bool(p and np.linalg.matrix_rank(x) < p)


def _constraints(x: Array, n: Array, with_ties: bool) -> Array:
    """Rows r with r beta >= 0 along a direction that makes no vote less likely."""
    left, right, tie = (np.flatnonzero(n[:, o] > 0) for o in range(3))
    if not with_ties:
        return np.vstack([x[left], -x[right], x[tie], -x[tie]])
    blocks = [(x[left], 0.0), (-x[right], 0.0), (x[left], -2.0), (-x[right], -2.0), (x[tie], 2.0), (-x[tie], 2.0)]
    return np.vstack([np.column_stack([rows, np.full(len(rows), t)]) for rows, t in blocks])


def _improving(a: Array) -> bool:
    """Whether some direction with a beta >= 0 makes a vote more likely."""
    from scipy.optimize import linprog  # takes a tenth of a second to import, and few reports ask

    solved = linprog(-a.sum(axis=0), A_ub=-a, b_ub=np.zeros(len(a)), bounds=(-1, 1), method="highs")
    return bool(solved.status == 0 and -solved.fun > 1e-7)


def _directions(counts: VoteCounts, position_effect: bool, *, free: bool) -> Array:
    """Design of the parameters that nothing holds: strengths (against the last arm), position, covariates."""
    k, c = counts.n_arms, counts.n_cells
    x = np.zeros((c, k))
    np.add.at(x, (np.arange(c), counts.left), 1.0)
    np.add.at(x, (np.arange(c), counts.right), -1.0)
    parts = [x[:, : k - 1]] if free else []
    if position_effect:
        parts.append(counts.position[:, None])
    parts.append(counts.covariates)
    return np.hstack(parts) if parts else np.zeros((c, 0))


def _separation_words(counts: VoteCounts, model: Model, position_effect: bool) -> str:
    if counts.covariates.shape[1]:
        return (
            "A combination of strengths, position and covariates fits the votes perfectly or changes nothing, "
            f"so the coefficients ({', '.join(counts.covariate_names)}) have no finite, unique estimate."
        )
    if position_effect:
        total = counts.outcomes[counts.position != 0].sum(axis=0)
        if total[0] == 0 or total[1] == 0:
            return f"The {'right' if total[0] == 0 else 'left'} image won every vote: the position effect is infinite."
        return (
            "The position effect cannot be separated from the strengths: some arms were shown on one side only, "
            "or every win follows the side."
        )
    words = "Davidson's" if model == "davidson" else "Rao and Kupper's"
    return (
        f"Strengths and tie rate separate the votes: close arms only tied and distant arms never did, "
        f"so {words} model has no finite estimate."
    )


def _separation_remedy(counts: VoteCounts, position_effect: bool) -> str:
    if counts.covariates.shape[1]:
        return "Leave out a covariate, or add votes in which it varies within a pair of arms."
    if position_effect:
        return "Show each pair both ways round, or fit without a position effect."
    return "Use --model bradley-terry, or add votes."
