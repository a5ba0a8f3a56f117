"""What a design will take and what it can show, before anyone is asked. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from qsched.planning import Assumptions, WeakestComparison, weakest_comparison
from study_server.studies.comparisons import PlannedPair, votes_of_pair
from study_server.studies.design import StudyDesign
from study_server.studies.dropping_sets import RESERVE, most_rankings
from study_server.studies.ranking import WORTH
from study_server.studies.session_length import TrialCounts, count_trials, session_minutes

# A study that cannot tell 60/40 from even is hardly worth its annotators.
COARSEST = 0.6
FEW = 15


@dataclass(frozen=True, slots=True)
class StudyEstimate:
    """Counts, hours and money of a study, what it can detect under `assumed`, and what is doubtful about it.

    `votes_per_comparison` is the smallest; `islands` are groups of arms with no comparison between them.
    """

    comparisons: int
    pairs: int
    prompts: int
    valid_votes: int
    trials: TrialCounts
    annotators: int
    minutes_per_annotator: float
    hours: float
    cost: float | None
    currency: str | None
    votes_per_comparison: int
    weakest: WeakestComparison
    assumed: Assumptions
    islands: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    @property
    def trials_per_annotator(self) -> int:
        """All trials of a person but practice."""
        return self.trials.scored


def estimate_study(
    design: StudyDesign, pairs: Sequence[PlannedPair], assumed: Assumptions | None = None
) -> StudyEstimate:
    """Estimate from the planned pairs. A study with a `votes_total` is taken to spread it evenly; a ranking study with
    a stopping rule, to need the most rankings that its rule may ask for."""
    assumed = Assumptions() if assumed is None else assumed
    if not design.allow_tie:
        assumed = replace(assumed, tie_rate=0.0)
    task = [pair for pair in pairs if pair.pool == "task"]
    pools = Counter(pair.pool for pair in pairs)
    sizes: dict[tuple[str, str], float] = {}
    for pair in task:
        compared = list(combinations(pair.all_arms, 2))
        # The votes of one ranking depend on each other: together they are worth fewer.
        worth = WORTH[len(pair.all_arms)] / len(compared) if pair.others else 1.0
        for key in compared:
            sizes[key] = sizes.get(key, 0.0) + worth
    wanted = [votes_of_pair(design, pair) for pair in task]
    votes = design.votes_total or sum(wanted)
    if design.ranking is not None and design.stopping is not None:
        others = len({arm for pair in task for arm in pair.all_arms}) - 1
        capacity = votes + pools[RESERVE] * design.votes_per_pair
        votes = most_rankings(design.stopping, capacity, others=others, pictures=design.ranking.pictures)
    each = min(design.pairs_per_annotator or len(task), len(task))
    # An annotator judges a pair once, so at least as many people are needed as a pair has votes.
    most = math.ceil(votes / len(task)) if design.votes_total or votes < sum(wanted) else max(wanted)
    annotators = max(math.ceil(votes / each), most)
    trials = count_trials(
        design,
        task_pairs=len(task),
        practice_pairs=pools["practice"],
        gold_pairs=pools["gold"],
        trap_pairs=pools["trap"],
        bias_pairs=pools["bias"],
    )
    minutes = session_minutes(design, trials)
    hours = annotators * minutes / 60
    by_comparison = {key: size * min(votes, sum(wanted)) / len(task) for key, size in sizes.items()}
    prompts = len({pair.prompt_key for pair in task})
    found = weakest_comparison(by_comparison, annotators=annotators, prompts=prompts, assumed=assumed)
    islands = connected_arms(sizes, also=design.arms or ())
    pay = design.pay
    return StudyEstimate(
        comparisons=len(sizes),
        pairs=len(task),
        prompts=prompts,
        valid_votes=votes,
        trials=trials,
        annotators=annotators,
        minutes_per_annotator=minutes,
        hours=hours,
        cost=None if pay is None else hours * pay.per_hour * (1 + pay.platform_fee),
        currency=None if pay is None else pay.currency,
        votes_per_comparison=math.floor(min(by_comparison.values())),
        weakest=found,
        assumed=assumed,
        islands=islands,
        warnings=tuple(_warnings(design, minutes, found, islands, {"people": annotators, "prompts": prompts})),
    )


def connected_arms(comparisons: Iterable[tuple[str, str]], *, also: Iterable[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Groups of arms that comparisons join, directly or through others; one group where all can be ranked together."""
    group = {arm: {arm} for arm in also}
    for first, second in comparisons:
        joined = group.get(first, {first}) | group.get(second, {second})
        for arm in joined:
            group[arm] = joined
    return tuple(sorted({tuple(sorted(members)) for members in group.values()}))


def _warnings(
    design: StudyDesign,
    minutes: float,
    found: WeakestComparison,
    islands: Sequence[tuple[str, ...]],
    sizes: Mapping[str, int],
) -> list[str]:
    warnings = []
    if design.fidelity is None and len(islands) > 1:
        groups = " | ".join(", ".join(group) for group in islands)
        warnings.append(
            f"no comparison joins these groups of arms: {groups}; there is no ranking across them: add a comparison"
        )
    if design.fidelity is None and (found.win_rate is None or found.win_rate > COARSEST):
        warnings.append(
            f"{found.pair[0]} against {found.pair[1]} could be {100 * COARSEST:.0f} % to {100 * (1 - COARSEST):.0f} % "
            "and would probably not be found: more people, more prompts or more votes per pair (qsched power "
            "compares them)"
        )
    for name, size in sizes.items():
        if size < FEW:
            warnings.append(f"only {size} {name}: with fewer than {FEW} the report's intervals are rough")
    if len(design.questions) > 1 and design.seconds_per_vote == StudyDesign.model_fields["seconds_per_vote"].default:
        warnings.append(
            f"time and pay assume {design.seconds_per_vote:g} s for a pair with {len(design.questions)} questions, "
            "which is the default for one: try it (qsched study preview), and set seconds_per_vote to what it takes"
        )
    if design.max_minutes is not None and minutes > design.max_minutes:
        warnings.append(f"a session takes longer than max_minutes: {design.max_minutes}; lower pairs_per_annotator")
    return warnings
