"""The catalogues: every language says everything, with the same placeholders; every key that is used exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study_server.resources import CATALOGUES, languages
from study_server.web.catalogue import CatalogueError, choose_language, load_catalogue

ROOT = Path(__file__).parents[2]
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("language", languages())
def test_every_language_has_every_key_and_placeholder_of_english_and_no_more(language):
    english, other = load_catalogue().texts, load_catalogue(language).texts
    plural_forms = {key for key in other.keys() - english.keys() if re.search(r"\.(zero|one|two|few|many|other)$", key)}
    assert other.keys() - plural_forms == english.keys()
    for key, text in english.items():
        assert set(PLACEHOLDER.findall(other[key])) == set(PLACEHOLDER.findall(text)), key
        assert other[key].strip(), key


def test_every_key_that_templates_and_scripts_name_exists():
    texts = load_catalogue().texts
    used = set()
    for path in [*(ROOT / "templates").rglob("*.html"), *(CATALOGUES.parent / "js").glob("*.js")]:
        source = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"""\bt\(\s*["']([a-z_.]+)["']\s*[,)]""", source))
        for key in re.findall(r"""\btn\(\s*["']([a-z_.]+)["']""", source):
            used |= {f"{key}.one", f"{key}.other"}
    assert len(used) > 80
    assert used <= texts.keys(), used - texts.keys()


def test_no_template_carries_inline_script_or_style():
    for path in (ROOT / "templates").rglob("*.html"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)", source), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", source), path


@pytest.mark.parametrize(
    ("header", "requested", "chosen"),
    [
        ("", None, "en"),
        ("de-AT,de;q=0.9,en;q=0.8", None, "de"),
        ("xx,de;q=0.5", None, "de"),
        ("en;q=0.2,de;q=0.9", None, "de"),
        ("de", "en", "en"),
        ("de", "xx", "de"),
        ("de;q=0, en", None, "en"),
        ("de;q=x", None, "en"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_browsers_best(header, requested, chosen):
    assert choose_language(header, requested=(requested,)) == chosen


def test_only_a_language_that_is_offered_is_chosen_and_the_first_where_none_fits():
    assert choose_language("de", requested=("es",), offered=("en", "de")) == "de"
    assert choose_language("de", requested=("ar", "es"), offered=("en", "es")) == "es"
    assert choose_language("ar", requested=("xx",), offered=("es", "de")) == "es"


def test_a_missing_key_or_value_is_an_error_and_not_a_blank():
    with pytest.raises(CatalogueError, match=r"no text for 'nothing\.here'"):
        load_catalogue().text("nothing.here")
    with pytest.raises(CatalogueError, match="needs a value for 'n'"):
        load_catalogue().text("thanks.answered")
    with pytest.raises(CatalogueError, match="there are en"):
        load_catalogue("xx")
