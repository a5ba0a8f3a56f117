"""Figures: nothing covers the data, labels can be read, and every character is drawn or named as missing."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.text import Text

from analysis.report.drawings import draw_all
from analysis.report.kit import fonts
from analysis.report.kit.section import LEAST_SCALE, DrawnFigure
from analysis.report.kit.style import RC
from analysis.report.sections import report_sections
from analysis.report.settings import Format
from analysis.report.subjects.pairs import draw_matrix
from analysis.report.subjects.pictures import load_image_set
from analysis.report.subjects.session import OrderBin, draw_session
from analysis.report.subjects.size import draw_size, size_section
from analysis.report.subjects.strengths import draw_strengths
from analysis.stats import Estimate, EstimateSettings, RawPair, estimate
from tests.analysis.conftest import counts_of, draw_study
from tests.analysis.report.conftest import MakeReport
from tests.analysis.report.simulated import simulated_votes, write_image_set

NOWHERE = "\U000f1234"  # private use: no font of the list has it


def test_legends_of_the_session_figure_lie_outside_the_data_and_extreme_points_inside() -> None:
    bins = tuple(OrderBin(4 * i + 1, 4 * i + 4, 4, 4 * (i % 2), 4 * (1 - i % 2), 0, 900, 800, 2000) for i in range(4))
    with matplotlib.rc_context(RC):
        figure = draw_session(bins, ((100.0, 200.0, 3), (200.0, 400.0, 5))).figure
        figure.draw_without_rendering()
        for panel in figure.axes[:2]:
            legend = panel.get_legend()
            assert legend is not None
            assert legend.get_window_extent().y0 >= panel.get_window_extent().y1 - 1
    low, high = figure.axes[0].get_ylim()
    assert low < 0 and high > 100


@pytest.mark.parametrize("n_arms", [3, 14, 30])
def test_the_smallest_label_of_a_win_rate_matrix_is_nine_pixels_high_on_the_page(n_arms: int) -> None:
    arms = tuple(f"arm{i:02d}" for i in range(n_arms))
    raw = tuple(
        RawPair(a, b, 1234, 600, 600, 34, 0.5, 0.4, 0.6, 0.05, 0.5, 0.03, 10, 10, "clustered")
        for a, b in combinations(arms, 2)
    )
    with matplotlib.rc_context(RC):
        figure = draw_matrix(raw, arms, {}).figure
        figure.draw_without_rendering()
    points = min(float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text())
    assert points * 96 / 72 * LEAST_SCALE >= 9


def test_the_page_never_shrinks_a_figure_below_its_least_width_however_wide_it_is(make_report: MakeReport) -> None:
    made = make_report(
        simulated_votes({f"arm{i:02d}": 0.1 * i for i in range(16)}, votes_each=60), drawn=True, by="none"
    )
    width = draw_all(report_sections(made.found), fonts=made.found.fonts, formats=("svg",))["pairs"][0].width_px
    figure = DrawnFigure("winrates", "", made.page, "", width, {})
    assert figure.least_px >= LEAST_SCALE * width
    assert f"min-width:{figure.least_px}px" in made.page
    assert (
        not DrawnFigure("small", "", figure.svg, "", 600, {}).is_wide
        and DrawnFigure("big", "", figure.svg, "", 1200, {}).is_wide
    )


def test_a_character_that_no_font_has_gives_one_warning_of_ours_that_names_the_arm(make_report: MakeReport) -> None:
    formats: tuple[Format, ...] = ("svg", "png", "pdf")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        made = make_report(
            simulated_votes({f"x{NOWHERE}": 0.2, "plain": 0.0}, votes_each=10), drawn=True, formats=formats
        )
    boxes = [warning for warning in made.document["warnings"] if "boxes" in warning]
    assert len(boxes) == 1
    assert repr(f"x{NOWHERE}") in boxes[0] and "'plain'" not in boxes[0] and "Install" in boxes[0]


def test_names_in_common_scripts_need_no_other_font() -> None:
    assert fonts.fonts_for(("fp32", "Größe", "модель", "μ≈3 → ok")) == fonts.Fonts()


def test_the_font_of_the_figures_has_the_outlines_and_widths_of_matplotlibs_own() -> None:
    ours, whole = (FT2Font(font_manager.findfont(family)) for family in (fonts.BASE, fonts.WHOLE))
    assert (ours.family_name, whole.family_name) == (fonts.BASE, fonts.WHOLE)
    for character in "aQ0%–→≈éßΩЖ()":
        drawn = []
        for font in (ours, whole):
            font.set_size(10, 72)
            glyph = font.load_char(ord(character), flags=LoadFlags.NO_SCALE)
            points, codes = font.get_path()
            drawn.append((glyph.horiAdvance, points.tolist(), codes.tolist()))
        assert drawn[0] == drawn[1], character


def test_a_script_that_only_the_whole_font_has_needs_nothing_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "installed_fallbacks", lambda: pytest.fail("looked for installed fonts"))
    assert fonts.fonts_for(("Հայ",)) == fonts.Fonts((fonts.BASE, fonts.WHOLE))


def test_an_installed_font_stands_in_for_characters_that_the_first_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fonts that come with matplotlib: the second has a sign of its own that the others lack.
    sign = min(fonts.characters_of("STIXGeneral") - fonts.characters_of(fonts.BASE) - fonts.characters_of(fonts.WHOLE))
    monkeypatch.setattr(fonts, "installed_fallbacks", lambda: ("cmr10", "STIXGeneral"))
    found = fonts.fonts_for((f"a{sign}", f"b{NOWHERE}"))
    assert found.families[-1] == "STIXGeneral" and found.missing == {NOWHERE}
    assert found.lacking(("a", f"b{NOWHERE}")) == (f"b{NOWHERE}",)


def drawn_widths(result: Estimate) -> dict[str, float]:
    """The width of each arm's bar in the figure of strengths."""
    with matplotlib.rc_context(RC):
        axes = draw_strengths(result).figure.axes[0]
    names = {text.get_position()[1]: text.get_text() for text in axes.texts}
    bars = axes.collections[0].get_segments()
    return {names[bar[0][1]]: bar[1][0] - bar[0][0] for bar in bars}


def test_an_arm_with_three_votes_does_not_widen_the_drawn_intervals_of_the_others() -> None:
    sandwich = EstimateSettings(method="sandwich")
    study = draw_study(annotators=30, each=50)
    more = {name: list(values) for name, values in study.items()}
    for number, choice in enumerate(("left", "right", "left")):
        row = {"left": "late", "right": f"arm{number}", "choice": choice}
        for name, value in {**row, "annotator": f"ann{number:02d}", "prompt": f"pr{number:02d}"}.items():
            more[name].append(value)
    before, after = (drawn_widths(estimate(counts_of(votes), sandwich)) for votes in (study, more))
    assert set(after) == {*before, "late"}
    for arm, width in before.items():
        assert after[arm] == pytest.approx(width, rel=0.15)
    assert after["late"] > 5 * max(before.values())


def test_elo_against_size_draws_simulated_arms_at_their_packed_size_and_names_arms_without_one(tmp_path: Path) -> None:
    result = estimate(counts_of(draw_study()), EstimateSettings(method="sandwich"))
    votes = simulated_votes({"fp32": 0.0, "arm1": 0.0, "arm2": 0.0}, n_annotators=2, n_prompts=2)
    sizes = {"fp32": 23_000_000, "arm1": 6_000_000}
    image_set = load_image_set(write_image_set(tmp_path / "set", votes, sizes=sizes))
    names = {"arm0": "fp32"}
    result = replace(result, strengths=tuple(replace(row, arm=names.get(row.arm, row.arm)) for row in result.strengths))
    assert image_set.sizes() == sizes, "arm2 is simulated: its floats in memory are not its size"
    draft = draw_size(result, image_set.sizes(), simulated=frozenset({"arm1", "arm2"}))
    axes = draft.figure.axes[0]
    points = {round(float(line.get_xdata()[0])) for line in axes.lines if line.get_marker() == "o"}
    assert points == set(sizes.values())
    assert {text.get_text() for text in axes.texts} == {"fp32", "arm1 (packed)"}
    assert draft.caption.endswith("Not drawn, because the manifest has no size for them: arm2, arm3.")
    one = load_image_set(write_image_set(tmp_path / "one", votes, sizes={"fp32": 23_000_000}))
    section = size_section(result, one)
    assert not section.figures and "packed_bytes" in section.paragraphs[0]


@pytest.mark.parametrize(
    ("smallest", "biggest", "labels"),
    [
        (6_000_000, 6_000_000, ["4 MB", "5 MB", "6 MB", "8 MB"]),
        (5_000_000, 23_000_000, ["5 MB", "10 MB", "20 MB"]),
        (3_000_000, 24_000_000_000, ["10 MB", "100 MB", "1 GB", "10 GB"]),
    ],
)
def test_ticks_of_the_size_axis_are_round_and_have_room(smallest: int, biggest: int, labels: list[str]) -> None:
    result = estimate(counts_of(draw_study()), EstimateSettings(method="sandwich"))
    axes = draw_size(result, {"arm0": smallest, "arm1": biggest}, simulated=frozenset()).figure.axes[0]
    assert [text.get_text().replace("\u00a0", " ") for text in axes.get_xticklabels()] == labels
