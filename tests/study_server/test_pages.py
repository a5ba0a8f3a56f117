"""Every template compiles and uses exactly what its context class offers."""

from __future__ import annotations

import dataclasses

import pytest
from jinja2 import meta, nodes

from study_server.admin.pages import ADMIN_PAGES
from study_server.participation.pages import PAGES
from study_server.resources import resource_folder
from study_server.web.templating import GLOBALS, Pages

FOLDER = resource_folder("templates")
NAMES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.html"))


@pytest.mark.parametrize("name", NAMES)
def test_every_template_compiles(name):
    Pages(static_root="/static").environment.get_template(name)


ADMIN_GLOBALS = {"static_root", "csrf_token", "owner", "place", "done", "utc"}


@pytest.mark.parametrize("page", PAGES + ADMIN_PAGES, ids=lambda page: page.__name__)
def test_a_template_uses_only_what_its_context_offers_and_all_of_it(page):
    environment = Pages(static_root="/static").environment
    tree = environment.parse((FOLDER / page.template).read_text(encoding="utf-8"))
    macros = {
        name if isinstance(name, str) else name[1] for item in tree.find_all(nodes.FromImport) for name in item.names
    }
    used = meta.find_undeclared_variables(tree) - (ADMIN_GLOBALS if page in ADMIN_PAGES else GLOBALS) - macros
    offered = {field.name for field in dataclasses.fields(page)}
    assert used <= offered, f"{page.template} uses {used - offered}, which {page.__name__} does not offer"
    # What is kept for the record rather than for the reader.
    assert offered - used <= {"consent_version", "error", "show_prompt"}, f"{page.template} leaves out {offered - used}"
