"""Arms decided at planned looks: the bounds used are those of the look, and an even arm is called nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from analysis.stats import count_codes, fit_bradley_terry, log_odds, spread_of, uncertainty_of
from analysis.stats.scales import win_probability
from analysis.stats.spread import Spread
from analysis.stats.stopping import decide, decide_arms, half_width_at_look, look_at_arms
from qsched.planning import wang_tsiatis_bounds
from qsched.records import InputError
from qsched.records.stopping import StoppingRule

ARMS = ("base", "even", "good", "rare")
RULE = StoppingRule(baseline="base", margin=0.1, looks=4, horizon=2000)


def study(seed: int = 3):
    """1,800 votes of 40 people on 60 prompts: `good` wins 64 % against the others; `rare` is in no vote."""
    rng = np.random.default_rng(seed)
    n = 1800
    left, right = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)[:, :2].T
    wins = rng.random(n) < 1 / (1 + np.exp(-0.6 * ((left == 2).astype(float) - (right == 2))))
    return count_codes(
        left,
        right,
        np.where(wins, 0, 1),
        arms=ARMS,
        annotator=rng.integers(0, 40, n),
        prompt=rng.integers(0, 60, n),
    )


def test_the_interval_is_the_difference_with_the_two_way_error_and_the_bound_of_the_look():
    counts = study()
    kept = counts.restrict(ARMS[:3])
    found = {one.arm: one for one in look_at_arms(kept, RULE, look=3, arms=3, undecided=("even", "good"))}
    fit = fit_bradley_terry(kept)
    spread = spread_of(uncertainty_of(fit, kept, method="sandwich"), [2], [0])
    bound = wang_tsiatis_bounds(4, RULE.level / 3)[2]
    d = fit.log_strengths[2] - fit.log_strengths[0]
    least = bound * max(spread.se[0], spread.floor[0])
    assert log_odds(found["good"].win_rate) == pytest.approx(d)
    assert d - log_odds(found["good"].low) >= least
    assert d - log_odds(found["good"].low) == pytest.approx(least, rel=0.12), "t is a little wider than normal"
    assert (found["good"].decision, found["even"].decision) == ("better", "equivalent")


def test_earlier_looks_and_anytime_bounds_are_wider():
    counts = study().restrict(ARMS[:3])

    def width(look: int, **rule: object) -> float:
        (one,) = look_at_arms(counts, RULE.model_copy(update=rule), look=look, arms=3, undecided=("good",))
        return one.high - one.low

    assert width(1) > width(2) > width(4)
    assert width(4, bounds="anytime") > width(4)
    assert width(1, bounds="anytime") == width(4, bounds="anytime")


def test_an_arm_without_an_estimate_stays_open_without_numbers():
    (even, rare) = look_at_arms(study(), RULE, look=4, arms=3, undecided=("even", "rare"))
    assert rare.decision == "open" and rare.win_rate is None and rare.votes == 0
    assert even.decision == "open", "with an arm that nobody judged the strengths of all are unknown"
    with pytest.raises(InputError, match="'other', the baseline"):
        look_at_arms(study(), RULE.model_copy(update={"baseline": "other"}), look=1, arms=3, undecided=("even",))


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.1, "equivalent"), (-0.1, 0.5, "open"), (-1, 1, "open")],
)
def test_what_an_interval_decides(low, high, decision):
    assert decide(low, high, margin=0.1) == decision
    assert math.isclose(log_odds(0.6), 0.405, abs_tol=1e-3)


def test_a_wrong_claim_is_allowed_in_three_of_a_hundred_studies_unless_the_rule_says_otherwise():
    assert StoppingRule(baseline="a", horizon=400).level == 0.03


def test_one_sided_equivalence_takes_the_whole_share_on_either_side_and_leaves_better_and_worse_alone():
    counts = study().restrict(ARMS[:3])
    one_sided = RULE.model_copy(update={"equivalence": "one-sided"})
    fit = fit_bradley_terry(counts)
    spread = spread_of(uncertainty_of(fit, counts, method="sandwich"), [1], [0])
    d = float(fit.log_strengths[1] - fit.log_strengths[0])
    wide = float(half_width_at_look(spread, RULE, look=3, alpha=RULE.level / 3)[0])
    less = float(half_width_at_look(spread, RULE, look=3, alpha=2 * RULE.level / 3)[0])
    assert less < 0.95 * wide
    # A margin that the narrower bounds keep and the wider ones do not.
    margin = win_probability(abs(d) + (wide + less) / 2) - 0.5

    def found(rule, arm):
        rule = rule.model_copy(update={"margin": margin})
        (one,) = look_at_arms(counts, rule, look=3, arms=3, undecided=(arm,))
        return one

    assert (found(RULE, "even").decision, found(one_sided, "even").decision) == ("open", "equivalent")
    assert log_odds(found(one_sided, "even").high) == pytest.approx(d + less)
    assert found(one_sided, "good") == found(RULE, "good"), "its bounds stay two-sided"


def test_two_one_sided_bounds_within_the_margin_are_enough_although_both_are_above_even():
    rule = RULE.model_copy(update={"equivalence": "one-sided"})
    spread = Spread(se=np.array([0.1]), floor=np.array([0.0]), df=np.array([np.inf]))
    wide = float(half_width_at_look(spread, rule, look=4, alpha=rule.level / 3)[0])
    less = float(half_width_at_look(spread, rule, look=4, alpha=2 * rule.level / 3)[0])
    d = (wide + less) / 2
    rule = rule.model_copy(update={"margin": win_probability(d + less + 0.001) - 0.5})
    ((decision, low, high),) = decide_arms(np.array([d]), spread, rule, look=4, arms=3)
    assert decision == "equivalent" and 0 < low < high
    ((decision, low, _),) = decide_arms(np.array([wide + 0.001]), spread, rule, look=4, arms=3)
    assert decision == "better" and low == pytest.approx(0.001)


def test_a_level_without_one_sided_bounds_is_refused_before_the_first_look():
    with pytest.raises(ValidationError, match="with equivalence: one-sided it must be below"):
        StoppingRule(baseline="a", horizon=400, level=0.3, equivalence="one-sided")
    with pytest.raises(ValidationError, match="anytime bounds have none"):
        StoppingRule(baseline="a", horizon=400, shape=0.4, bounds="anytime")
    highest = StoppingRule(baseline="a", horizon=400, level=0.249, equivalence="one-sided")
    spread = Spread(se=np.array([0.1]), floor=np.array([0.0]), df=np.array([np.inf]))
    assert decide_arms(np.array([0.0]), spread, highest, look=1, arms=1)
    assert decide_arms(np.array([0.0]), spread, highest.model_copy(update={"bounds": "anytime"}), look=1, arms=1)


def test_a_design_stored_without_the_newer_keys_keeps_its_bounds():
    stored = StoppingRule.model_validate_json('{"baseline": "a", "horizon": 400, "level": 0.03}')
    assert (stored.shape, stored.equivalence) == (0.25, "interval")
