"""The HTML page: findings in, one self-contained document out.

The template is `page.html.j2`, the style `page.css`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from analysis.report.drawings import Figures
from analysis.report.findings import Findings
from analysis.report.kit.escape import visible_text
from analysis.report.kit.section import Section
from analysis.report.prose.methods import methods_paragraphs
from analysis.report.prose.summary import summary_points
from analysis.report.subjects.pictures import ExamplePair
from qsched.pages import render_page

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
#: A table with more rows is folded: one line, opened by a click.
FOLDED_ROWS = 12
#: Sections of the short print, which has two pages with eight arms.
PRINTED = ("contrasts", "strengths", "groups", "collected")


@dataclass(frozen=True)
class PageContext:
    """Everything the template may use; a test compares its fields with the template's names."""

    title: str
    subtitle: str
    css: Markup
    simulated: str
    simulation: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    remedies: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    folded: int
    printed: tuple[str, ...]
    figures: Figures
    most_agreed: tuple[ExamplePair, ...]
    least_agreed: tuple[ExamplePair, ...]
    with_pictures: bool
    methods: tuple[str, ...]
    references: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    command: str


def report_page(context: PageContext) -> str:
    """The document; names from the votes are escaped by autoescape, and unseen characters made visible as spaces."""
    return render_page(FOLDER / TEMPLATE, filters={"visible": visible_text}, **vars(context))


def page_context(found: Findings, sections: tuple[Section, ...], figures: Figures) -> PageContext:
    """Words and tables for the page; `sections` come from `report.sections`, `figures` from `report.drawings`."""
    settings = found.settings
    paragraphs, references = methods_paragraphs(found)
    simulation = settings.simulation or {}
    examples = (*found.most_agreed, *found.least_agreed)
    return PageContext(
        title=settings.title,
        subtitle=_subtitle(found),
        css=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        simulated=_simulated_words(found),
        simulation=tuple((name, _value_words(value)) for name, value in simulation.items()),
        problems=() if found.existence is None else found.existence.problems,
        remedies=() if found.existence is None else found.existence.remedies,
        warnings=found.warnings,
        notes=found.notes,
        summary=summary_points(found),
        sections=sections,
        folded=FOLDED_ROWS,
        printed=PRINTED,
        figures=figures,
        most_agreed=found.most_agreed,
        least_agreed=found.least_agreed,
        with_pictures=any(example.pictures for example in examples),
        methods=paragraphs,
        references=references,
        facts=tuple(_facts(found)),
        command=settings.command,
    )


def _subtitle(found: Findings) -> str:
    parts = [f"{found.n_votes:,} votes"]
    if found.n_annotators is not None:
        parts.append(f"{found.n_annotators:,} {'simulated ' if found.n_simulated == found.n_votes else ''}annotators")
    if found.n_prompts is not None:
        parts.append(f"{found.n_prompts:,} prompts")
    parts.append(f"{len(found.arms)} arms")
    if found.study:
        parts.append(f"study {found.study}")
    return " · ".join(parts)


def _simulated_words(found: Findings) -> str:
    if not found.n_simulated:
        return ""
    if found.n_simulated == found.n_votes:
        return (
            "No person gave these votes. They come from simulated annotators, "
            "and nothing about human perception follows from them."
        )
    return (
        f"{found.n_simulated:,} of these {found.n_votes:,} votes come from simulated annotators. "
        "Nothing about human perception follows from the mixture."
    )


def _value_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_value_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value_words(item) for item in value)
    return str(value)


def _facts(found: Findings) -> list[tuple[str, str]]:
    facts = [("Votes from", ", ".join(found.sources))]
    if found.n_elsewhere:
        facts.append(("Not in this estimate", f"{found.n_elsewhere:,} votes on other questions or of other studies"))
    if found.image_set is not None:
        manifest = found.image_set.manifest
        note = "" if manifest.pairing_note is None else f"; {manifest.pairing_note}"
        facts.append(("Image set", f"{manifest.set_id}, backbone {manifest.backbone}, {manifest.steps_words}{note}"))
    facts.append(("Versions", ", ".join(f"{name} {number}" for name, number in found.versions.items())))
    return facts
