"""The HTML page: findings in, one self-contained document out. The template is `page.html.j2`, the style "
"`page.css`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.findings import Findings
from analysis.report.kit.escape import visible_text
from analysis.report.kit.table import Table
from analysis.report.prose.methods import methods_paragraphs
from analysis.report.prose.summary import summary_points
from analysis.report.subjects.pictures import Example

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
LEAST_SCALE = 0.85
PARAGRAPH_PX = 46 * 16  # 46rem in page.css


@dataclass(frozen=True)
class Figure:
    """A figure inside the page. `svg` is our own drawing, already safe."""

    name: str
    title: str
    svg: Markup
    caption: str
    width_px: int

    @property
    def least_px(self) -> int:
        """The width below which the page scrolls the figure: its smallest label (8 points) is then 9 pixels high."""
        return math.ceil(LEAST_SCALE * self.width_px)

    @property
    def is_wide(self) -> bool:
        """Whether it needs more than the width of a paragraph."""
        return self.least_px > PARAGRAPH_PX


@dataclass(frozen=True)
class Section:
    """One section: paragraphs, figures, tables and a list, in this order; empty parts are left out."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    points: tuple[str, ...] = ()


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
    most_agreed: tuple[Example, ...]
    least_agreed: tuple[Example, ...]
    with_pictures: bool
    methods: tuple[str, ...]
    references: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    command: str


def render_page(context: PageContext) -> str:
    """The document; names from the votes are escaped by autoescape, and unseen characters made visible as spaces."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible_text
    return environment.get_template(TEMPLATE).render(vars(context))


def page_context(found: Findings, sections: tuple[Section, ...]) -> PageContext:
    """Words and tables for the page; `sections` come from `report.sections`."""
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
        facts.append(("Image set", f"{manifest.set_id}, backbone {manifest.backbone}, {manifest.steps} steps"))
    facts.append(("Versions", ", ".join(f"{name} {number}" for name, number in found.versions.items())))
    return facts
