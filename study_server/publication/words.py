"""The study card as a page of Markdown, with the header that Hugging Face reads from a data set's README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from qsched.records.curation import count_words

HEADINGS = {
    "task": "Task",
    "protocol": "Protocol",
    "recruitment": "Recruitment",
    "people": "People",
    "time": "Time",
    "votes": "Votes",
    "quality": "Quality",
    "agreement": "Agreement",
}

CONTENTS = {
    "votes": "the votes, one row per answer, under pseudonyms",
    "display": "how each vote looked on the screen: language of the question, swaps, zoom, scale, window, time hidden",
    "sessions": "one row per session: state, times, consent version, device check",
    "reports": "pairs that annotators reported",
    "demographics": "what people answered about themselves",
}


def card_page(card: Mapping[str, Any], *, tables: Mapping[str, str], looks: str | None = None) -> str:
    """The card as README.md; `tables` names each parquet file by what it holds, `looks` the file of a stopping rule."""
    configs = [{"config_name": name, "data_files": file} for name, file in tables.items()]
    header = yaml.safe_dump(
        {"pretty_name": card["title"], "tags": ["human-evaluation", "text-to-image"], "configs": configs},
        sort_keys=False,
        allow_unicode=True,
    )
    parts = [f"---\n{header}---\n", f"# Study card: {card['title']}\n", f"{methods(card)}\n"]
    for key, heading in HEADINGS.items():
        parts.append(f"## {heading}\n")
        section = card[key]
        if not section:
            parts.append("Not computed.\n")
            continue
        parts.append("".join(f"- **{_words(name)}**: {_value(value)}\n" for name, value in section.items()))
    parts.append("## Files\n")
    parts.append("".join(f"- `{file}`: {CONTENTS[name]}\n" for name, file in tables.items()))
    if looks is not None:
        parts.append(f"- `{looks}`: the stopping rule and what each planned look found; it belongs beside the votes\n")
    parts.append("- `study-card.json`: this card as data\n- `SHA256SUMS`: checksums (`sha256sum -c SHA256SUMS`)\n")
    return "\n".join(parts)


def methods(card: Mapping[str, Any]) -> str:
    """A paragraph for a paper's methods section."""
    return " ".join(_sentences(card))


def _sentences(card: Mapping[str, Any]) -> Iterator[str]:
    task, protocol, people, votes = card["task"], card["protocol"], card["people"], card["votes"]
    time, recruitment, agreement = card["time"], card["recruitment"], card["agreement"]
    questions = "; ".join(f"“{text}”" for text in task["questions"].values())
    if task["design"] == "fidelity":
        yield (
            f"Annotators saw {task['pairs']} triplets of {task['prompts']} prompts, a reference and two test pictures "
            f"of {len(task['arms'])} arms, blind, and answered {questions} ({', '.join(task['answers'])})."
        )
    elif task["design"] == "ranking":
        yield (
            f"Annotators put {task['pairs']} sets of pictures of {task['prompts']} prompts from {len(task['arms'])} "
            f"arms in order, beside one another and blind, and answered {questions} ({', '.join(task['answers'])}). "
            "A ranking is counted as one vote for every two of its pictures."
        )
    else:
        yield (
            f"Annotators compared {task['pairs']} pairs of pictures of {task['prompts']} prompts from "
            f"{len(task['arms'])} arms, side by side and blind, and answered {questions} "
            f"({', '.join(task['answers'])})."
        )
    if task["pairs_left_out"]:
        yield (
            f"{sum(task['pairs_left_out'].values())} further pairs of the image set were left out before anybody saw "
            f"them: {count_words(task['pairs_left_out'])}."
        )
    wanted = f"{protocol['votes_total']} valid votes together" if protocol["votes_total"] else _votes_words(protocol)
    yield (
        f"The design asked for {wanted}, in sessions of {protocol['trials_per_session']} trials (pairs with a known "
        f"answer: {protocol['gold']}; attention checks: {protocol['attention_checks']}; repeated pairs: "
        f"{protocol['repeats']})."
    )
    paid = "" if recruitment["pay_per_hour"] is None else f", paid at {recruitment['pay_per_hour']} per hour"
    first, last = recruitment["first_session"], recruitment["last_session"]
    when = "" if not people["sessions"] else f" on {first}" if first == last else f" between {first} and {last}"
    yield f"People came through {recruitment['platform']}{when}{paid}."
    left = votes["left_out"]
    unread = people["not_understood"]
    misread = f", {unread} ended at the questions about the instructions" if unread else ""
    yield (
        f"Of {people['sessions']} sessions, {people['finished']} were finished and {people['screened_out']} screened "
        f"out by their device{misread}; {_people(sum(people['excluded_people'].values()))} excluded."
    )
    yield (
        f"The data hold {votes['exported']} answers of {votes['annotators']} annotators; "
        f"{left['superseded_by_a_correction']} corrected, {left['surplus']} surplus and "
        f"{left['of_excluded_annotators']} answers of excluded annotators were left out."
    )
    if votes["simulated"]:
        yield f"{votes['simulated']} of the answers are simulated: software gave them, not people."
    if time["seconds_per_vote_median"] is not None:
        yield f"The median time of a task vote was {time['seconds_per_vote_median']} s."
    if agreement is not None and agreement["krippendorff_alpha_nominal"] is not None:
        low, high = agreement["alpha_95"]
        bounds = "" if low is None else f" (95 % interval {low:.2f} to {high:.2f})"
        yield f"Krippendorff's alpha (nominal) was {agreement['krippendorff_alpha_nominal']:.2f}{bounds}."


def _votes_words(protocol: Mapping[str, Any]) -> str:
    """So many votes per pair, and what plain and boosted triplets and single arms get instead."""
    own = dict(protocol["votes_per_triplet"] or {})
    by_arm = own.pop("arms", {})
    said = [f"{number} per {shown} triplet" for shown, number in own.items()]
    said += [f"{number} per {shown} triplet of {arm}" for arm, one in by_arm.items() for shown, number in one.items()]
    if not said:
        return f"{protocol['votes_per_pair']} valid votes per pair"
    return f"{protocol['votes_per_pair']} valid votes per pair, but {', '.join(said)}"


def _people(count: int) -> str:
    return "1 person was" if count == 1 else f"{count} people were"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(str(name))}: {_value(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else " ".join(str(value).split())
