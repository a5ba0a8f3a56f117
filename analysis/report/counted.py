"""The findings from counts instead of votes (`--from-counts`, or of large files): the same estimate, and what counts do
not say."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.report.findings import Findings, claims_of, estimate_of, report_versions
from analysis.report.kit.fonts import fonts_for
from analysis.report.settings import ReportSettings
from analysis.report.subjects.annotators import AnnotatorResults, find_reliability
from analysis.report.subjects.caveats import own_warnings, refuse_baseline
from analysis.report.subjects.choices import variants_of_counts
from analysis.report.subjects.collected import collected_of_counts
from analysis.report.subjects.influence import find_influence
from analysis.report.subjects.pairs import find_raw_pairs
from analysis.report.subjects.session import session_of_counts
from analysis.stats.counted import read_counts
from analysis.stats.counts import VoteCounts
from analysis.votes.account import CountsAccount, read_account
from analysis.votes.batches import rows_of_parquet
from analysis.votes.counting import count_files
from analysis.votes.exclude import ExclusionRules
from analysis.votes.twice import VoteTwiceError
from qsched.records import InputError
from qsched.records.stopping import looks_beside

_LACKING = (
    "The estimate, its intervals and the raw rates are those of the votes themselves. Counts do not have, so the "
    "report does not show: categories and other questions, covariates, the order and the times of answers, agreement "
    "on items (kappa, alpha), how single annotators behaved, repeats, dates, example pictures, and the estimate with "
    "excluded votes put back."
)
NOT_IN_COUNTS = f"This report is from counts of votes, not from votes. {_LACKING}"
#: Parquet files with more votes than these are counted, unless an option needs the votes themselves.
MOST_VOTES_KEPT = 3_000_000
LARGE = (
    "The files have {n:,} votes. More than {most:,} are counted a batch at a time, so this report is from counts of "
    "votes. " + _LACKING + " With --keep-votes all votes are held in memory, and the report has these parts."
)
NOT_COUNTED = (
    "The files have {n:,} votes. More than {most:,} are counted a batch at a time, which needs room for temporary "
    "files in {folder}, and failed there: {why}. So all votes were held in memory. TMPDIR names another folder."
)
#: Of counts that came without an account: nothing is known to have been left out.
NO_RULES = ExclusionRules(
    kinds=(), skips=False, names_shown=False, min_gold_accuracy=None, max_instructed_failures=None, min_response_ms=0
)


def find_counted(folder: str | Path, settings: ReportSettings) -> Findings:
    """Estimate and check from a folder of counts (docs/counts.md). InputError for an option that needs votes."""
    _refuse_options(settings)
    counts = read_counts(folder)
    account = read_account(folder, round(counts.n_votes))
    sources = (str(folder), *(source for source in account.sources if source != str(folder)))
    return _findings(
        counts,
        account.model_copy(update={"sources": sources}),
        replace(settings, rules=account.rules or NO_RULES),
        NOT_IN_COUNTS,
    )


def find_large(files: Sequence[str], settings: ReportSettings) -> Findings | str | None:
    """The findings of large parquet files, counted a batch at a time; None if the votes themselves have to be read.

    The votes have to be read if they are few, if an option needs them, if they cannot be counted, or if they have no
    estimate; the code that reads them then says why. What it cannot know is returned in words: that the disk for
    temporary files is full. VoteTwiceError for a vote that is there twice.
    """
    n = rows_of_parquet(files)
    if n is None or n <= MOST_VOTES_KEPT or any(_of_votes(settings).values()):
        return None
    if any(looks_beside(Path(file)).is_file() for file in files):
        return None
    try:
        counted = count_files(files, settings.rules, study=settings.study, question=settings.question)
        with tempfile.TemporaryDirectory(prefix="qsched-counts-") as folder:
            counted.write(Path(folder))
            counts = read_counts(folder)
    except VoteTwiceError:
        raise
    except InputError:
        return None
    except OSError as error:
        why = error.strerror or str(error)
        return NOT_COUNTED.format(n=n, most=MOST_VOTES_KEPT, folder=tempfile.gettempdir(), why=why)
    note = LARGE.format(n=n, most=MOST_VOTES_KEPT)
    found = _findings(counts, counted.account, settings, note, n_elsewhere=n - counted.account.n_read)
    return None if found.estimate is None else found


def _findings(
    counts: VoteCounts, account: CountsAccount, settings: ReportSettings, note: str, *, n_elsewhere: int = 0
) -> Findings:
    exclusions = account.report()
    refuse_baseline(settings.baseline, counts.arms, exclusions)
    existence, found = estimate_of(counts, settings.estimate)
    has_annotators = "annotator" in counts.clusters
    reliability = find_reliability(counts) if found is not None and has_annotators else None
    influence = find_influence(found, counts)
    drawn = (*counts.arms, *(row.cluster for row in influence.drawn))
    fonts = fonts_for(drawn)
    sizes = {name: len(part.labels) for name, part in counts.clusters.items()}
    warnings = (
        *account.warnings,
        *(found.warnings if found else ()),
        *own_warnings(exclusions, None, counts.arms, fonts, drawn),
    )
    n = round(counts.n_votes)
    return Findings(
        settings=settings,
        sources=account.sources,
        study=account.study,
        question=account.question,
        n_elsewhere=n_elsewhere,
        arms=counts.arms,
        n_votes=n,
        n_annotators=sizes.get("annotator"),
        n_prompts=sizes.get("prompt"),
        n_simulated=account.n_simulated,
        exclusions=exclusions,
        existence=existence,
        estimate=found,
        groups=(),
        collected=collected_of_counts(counts),
        claims=claims_of(found, settings),
        raw=find_raw_pairs(counts, found, settings.estimate),
        strata=None,
        variants=() if found is None else variants_of_counts(counts, settings.estimate, reliability),
        adjusted=None,
        anytime=(),
        assisted=None,
        session=session_of_counts(counts, found, settings.estimate),
        annotators=AnnotatorResults(
            reliability=None if isinstance(reliability, str) else reliability, excluded=exclusions.annotators
        ),
        influence=influence,
        most_agreed=(),
        least_agreed=(),
        image_set=None,
        fonts=fonts,
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys((note, *exclusions.notes, *(found.notes if found else ())))),
        versions=report_versions(),
    )


def _of_votes(settings: ReportSettings) -> dict[str, bool]:
    """Options that are about what counts do not have, and whether they were given."""
    return {
        "--by": settings.by not in (None, "none"),
        "--covariate": bool(settings.covariates),
        "--sequential": settings.sequential,
        "--assist": settings.assist is not None,
        "--image-set": settings.image_set is not None,
        "--looks": settings.looks is not None,
    }


def _refuse_options(settings: ReportSettings) -> None:
    """Options that would be silently without effect are errors."""
    needs_votes = {
        **_of_votes(settings),
        "--study": settings.study is not None,
        "--question": settings.question is not None,
        "an exclusion option": settings.rules != ExclusionRules(),
    }
    asked = [option for option, is_asked in needs_votes.items() if is_asked]
    if asked:
        raise InputError(
            f"{', '.join(asked)}: not with --from-counts, because counts do not have what it needs. Study, question "
            "and exclusions are chosen when the votes are counted: qsched votes count --help."
        )
