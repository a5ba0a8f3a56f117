"""The options of `analysis/winrates.py`: names, help and limits. Nothing heavier than typer is imported here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.votes import ExclusionRules

REPORT = "Report"
CHOICE = "Which votes"
EXCLUSIONS = "Exclusions (every excluded vote is counted)"
ESTIMATE = "Estimate"
UNCERTAINTY = "Uncertainty"


class Model(StrEnum):
    BRADLEY_TERRY = "bradley-terry"
    DAVIDSON = "davidson"
    RAO_KUPPER = "rao-kupper"


class Ties(StrEnum):
    HALF = "half"
    DROP = "drop"


class Intervals(StrEnum):
    TWO_WAY = "two-way"
    ANNOTATOR = "annotator"
    PROMPT = "prompt"
    VOTE = "vote"
    MODEL = "model"


class Method(StrEnum):
    BOOTSTRAP = "bootstrap"
    SANDWICH = "sandwich"


class Shape(StrEnum):
    T = "t"
    PERCENTILE = "percentile"


class Comparisons(StrEnum):
    """Of a planned study."""

    ALL = "all"
    BASELINE = "baseline"


class Adjust(StrEnum):
    """Of a planned study, for the number of its comparisons."""

    HOLM = "holm"
    BONFERRONI = "bonferroni"
    NONE = "none"


class By(StrEnum):
    CATEGORY = "category"
    QUESTION = "question"
    STUDY = "study"
    NONE = "none"


VotesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Votes: .parquet, .csv, .tsv, .jsonl, .json files or a database URL; our columns or arena-style.",
        show_default=False,
    ),
]
OptionalVotes = Annotated[
    list[str] | None,
    typer.Argument(
        help="Votes: .parquet, .csv, .tsv, .jsonl, .json files or a database URL; our columns or arena-style.",
        show_default=False,
    ),
]
FromCounts = Annotated[
    Path | None,
    typer.Option(
        help="Folder with counts instead of votes, made by `qsched votes count` or by a database "
        "(docs/counts.md). Kappas, times, covariates and categories are then not in the report.",
        rich_help_panel=CHOICE,
    ),
]
KeepVotes = Annotated[
    bool,
    typer.Option(
        "--keep-votes",
        help="Hold all votes in memory. Parquet files with more than 3,000,000 are else counted a batch at a time, and "
        "the report names what counts do not have (docs/counts.md).",
        rich_help_panel=CHOICE,
    ),
]
ManyFiles = Annotated[list[str], typer.Argument(help="Parquet files of votes, any number of them.", show_default=False)]
CountsFolder = Annotated[
    Path, typer.Option("--out", help="Folder for the counts; created if it does not exist.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="Folder for the report; created if it does not exist.", rich_help_panel=REPORT)]
Title = Annotated[str, typer.Option(help="Title of the page.", rich_help_panel=REPORT)]
ImageSet = Annotated[
    Path | None,
    typer.Option(
        help="Image set (folder of `qsched generate-pairs`): example pictures, measured model sizes.",
        rich_help_panel=REPORT,
    ),
]
Simulation = Annotated[
    Path | None,
    typer.Option(
        help="JSON file with the parameters of simulated annotators. Default: simulation.json next to the votes.",
        rich_help_panel=REPORT,
    ),
]
Looks = Annotated[
    Path | None,
    typer.Option(
        help="Looks of a study with a stopping rule, as `qsched votes export` writes them. Default: NAME.looks.json "
        "next to the votes NAME.parquet.",
        rich_help_panel=REPORT,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        help="certificate.json of a fidelity study of the same pictures; its clauses are shown in a section.",
        rich_help_panel=REPORT,
    ),
]
Formats = Annotated[str, typer.Option(help="Figure files to write, separated by commas.", rich_help_panel=REPORT)]
Study = Annotated[str | None, typer.Option(help="Use the votes of this study.", rich_help_panel=CHOICE)]
Question = Annotated[str | None, typer.Option(help="Use the answers to this question.", rich_help_panel=CHOICE)]
Wording = Annotated[
    str,
    typer.Option(
        help="The question as annotators read it, or a study-card.json, which has it language by language.",
        rich_help_panel=REPORT,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Column with the number of votes of each row; none: each row is one vote. Needed with such a column.",
        rich_help_panel=CHOICE,
    ),
]
Map = Annotated[
    str | None,
    typer.Option(
        "--map",
        help="Which column is which, for files with other columns: winner=label,left=model_1,right=model_2.",
        rich_help_panel=CHOICE,
    ),
]
Outcome = Annotated[
    str | None,
    typer.Option(help="What the words of the outcome mean: A=left,B=right,T=tie.", rich_help_panel=CHOICE),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="What was guessed about the columns is right.", rich_help_panel=CHOICE),
]
ByOption = Annotated[
    By | None,
    typer.Option(
        help="Estimate also in each category, question or study, and compare them. "
        "Default: category, if the votes have 2 to 12.",
        rich_help_panel=CHOICE,
    ),
]
MinResponseMs = Annotated[
    int, typer.Option(min=0, help="Exclude votes faster than this (0: none).", rich_help_panel=EXCLUSIONS)
]
MinVotes = Annotated[
    int, typer.Option(min=0, help="Exclude annotators with fewer votes (0: none).", rich_help_panel=EXCLUSIONS)
]
MinGoldAccuracy = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Exclude annotators with fewer gold items right (0: none).", rich_help_panel=EXCLUSIONS
    ),
]
GoldTiesWrong = Annotated[
    bool,
    typer.Option("--gold-ties-wrong", help="Count a tie on a gold item as wrong.", rich_help_panel=EXCLUSIONS),
]
MaxInstructedFailures = Annotated[
    int,
    typer.Option(
        min=-1, help="Exclude annotators who failed more instructed checks (-1: none).", rich_help_panel=EXCLUSIONS
    ),
]
ExcludeAnnotator = Annotated[
    list[str] | None, typer.Option(help="Exclude this annotator; repeat for more.", rich_help_panel=EXCLUSIONS)
]
ExcludeArm = Annotated[
    list[str] | None,
    typer.Option(
        help="Exclude the votes about this arm (one that never won has no estimate); repeat for more.",
        rich_help_panel=EXCLUSIONS,
    ),
]
IncludeNamesShown = Annotated[
    bool,
    typer.Option(
        "--include-names-shown",
        help="Keep votes given while the names of the arms were shown (arena-style files: anony is false).",
        rich_help_panel=EXCLUSIONS,
    ),
]
ExcludeDoubtful = Annotated[
    bool,
    typer.Option(
        "--exclude-doubtful",
        help="Exclude votes that came with a longer time than the pair was given out.",
        rich_help_panel=EXCLUSIONS,
    ),
]
IncludeRepeats = Annotated[
    bool,
    typer.Option(
        "--include-repeats", help="Keep repeated pairs too (they measure consistency).", rich_help_panel=EXCLUSIONS
    ),
]
Simulated = Annotated[
    bool | None,
    typer.Option(
        "--include-simulated/--exclude-simulated",
        help="Needed if people's and simulated votes are mixed.",
        show_default=False,
        rich_help_panel=EXCLUSIONS,
    ),
]
ModelOption = Annotated[Model, typer.Option(help="Model of preferences.", rich_help_panel=ESTIMATE)]
TiesOption = Annotated[
    Ties, typer.Option(help="bradley-terry: a tie is half a win for each, or is left out.", rich_help_panel=ESTIMATE)
]
PositionEffect = Annotated[
    bool,
    typer.Option("--position-effect", help="Estimate a preference for the left side too.", rich_help_panel=ESTIMATE),
]
Penalty = Annotated[
    str,
    typer.Option(
        help="none, firth, ridge:X or gamma:A; gives a finite, shrunken estimate if the votes alone determine none.",
        rich_help_panel=ESTIMATE,
    ),
]
Baseline = Annotated[str | None, typer.Option(help="Compare every arm with this one.", rich_help_panel=ESTIMATE)]
EquivalenceMargin = Annotated[
    float | None,
    typer.Option(
        min=0.0001,
        max=0.4999,
        help="Distance from an even win rate that does not matter, for example 0.03; decide before looking.",
        rich_help_panel=ESTIMATE,
    ),
]
CovariateOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Also estimate with this covariate (repeat for more): a column with a number or 2 to 12 words in a vote "
        "(response_ms, category, device), or columns NAME_left and NAME_right of which the difference counts.",
        rich_help_panel=ESTIMATE,
    ),
]
Sequential = Annotated[
    bool,
    typer.Option(
        "--sequential",
        help="Also give intervals that remain valid however often you look and whenever you stop.",
        rich_help_panel=UNCERTAINTY,
    ),
]
Assist = Annotated[
    str | None,
    typer.Option(
        help="A metric of the scored image set that also covers prompts without votes; the differences from the "
        "baseline are given with its help too. Worth it with few prompts (about 100).",
        rich_help_panel=ESTIMATE,
    ),
]
IntervalsOption = Annotated[
    Intervals,
    typer.Option(
        help="What is random: annotators and prompts, one of them, single votes, or the model alone.",
        rich_help_panel=UNCERTAINTY,
    ),
]
MethodOption = Annotated[
    Method, typer.Option(help="Resampling, or the analytic sandwich.", rich_help_panel=UNCERTAINTY)
]
ShapeOption = Annotated[
    Shape,
    typer.Option(
        help="t: standard error and t quantile; percentile: quantiles of the resamples (one-way only).",
        rich_help_panel=UNCERTAINTY,
    ),
]
Confidence = Annotated[
    float, typer.Option(min=0.5, max=0.9999, help="Coverage of the intervals.", rich_help_panel=UNCERTAINTY)
]
Resamples = Annotated[
    int, typer.Option(min=100, max=100_000, help="Number of bootstrap resamples.", rich_help_panel=UNCERTAINTY)
]
Seed = Annotated[
    int,
    typer.Option(min=0, help="Seed of the resamples; the same seed gives the same bytes.", rich_help_panel=UNCERTAINTY),
]


def exclusion_rules(
    *,
    min_response_ms: int,
    min_votes: int,
    min_gold_accuracy: float,
    gold_ties_wrong: bool,
    max_instructed_failures: int,
    exclude_arm: list[str] | None,
    exclude_annotator: list[str] | None,
    include_names_shown: bool,
    exclude_doubtful: bool,
    include_repeats: bool,
    simulated: bool | None,
) -> ExclusionRules:
    """The rules that the options of the panel "Exclusions" ask for; a command that has one of them has all."""
    from analysis.votes import ExclusionRules

    always = (kind for kind in ExclusionRules.kinds if kind != "repeat")
    return ExclusionRules(
        kinds=tuple(always) if include_repeats else ExclusionRules.kinds,
        names_shown=not include_names_shown,
        doubtful=exclude_doubtful,
        arms=tuple(dict.fromkeys(exclude_arm or ())),
        annotators=tuple(dict.fromkeys(exclude_annotator or ())),
        simulated="auto" if simulated is None else "keep" if simulated else "drop",
        min_gold_accuracy=min_gold_accuracy or None,
        gold_ties_wrong=gold_ties_wrong,
        max_instructed_failures=None if max_instructed_failures < 0 else max_instructed_failures,
        min_response_ms=min_response_ms,
        min_votes=min_votes,
    )
