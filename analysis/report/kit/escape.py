"""Make names from a file safe to print: in LaTeX, in a spreadsheet, and as a label on a page or a figure.

HTML needs nothing here: the page is a Jinja template with autoescape on. Names keep their exact value in
`winrates.json`; everywhere else a name is shown through one of these functions.
"""

from __future__ import annotations

import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
}

# A cell that begins with one of these is a formula to Excel, LibreOffice and Google Sheets (OWASP "CSV injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff0b", "\uff0d", "\uff1d", "\uff20")


def latex_text(text: str) -> str:
    """Escape `text` so that LaTeX prints it and runs nothing in it; control characters become spaces."""
    return "".join(_LATEX.get(character, character) for character in visible_text(text))


def csv_cell(text: str) -> str:
    """Return `text` as a cell that no spreadsheet runs: a formula start gets an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def visible_text(text: str) -> str:
    """Replace characters that are invisible or change the reading direction (control, format, surrogate) by spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def short_label(text: str, *, width: int = 28) -> str:
    """`text` for an axis: visible characters only, and at most `width` of them with the middle left out."""
    label = " ".join(visible_text(text).split()) or "(blank)"
    if len(label) <= width:
        return label
    head = (width - 1) * 2 // 3
    return f"{label[:head]}…{label[-(width - 1 - head) :]}"


def short_labels(names: tuple[str, ...], *, width: int = 28) -> tuple[str, ...]:
    """Labels for `names` that stay different from each other: if shortening makes two alike, a number is added."""
    labels = [short_label(name, width=width) for name in names]
    seen: dict[str, int] = {}
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[index] = f"{label} ({seen[label]})"
    return tuple(labels)
