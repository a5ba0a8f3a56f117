"""The methods paragraph: what was done, with the literature it comes from, in the words a paper could use."""

from __future__ import annotations

from collections.abc import Callable

from analysis.report.findings import Findings
from analysis.report.prose.no_estimate import methods_words
from analysis.report.subjects.claims import percent_words
from analysis.report.subjects.looks import NOT_FOR_LOOKS, rule_words
from analysis.stats import Estimate

Cite = Callable[..., str]

REFERENCES: dict[str, str] = {
    "bt": "Bradley RA, Terry ME (1952). Rank analysis of incomplete block designs: I. The method of paired "
    "comparisons. Biometrika 39:324–345.",
    "ford": "Ford LR (1957). Solution of a ranking problem from binary comparisons. American Mathematical Monthly "
    "64(8):28–33.",
    "davidson": "Davidson RR (1970). On extending the Bradley-Terry model to accommodate ties in paired comparison "
    "experiments. Journal of the American Statistical Association 65:317–328.",
    "rao": "Rao PV, Kupper LL (1967). Ties in paired-comparison experiments: a generalization of the Bradley-Terry "
    "model. Journal of the American Statistical Association 62:194–204.",
    "side": "Davidson RR, Beaver RJ (1977). On extending the Bradley-Terry model to incorporate within-pair order "
    "effects. Biometrics 33:693–702.",
    "albert": "Albert A, Anderson JA (1984). On the existence of maximum likelihood estimates in logistic regression "
    "models. Biometrika 71:1–10.",
    "firth": "Firth D (1993). Bias reduction of maximum likelihood estimates. Biometrika 80:27–38.",
    "cgm": "Cameron AC, Gelbach JB, Miller DL (2011). Robust inference with multiway clustering. Journal of "
    "Business & Economic Statistics 29:238–249.",
    "bootstrap": "Efron B, Tibshirani RJ (1993). An Introduction to the Bootstrap. Chapman & Hall.",
    "kish": "Kish L (1965). Survey Sampling. Wiley.",
    "maxt": "Hothorn T, Bretz F, Westfall P (2008). Simultaneous inference in general parametric models. "
    "Biometrical Journal 50:346–363.",
    "holm": "Holm S (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
    "Statistics 6:65–70.",
    "ranks": "Mogstad M, Romano JP, Shaikh AM, Wilhelm D (2024). Inference for ranks with applications to mobility "
    "across neighbourhoods and academic achievement across countries. Review of Economic Studies 91:476–518.",
    "alpha": "Krippendorff K (2019). Content Analysis: An Introduction to Its Methodology, 4th ed. Sage.",
    "looks": "Wang SK, Tsiatis AA (1987). Approximately optimal one-parameter boundaries for group sequential trials. "
    "Biometrics 43:193–199.",
    "elo": "Elo AE (1978). The Rating of Chessplayers, Past and Present. Arco.",
}


def methods_paragraphs(found: Findings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(paragraphs, references cited in them). References are numbered by the place where they are first cited."""
    cited: list[str] = []

    def cite(*keys: str) -> str:
        for key in keys:
            if key not in cited:
                cited.append(key)
        return "[" + ", ".join(str(cited.index(key) + 1) for key in keys) + "]"

    paragraphs = [_data(found)]
    if found.estimate is not None:
        paragraphs += [
            _model(found.estimate, cite),
            _intervals(found.estimate, cite),
            _multiplicity(found.estimate, cite),
        ]
        if found.settings.looks is not None:
            paragraphs.append(f"{rule_words(found.settings.looks)} {NOT_FOR_LOOKS} {cite('looks')}")
    elif found.existence is not None:
        paragraphs.append(methods_words(found.existence, found.settings.estimate, cite))
    if found.annotators.agreement is not None:
        paragraphs.append(
            "Agreement is measured on items (one prompt, one sample, one pair of arms) that at least two "
            "annotators judged, "
            f"whichever side an arm was on, by raw agreement, Cohen's kappa and Krippendorff's alpha {cite('alpha')}."
        )
    return tuple(paragraphs), tuple(REFERENCES[key] for key in cited)


def _data(found: Findings) -> str:
    who = "simulated annotators" if found.n_simulated == found.n_votes else "annotators"
    annotators = f" by {found.n_annotators} {who}" if found.n_annotators is not None else ""
    prompts = f" on {found.n_prompts} prompts" if found.n_prompts is not None else ""
    question = f" The question was “{found.question}”." if found.question else ""
    return (
        f"{found.exclusions.n_read:,} votes were read and {found.exclusions.n_excluded:,} excluded by the rules "
        f"listed in this "
        f"report; {found.n_votes:,} votes{annotators}{prompts} on {len(found.arms)} arms were analysed.{question}"
    )


def _model(estimate: Estimate, cite: Cite) -> str:
    settings = estimate.settings
    if settings.model == "bradley-terry":
        text = f"Strengths were estimated by maximum likelihood in the Bradley-Terry model {cite('bt')}, "
        text += "with a tie as half a win for each arm" if settings.ties == "half" else "with ties left out"
    elif settings.model == "davidson":
        text = f"Strengths were estimated by maximum likelihood in Davidson's model with ties {cite('davidson')}"
    else:
        text = f"Strengths were estimated by maximum likelihood in Rao and Kupper's model with ties {cite('rao')}"
    text += f", with an effect of the left position {cite('side')}" if settings.position_effect else ""
    if settings.penalty.kind == "firth":
        text += f" and Firth's penalty {cite('firth')}"
    elif settings.penalty.kind != "none":
        text += f" and a penalty ({settings.penalty})"
    return (
        f"{text}, by Newton's method on the table of counts ({estimate.fit.iterations} iterations, largest gradient "
        f"{estimate.fit.gradient:.1e}). That the estimate exists was checked on the graph of wins {cite('ford')}. "
        f"Strengths are natural logarithms and sum to zero; Elo is 1000 + 400/ln 10 times the strength {cite('elo')}."
    )


def _intervals(estimate: Estimate, cite: Cite) -> str:
    settings, unsure = estimate.settings, estimate.uncertainty
    text = f"{percent_words(settings.confidence)} intervals "
    match unsure.kind:
        case "two-way":
            text += (
                "count both annotators and prompts as random: the covariance is the one clustered by annotator plus "
                "the one clustered by prompt minus the one clustered by annotator and prompt together, mostly single "
                f"votes {cite('cgm')}, each {_how(estimate, cite)}."
            )
        case "annotator":
            text += f"count annotators as random and prompts as fixed, {_how(estimate, cite)}."
        case "prompt":
            text += f"count prompts as random and annotators as fixed, {_how(estimate, cite)}."
        case "vote":
            text += f"take every vote as independent, {_how(estimate, cite)}."
        case "model":
            text += "come from the inverse information of the likelihood and take every vote as independent."
    if unsure.df != float("inf"):
        text += (
            f" Quantiles are of Student's t with {unsure.df:.4g} degrees of freedom: one less than the effective "
            f"number of clusters, which counts unequal clusters as fewer {cite('kish')}, of the fewer kind."
        )
    if unsure.kind in ("two-way", "annotator", "prompt"):
        text += " No interval is narrower than the one that takes votes as independent."
    if unsure.truncated:
        text += " The resulting matrix was not positive semi-definite; its negative eigenvalues were set to zero."
    if unsure.ignores:
        text += f" These intervals ignore {unsure.ignores.rstrip('.')}."
    return text


def _how(estimate: Estimate, cite: Cite) -> str:
    unsure = estimate.uncertainty
    if unsure.method == "bootstrap" and unsure.resamples:
        return f"by bootstrap with {unsure.resamples:,} resamples (seed {estimate.settings.seed}) {cite('bootstrap')}"
    return "by the sandwich estimator"


def _multiplicity(estimate: Estimate, cite: Cite) -> str:
    return (
        f"P-values of the {len(estimate.pairwise)} pairwise contrasts are adjusted by Holm's method {cite('holm')}. "
        f"Intervals for all pairs at once use the largest t statistic over pairs {cite('maxt')}; an arm's ranks are "
        f"those that they leave open {cite('ranks')}. A difference is called detected when its adjusted p-value is "
        f"below {1 - estimate.settings.confidence:.3g}; a difference that was not detected is not called absent."
    )
