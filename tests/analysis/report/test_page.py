"""The page: self-contained, structured for a screen reader, and its template asks for what its context has."""

from __future__ import annotations

import re
from dataclasses import fields
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, meta, nodes

import analysis.report.page as page_module
from analysis.report.kit.style import CSS_VARIABLES
from analysis.report.page import TEMPLATE, PageContext
from analysis.report.subjects.influence import Influence, influence_words
from analysis.stats.annotator_results import InfluenceRow
from tests.analysis.report.conftest import MakeReport, Report
from tests.analysis.report.simulated import simulated_votes

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Outline(HTMLParser):
    """Collects what the tests ask about: tags with attributes, headings, ids, and whether tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.misnested: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.misnested.append(tag)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag in names]


def test_the_template_uses_every_field_of_its_context_and_no_other() -> None:
    folder = Path(page_module.__file__).parent
    environment = Environment(loader=FileSystemLoader(folder))
    environment.filters["visible"] = str
    source = (folder / TEMPLATE).read_text(encoding="utf-8")
    tree = environment.parse(source)
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    assert meta.find_undeclared_variables(tree) - macros == {f.name for f in fields(PageContext)}


def test_tags_nest_and_ids_are_unique(report: Report) -> None:
    outline = Outline(report.page)
    assert outline.misnested == [] and outline.stack == []
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_has_its_target(report: Report) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', report.page))
    assert set(re.findall(r'href="#([^"]+)"', report.page)) <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", report.page)) <= ids
    for labelled in re.findall(r'aria-labelledby="([^"]+)"', report.page):
        assert set(labelled.split()) <= ids


def test_nothing_is_fetched_from_outside(report: Report) -> None:
    outline = Outline(report.page)
    assert all((attrs["src"] or "").startswith("data:image/") for attrs in outline.all("img"))
    assert outline.all("script", "link", "iframe") == []
    assert all((attrs.get("href") or "#").startswith("#") for attrs in outline.all("a"))
    assert "default-src 'none'" in report.page


def test_a_screen_reader_finds_language_headings_captions_and_alternatives(report: Report) -> None:
    outline = Outline(report.page)
    assert outline.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert len(outline.all("table")) == len(outline.all("caption")) >= 6
    assert all(attrs.get("scope") in ("col", "row") for attrs in outline.all("th"))
    assert all(attrs.get("alt") for attrs in outline.all("img"))
    drawings = outline.all("svg")
    assert len(drawings) >= 6
    assert all(attrs.get("role") == "img" and attrs.get("aria-labelledby") for attrs in drawings)
    assert len(outline.all("main")) == 1 and outline.all("nav")[0]["aria-label"]


def test_figures_take_the_colours_of_the_page(report: Report) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", report.page, re.DOTALL))
    assert "var(--ink)" in drawings and "var(--blue)" in drawings
    assert [colour for colour in CSS_VARIABLES if colour in drawings] == []


def test_text_has_enough_contrast_in_light_and_dark() -> None:
    css = (Path(page_module.__file__).parent / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r"--paper:.*?}", css, re.DOTALL)
    assert len(blocks) == 3  # light, dark, print
    for block in blocks:
        colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for ink in ("ink", "muted", "blue", "orange", "red", "amber"):
            assert contrast(colour[ink], colour["paper"]) >= 4.5, (ink, block)
        assert contrast(colour["red"], colour["red-wash"]) >= 4.5
        assert contrast(colour["amber"], colour["amber-wash"]) >= 4.5


def contrast(one: str, two: str) -> float:
    """Contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_simulated_votes_are_shouted_with_their_parameters(report: Report) -> None:
    head = report.page.split('id="summary-title"')[0]
    assert "SIMULATED VOTES." in head and "annotators" in head and "<dd>24</dd>" in head


def test_pictures_of_the_examples_stand_in_the_page(report: Report) -> None:
    outline = Outline(report.page)
    assert len(outline.all("img")) == 12  # three most and three least agreed pairs, two pictures each
    assert "a plain square called prompt-" in report.page


def test_notes_under_the_annotators_explain_only_columns_that_are_there(
    report: Report, make_report: MakeReport
) -> None:
    assert "Fast: answered in less than" in report.page
    timeless = make_report(simulated_votes(votes_each=20).drop("response_ms")).page
    assert "Fast: answered in less than" not in timeless and "Reliability: the estimated chance" in timeless


def test_one_turned_pair_is_one_case() -> None:
    row = InfluenceRow("prompt", "p1", 9, "a", "b", 0.1, 0.5, changes_order=True, method="exact")
    (text,) = influence_words(Influence(prompts=(row,)), claims=())
    assert "in one case: prompt p1 (a and b)." in text and "cases" not in text
