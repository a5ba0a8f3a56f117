"""The languages of a study, for its owner: which texts their readers get in another one."""

from __future__ import annotations

from study_server.studies.design import StudyDesign

MOST_NAMED = 4


def language_notes(design: StudyDesign) -> list[str]:
    """One line for each offered language that lacks some of the owner's texts; none if every text is there."""
    lines = []
    for language in design.languages:
        missing = design.fallbacks(language)
        if missing:
            others = {design.words(text, language).language for _, _, text in design.own_texts()} - {language}
            named = ", ".join(missing[:MOST_NAMED]) + (
                f" and {more} more" if (more := len(missing) - MOST_NAMED) > 0 else ""
            )
            lines.append(f"readers of {language} get these texts in {', '.join(sorted(others))}: {named}")
    return lines
