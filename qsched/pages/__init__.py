"""The pages that qsched writes: one base page, one table, one figure; a page adds its own template.

Used by the contact sheet, the calibration report and the score report. Autoescape is on, so a name or a prompt from a
file cannot become markup; figures are our own SVG and are passed as `Markup`. Nothing is fetched from a network.
"""

from __future__ import annotations

from qsched.pages.drawing import svg_of
from qsched.pages.page import Cell, Figure, Table, render_page

__all__ = ["Cell", "Figure", "Table", "render_page", "svg_of"]
