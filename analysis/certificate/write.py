"""The certificate as one JSON document and one HTML page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.certificate.judge import Certificate
from analysis.certificate.result import Number
from analysis.versions import used_versions
from qsched.files import write_atomic
from qsched.pages import Table, render_page

TEMPLATE = Path(__file__).parent / "page.html.j2"
STATUS = {True: "exploratory", False: "registered"}


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    """Everything on the page, with numbers unrounded, and the versions; a bound that does not exist is null."""
    plan = certificate.registered.plan
    return {
        "schema_version": 1,
        "status": STATUS[bool(certificate.exploratory)],
        "exploratory_because": list(certificate.exploratory),
        "registration": plan.model_dump(mode="json"),
        "registration_sha256": certificate.registered.sha256 or None,
        "reference": certificate.reference,
        "clauses": [
            asdict(clause)
            | {"verdict": clause.verdict, "numbers": {name: _finite(value) for name, value in clause.numbers.items()}}
            for clause in certificate.clauses
        ],
        "votes_read": certificate.screened.n_read,
        "votes_used": certificate.screened.table.n_votes,
        "simulated_votes": certificate.simulated,
        "excluded": [
            {"reason": reason, "votes": votes, "people": people}
            for reason, votes, people in certificate.screened.excluded
        ],
        "traps": {"seen": certificate.screened.n_traps, "right": certificate.screened.n_traps_right},
        "under_other_assumptions": [{"rule": rule, "mean_clause": words} for rule, words in certificate.sensitivity],
        "versions": used_versions("numpy", "scipy", "polars", "jinja2"),
    }


def _finite(value: Number) -> Number:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_certificate(certificate: Certificate, folder: Path) -> tuple[Path, Path]:
    """Write certificate.html and certificate.json into the folder; each appears whole or not at all."""
    page, document = folder / "certificate.html", folder / "certificate.json"
    text = json.dumps(certificate_json(certificate), indent=1, allow_nan=False) + "\n"
    write_atomic(document, text.encode(), parents=True)
    write_atomic(page, certificate_page(certificate).encode(), parents=True)
    return page, document


def certificate_page(certificate: Certificate) -> str:
    """The page as text."""
    plan = certificate.registered.plan
    excluded = tuple(
        (reason, f"{votes:,}", f"{people:,}") for reason, votes, people in certificate.screened.excluded if votes
    )
    numbers = tuple(
        (clause.name, name.replace("_", " "), _shown(value))
        for clause in certificate.clauses
        for name, value in clause.numbers.items()
    )
    used = certificate.screened
    return render_page(
        TEMPLATE,
        title=f"Fidelity of {plan.arm} against {certificate.reference}",
        status=STATUS[bool(certificate.exploratory)],
        exploratory=certificate.exploratory,
        simulated=certificate.simulated,
        clauses=certificate.clauses,
        used=f"{used.table.n_votes:,} of {used.n_read:,} votes; {used.n_traps_right:,} of {used.n_traps:,} traps right",
        rule=f"at least {100 * used.rule.share:.0f} % of at least {used.rule.least} traps right",
        excluded=Table(("left out", "votes", "people"), excluded),
        sensitivity=Table(("rule or assumption", "mean clause"), certificate.sensitivity, css="words"),
        numbers=Table(("clause", "number", "value"), numbers, css="words"),
        registration=plan.model_dump_json(indent=1, exclude_none=True),
        sha256=certificate.registered.sha256,
    )


def _shown(value: Number) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "none"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else value
