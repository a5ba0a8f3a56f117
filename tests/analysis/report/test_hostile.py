"""Names from a votes file can hold anything; no output runs them or breaks on them."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET

import pytest

from analysis.report.kit.escape import csv_cell, latex_text, short_label, short_labels, visible_text
from tests.analysis.report.conftest import MakeReport, Report
from tests.analysis.report.simulated import simulated_votes, write_image_set

SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://evil","x")'
LATEX = r"\input{/etc/passwd} $x_1$ 50% & #1"
TURNED = "right\u202eot-left\x07 {{ 7*7 }} --> ]]>"


@pytest.fixture(scope="module")
def hostile(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Report:
    strengths = {SCRIPT: 0.3, FORMULA: 0.0, LATEX: -0.1, TURNED: -0.2}
    votes = simulated_votes(strengths, n_annotators=20, votes_each=60)
    folder = write_image_set(tmp_path_factory.mktemp("set") / "set", votes, sizes={SCRIPT: 10**6, FORMULA: 2 * 10**6})
    return make_report(
        votes,
        drawn=True,
        title=f"Title {SCRIPT}",
        image_set=folder,
        simulation={SCRIPT: FORMULA},
        command=f"x '{SCRIPT}'",
    )


def test_the_page_holds_no_script_and_no_markup_from_names(hostile: Report) -> None:
    page = hostile.page
    assert "<script" not in page.lower()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page  # shown, not evaluated
    assert "\u202e" not in page and "\x07" not in page
    assert not re.search(r"<[a-z]+[^>]*\son\w+=", page)


def test_no_csv_cell_is_a_formula(hostile: Report) -> None:
    for path in hostile.folder.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                for cell in row:
                    is_number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell) is not None
                    assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (path.name, cell)


def test_latex_tables_hold_no_command_from_a_name(hostile: Report) -> None:
    for path in (hostile.folder / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert r"\input" not in text
        assert r"\textbackslash{}input\{/etc/passwd\} \$x\_1\$ 50\% \& \#1" in text or LATEX[6:20] not in text
        assert text.count("\\begin{tabular}") == 1 and text.count("\\bottomrule") == 1


def test_json_keeps_names_exactly(hostile: Report) -> None:
    assert {row["arm"] for row in hostile.document["strengths"]} == {SCRIPT, FORMULA, LATEX, TURNED}


def test_figures_are_well_formed_and_show_dollar_signs_as_text(hostile: Report) -> None:
    paths = list((hostile.folder / "figures").glob("*.svg"))
    assert paths
    for path in paths:
        ET.fromstring(path.read_text(encoding="utf-8"))


def test_arms_with_one_long_beginning_stay_different_on_an_axis() -> None:
    labels = short_labels(("x" * 60 + "a" + "y" * 60, "x" * 60 + "b" + "y" * 60, "z"))
    assert len(set(labels)) == 3 and all(len(label) < 40 for label in labels)


def test_escapes_of_single_strings() -> None:
    assert csv_cell("=1+1") == "'=1+1" and csv_cell("w4a8+qsched") == "w4a8+qsched" and csv_cell("") == ""
    assert latex_text("a_b\\c") == r"a\_b\textbackslash{}c"
    assert visible_text("a\u200bb\nc") == "a b c"
    assert short_label("  \n ") == "(blank)"


def test_a_hostile_title_does_not_leave_the_output_folder(make_report: MakeReport) -> None:
    made = make_report(simulated_votes(votes_each=10), title="../../etc/passwd")
    assert sorted(p.name for p in made.folder.parent.iterdir()) == ["out", "votes.parquet"]
