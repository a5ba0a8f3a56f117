"""The judge: a scorer that the search does not maximise, against an objective that likes its own mistakes.

A search over many candidates finds what its scorers overrate, held-out prompts or not. So the winner is shown to a
scorer of another network: the domain's ground truth for the tiny models, else PickScore, which was trained on people's
choices, or HPSv2.1 if PickScore is in the objective itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from qsched.calibration.errors import CalibrationError
from qsched.errors import InputError, QschedError
from qsched.scoring import Jaq, Scorer, load_scorer
from qsched.scoring.shared_weights import LARGEST_SHARE, shared_share

AUTO, NONE = "auto", "none"
TINY_JUDGES = ("tiny-check",)
JUDGES = ("pickscore", "hpsv2.1")


def judge_name(asked: str, *, tiny: bool, terms: Sequence[str]) -> str | None:
    """The scorer that judges, None for `none`; CalibrationError for one that the objective is made of."""
    if asked == NONE:
        return None
    if asked != AUTO:
        if asked in terms:
            raise CalibrationError(
                f"--judge {asked} is part of the objective ({' and '.join(terms)}), which it would judge; name another "
                "scorer, or --judge none"
            )
        return asked
    choices = TINY_JUDGES if tiny else JUDGES
    found = next((name for name in choices if name not in terms), None)
    if found is None:
        raise CalibrationError(
            f"the objective is made of {' and '.join(terms)}, and no default judge is left ({', '.join(choices)}); "
            "name a scorer with --judge, or --judge none"
        )
    return found


def load_judge(name: str, objective: Jaq, *, weights: str | None, device: str) -> Scorer:
    """The judge, loaded; an error with the remedy if it cannot be, or if it is the network of TC or IQ."""
    try:
        judge = load_scorer(name, weights=weights, device=device)
    except QschedError as error:
        raise InputError(
            f"the judge {name} cannot be loaded: {error} (--weights {name}=FOLDER). Or name another with --judge, or "
            "give --judge none"
        ) from error
    for term, scorer in (("TC", objective.tc), ("IQ", objective.iq)):
        share = shared_share(judge, scorer)
        if judge.info.name == scorer.info.name or share > LARGEST_SHARE:
            raise CalibrationError(
                f"the judge {judge.info.name} is the network of {term}, {scorer.info.name} ({100 * share:.0f} % of its "
                "weights are the same), so it would repeat the objective's mistakes; name a scorer of another network "
                "with --judge, or --judge none"
            )
    return judge
