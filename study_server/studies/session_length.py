"""How many trials a session has and how long it lasts, for the plan, the consent page and `qsched study check`."""

from __future__ import annotations

from dataclasses import dataclass

from study_server.studies.design import StudyDesign

# A repeat right after its original tests memory, not consistency.
REPEAT_GAP = 6
# Consent and instructions are about 350 words, read at some 240 words a minute.
READING_SECONDS = 90
SCREENING_SECONDS = 20
DEMOGRAPHIC_SECONDS = 6
BREAK_SECONDS = 20
COMPREHENSION_SECONDS = 12
# Prolific: a short study may reject after one failed attention check, a longer one after two.
SHORT_MINUTES = 5


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """How many trials of each kind a session has."""

    practice: int
    warmup: int
    task: int
    gold: int
    instructed: int
    repeats: int
    traps: int = 0
    bias: int = 0

    @property
    def scored(self) -> int:
        """All but practice: what the progress bar counts and the consent page promises."""
        return self.warmup + self.task + self.gold + self.instructed + self.repeats + self.traps + self.bias


def count_trials(
    design: StudyDesign,
    *,
    task_pairs: int,
    practice_pairs: int,
    gold_pairs: int,
    trap_pairs: int = 0,
    bias_pairs: int = 0,
    seen: int = 0,
) -> TrialCounts:
    """The trials of a new session; `seen` task pairs of the study are known to this person already."""
    available = max(0, task_pairs - seen)
    warmup = min(design.warmup, max(0, available - 1))
    task = available - warmup
    if design.pairs_per_annotator is not None:
        task = min(task, design.pairs_per_annotator)
    return TrialCounts(
        practice=practice_pairs,
        warmup=warmup,
        task=task,
        gold=min(design.gold_shown, gold_pairs),
        instructed=design.instructed if task else 0,
        repeats=round(design.repeat_rate * task) if task > REPEAT_GAP else 0,
        traps=min(design.fidelity.traps.each if design.fidelity else design.hidden_traps, trap_pairs) if task else 0,
        bias=min(design.fidelity.bias_each if design.fidelity else design.bias_items, bias_pairs) if task else 0,
    )


def failures_allowed_to_reject(design: StudyDesign, trials: TrialCounts) -> int:
    """Prolific's rule: after one failed attention check in a study under five minutes, after two in a longer one."""
    return 1 if session_minutes(design, trials) < SHORT_MINUTES else 2


def session_minutes(design: StudyDesign, trials: TrialCounts) -> float:
    """Minutes from consent to the last page: reading, questions about oneself, device check, pairs and breaks."""
    screening = design.screening
    seconds = READING_SECONDS + DEMOGRAPHIC_SECONDS * len(design.demographics)
    if design.comprehension is not None:
        seconds += COMPREHENSION_SECONDS * len(design.comprehension.items)
    seconds += SCREENING_SECONDS * (screening.colour_plate + screening.grey_steps)
    seconds += BREAK_SECONDS * (max(0, trials.scored - 1) // design.block_length)
    return (seconds + (trials.scored + trials.practice) * design.seconds_per_vote) / 60
