"""Sphinx: the documentation site, from the Markdown pages of the repository. Built with `make docs`.

The source folder is the root of the repository, so that links between README, docs and benchmarks work both here and
where the repository is read.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsched import __version__
from tools.reference_pages import write_reference

project = "qsched"
author = "the qsched authors"
release = version = __version__
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/results/*.md"]
exclude_patterns = ["docs/conf.py"]
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = f"qsched {release}"
html_static_path: list[str] = []
# Result pages are reached from the numbers that cite them.
suppress_warnings = ["toc.not_included"]


def setup(_: object) -> None:
    """Write the pages that come from the code before the sources are read."""
    write_reference(Path(__file__).parent / "reference")
