"""What comes from a file cannot become markup, and a table that does not fit its columns is not drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

import qsched
from qsched.pages import Cell, Figure, Table, render_page


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "page.html.j2"
    path.write_text(
        "{% extends 'base.html.j2' %}{% from 'parts.html.j2' import table, figure %}"
        "{% block content %}{{ table(t) }}{{ figure(f) }}{% endblock %}"
    )
    return path


def test_names_are_escaped_everywhere_and_our_own_drawing_is_not(template) -> None:
    table = Table(("<i>", "<j>"), (("<a>", Cell("<b>", "<c>", css="x")),), caption="<d>")
    page = render_page(template, title="<t>", t=table, f=Figure("<svg></svg>", "<e>"))
    assert not any(f"<{name}>" in page for name in "ijacdet") and "<svg></svg>" in page
    assert page.count("&lt;") == 10  # the title twice, and the column of the second cell as its label
    assert 'data-label="&lt;j&gt;"' in page and "http" not in page


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
        Table(("a", "b"), (("x",),))


def test_a_name_that_the_context_lacks_is_an_error(template) -> None:
    with pytest.raises(UndefinedError, match="'f' is undefined"):
        render_page(template, title="t", t=Table(("a",), ()))


def test_every_template_of_the_package_compiles() -> None:
    from jinja2 import Environment

    templates = list(Path(qsched.__file__).parent.rglob("*.j2"))
    assert len(templates) >= 5
    for path in templates:
        Environment().parse(path.read_text(encoding="utf-8"), filename=str(path))
