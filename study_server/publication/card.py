"""The study card: what a reader must know of a study to believe, repeat or reuse it.

It answers the lines of the reporting checklist of Otani et al. (CVPR 2023, "Toward verifiable and reproducible human
evaluation for text-to-image generation"): the task and its wording, numbers, recruitment, pay, time, agreement, labels,
filters, raw votes. Every figure comes from the exported file or the database; nothing of a person or a platform's id.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from qsched import __version__
from qsched.records import Kind
from study_server.clock import now_ms
from study_server.db import Statement, Tx
from study_server.export.votes import ExportSummary, pairs_left_out
from study_server.resources import CATALOGUES
from study_server.studies.panels import panel_of
from study_server.studies.session_length import session_minutes
from study_server.studies.study import Study

SETTING = Statement("SELECT status, set_id, created_ms FROM studies WHERE id = :study")
# Of task pairs, those of decided arms included: a trap's or a crop's picture is not an arm.
ARMS = Statement("""
    SELECT DISTINCT i.arm FROM pairs p
    LEFT JOIN ranked_sets k ON k.pair_id = p.id
    JOIN images i ON i.id IN (p.first_image_id, p.second_image_id, k.third_image_id, k.fourth_image_id)
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided') ORDER BY i.arm
""")
CONTENT = Statement("""
    SELECT COUNT(*), COUNT(DISTINCT prompt_id), SUM(CASE WHEN disabled THEN 1 ELSE 0 END)
    FROM pairs WHERE study_id = :study AND pool IN ('task', 'decided')
""")
SIZES = Statement("SELECT MIN(width), MAX(width), MIN(height), MAX(height) FROM images WHERE study_id = :study")
STATES = Statement("""
    SELECT state, COUNT(*), COUNT(DISTINCT annotator_id), SUM(CASE WHEN simulated THEN 1 ELSE 0 END),
           MIN(started_ms), MAX(started_ms)
    FROM sessions WHERE study_id = :study AND NOT preview GROUP BY state
""")
REASONS = Statement("""
    SELECT excluded_reason, COUNT(*) FROM annotators
    WHERE study_id = :study AND excluded_ms IS NOT NULL GROUP BY excluded_reason ORDER BY 2 DESC, 1
""")
LENGTHS = Statement("""
    SELECT finished_ms - started_ms FROM sessions
    WHERE study_id = :study AND NOT preview AND finished_ms IS NOT NULL AND state = 'finished'
""")
VERSIONS = Statement("SELECT COUNT(*) FROM design_versions WHERE study_id = :study")


SESSION_STATES = ("finished", "active", "screened_out", "not_understood", "excluded")
WITHOUT_PLATFORM = {"open": "an open link", "personal": "personal links"}


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """Agreement as the analysis computes it: the share of equal judgements, and Krippendorff's nominal alpha."""

    raw: float | None
    alpha: float | None
    alpha_low: float | None
    alpha_high: float | None
    items: int


def study_card(
    tx: Tx, study: Study, *, votes: Path, display: Path, exported: ExportSummary, agreement: AgreementFigures | None
) -> dict[str, Any]:
    """The card of a study as values for JSON; `votes` is the parquet file that `exported` describes, and `display` the
    one beside it."""
    status, set_id, created_ms = tx.one(SETTING, study=study.id) or ("", "", 0)
    states = {row[0]: row[1:] for row in tx.all(STATES, study=study.id)}
    design = study.design
    return {
        "schema_version": 1,
        "study": study.slug,
        "title": design.first(design.title),
        "made_by": f"qsched {__version__}",
        "made_at": _day(now_ms()),
        "status": status,
        "created": _day(created_ms),
        "design_versions": int(tx.scalar(VERSIONS, study=study.id)),
        "task": {
            "design": design.design,
            "questions": {question.id: design.first(question.text) for question in design.questions},
            "wording": _wording(study, display),
            "answers": _answers(study),
            "arms": [arm for (arm,) in tx.all(ARMS, study=study.id)],
            "image_set": set_id,
            **_content(tx, study),
        },
        "protocol": _protocol(study),
        "recruitment": _recruitment(study, states),
        "people": _people(tx, study, states),
        "time": _time(tx, study, votes),
        "votes": _votes(votes, exported),
        "quality": _quality(votes),
        "agreement": None
        if agreement is None
        else {
            "equal_judgements": agreement.raw,
            "krippendorff_alpha_nominal": agreement.alpha,
            "alpha_95": [agreement.alpha_low, agreement.alpha_high],
            "items_with_two_or_more": agreement.items,
        },
    }


def _content(tx: Tx, study: Study) -> dict[str, Any]:
    pairs, prompts, disabled = tx.one(CONTENT, study=study.id) or (0, 0, 0)
    narrow, wide, low, high = tx.one(SIZES, study=study.id) or (0, 0, 0, 0)
    sizes = f"{narrow} x {low}" if (narrow, low) == (wide, high) else f"{narrow} to {wide} x {low} to {high}"
    return {
        "prompts": int(prompts),
        "pairs": int(pairs),
        "pairs_taken_out": int(disabled or 0),
        "pairs_left_out": pairs_left_out(tx, study.id),
        "picture_size": f"{sizes} pixels",
    }


def _wording(study: Study, display: Path) -> dict[str, Any]:
    """Each question in the languages in which it was answered, as people read it, with the number of task answers.

    An answer from before the language was recorded counts under "unknown".
    """
    design = study.design
    shown = pl.scan_parquet(display).filter(pl.col("kind") == Kind.TASK.value)
    counts = shown.group_by("question", "language").len().sort("question", "language").collect()
    found: dict[str, Any] = {}
    for question, language, number in counts.iter_rows():
        if design.fidelity is not None and language is not None:
            text = json.loads((CATALOGUES / f"{language}.json").read_text(encoding="utf-8"))["fidelity.question"]
        else:
            asked = next(one for one in design.questions if one.id == question)
            text = design.words(asked.text, language or "").text
        found.setdefault(question, {})[language or "unknown"] = {"text": text, "answers": number}
    return found


def _answers(study: Study) -> list[str]:
    design = study.design
    if design.fidelity is not None:
        return ["left differs more", "right differs more", "not sure"]
    if design.ranking is not None:
        ties = ["pictures in one place"] if design.allow_tie else []
        return [
            f"the order of {design.ranking.pictures} pictures",
            *ties,
            *(["can't tell"] if design.allow_skip else []),
        ]
    sides = ["left much better", "left slightly better", "right slightly better", "right much better"]
    chosen = sides if design.strength else ["left", "right"]
    return [*chosen, *(["about the same"] if design.allow_tie else []), *(["can't tell"] if design.allow_skip else [])]


def _protocol(study: Study) -> dict[str, Any]:
    design, trials = study.design, study.count_trials()
    return {
        "votes_per_pair": design.votes_per_pair,
        "votes_per_triplet": _triplet_votes(study),
        "votes_total": design.votes_total,
        "adaptive": design.adaptivity is not None,
        "trials_per_session": trials.scored,
        "practice": trials.practice,
        "warmup": trials.warmup,
        "gold": trials.gold,
        "attention_checks": trials.instructed,
        "repeats": trials.repeats,
        "identical_pairs": trials.bias,
        "traps": trials.traps,
        "block_length": design.block_length,
        "max_minutes": design.max_minutes,
        "prompt_shown": design.show_prompt,
        "shown_at": design.show_at,
        "screening": design.screening.model_dump(mode="json", exclude_none=True),
        "questions_about_instructions": None
        if design.comprehension is None
        else {
            "asked": len(design.comprehension.items),
            "needed": design.comprehension.needed,
            "tries": design.comprehension.attempts,
        },
        "languages": list(design.languages),
        "sides": "drawn for each showing by a biased coin that evens out the pair, else the person",
        "tools": "synchronised zoom and pan, swap in place; nothing tells the arm",
    }


def _triplet_votes(study: Study) -> dict[str, Any] | None:
    """Votes of plain and boosted triplets and of arms with numbers of their own; None where all get the same."""
    own = None if study.design.fidelity is None else study.design.fidelity.votes
    return None if own is None else own.model_dump(mode="json", exclude_none=True)


def _recruitment(study: Study, states: dict[str, Any]) -> dict[str, Any]:
    design = study.design
    times = [row[3] for row in states.values()], [row[4] for row in states.values()]
    minutes = session_minutes(design, study.count_trials())
    return {
        "platform": panel_of(design.platform).title or WITHOUT_PLATFORM[design.platform.name],
        "first_session": _day(min(times[0])) if states else None,
        "last_session": _day(max(times[1])) if states else None,
        "consent_version": design.consent.version,
        "consent_text": design.consent.text,
        "asked_about_people": {item.id: design.first(item.label) for item in design.demographics},
        "pay_per_hour": None if design.pay is None else f"{design.pay.per_hour:g} {design.pay.currency}",
        "stated_minutes": round(minutes, 1),
    }


def _people(tx: Tx, study: Study, states: dict[str, Any]) -> dict[str, Any]:
    reasons = {reason: int(count) for reason, count in tx.all(REASONS, study=study.id)}
    return {
        "sessions": sum(int(row[0]) for row in states.values()),
        **{state: int(states.get(state, (0,))[0]) for state in SESSION_STATES},
        "simulated_sessions": sum(int(row[2] or 0) for row in states.values()),
        "excluded_people": reasons,
    }


def _time(tx: Tx, study: Study, votes: Path) -> dict[str, Any]:
    per_vote = pl.scan_parquet(votes).filter(pl.col("kind") == Kind.TASK.value).select("response_ms")
    quarter, half, most = (
        per_vote.select(pl.col("response_ms").quantile(share)).collect().item() for share in (0.25, 0.5, 0.75)
    )
    lengths = pl.Series([row[0] for row in tx.all(LENGTHS, study=study.id)], dtype=pl.Int64)
    middle = lengths.median()
    return {
        "seconds_per_vote_median": _seconds(half),
        "seconds_per_vote_quartiles": [_seconds(quarter), _seconds(most)],
        "minutes_per_finished_session_median": None if middle is None else round(float(str(middle)) / 60_000, 1),
    }


def _votes(votes: Path, exported: ExportSummary) -> dict[str, Any]:
    task = pl.scan_parquet(votes).filter(pl.col("kind") == Kind.TASK.value)
    # Triplet votes call it answer.
    label = "choice" if "choice" in task.collect_schema().names() else "answer"
    labels = task.group_by(label).len().collect()
    counts = Counter(dict(labels.iter_rows()))
    return {
        "rows_in_database": exported.rows_in_database,
        "exported": exported.written,
        "of_each_kind": exported.kinds,
        "simulated": exported.simulated,
        "left_out": {
            "superseded_by_a_correction": exported.superseded,
            "surplus": exported.surplus,
            "of_excluded_annotators": exported.excluded,
        },
        "task_labels": dict(sorted(counts.items())),
        "annotators": int(task.select(pl.col("annotator").n_unique()).collect().item()),
    }


def _quality(votes: Path) -> dict[str, Any]:
    table = pl.scan_parquet(votes)
    if "expected" not in table.collect_schema().names():
        return {}
    known = table.filter(pl.col("expected").is_not_null())
    found = {}
    for kind, name in ((Kind.GOLD, "gold"), (Kind.INSTRUCTED, "attention_checks")):
        judged = known.filter(pl.col("kind") == kind.value)
        if kind is Kind.GOLD:  # a tie or a skip is not judged
            judged = judged.filter(pl.col("choice").is_in(["left", "right"]))
        right, of = judged.select((pl.col("choice") == pl.col("expected")).sum(), pl.len()).collect().row(0)
        found[name] = {"right": int(right), "of": int(of)}
    return found


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else round(ms / 1000, 2)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
