"""Check a study that was opened: `python analysis/audit.py FOLDER`.

Runs as a plain script from any folder, as `python -m analysis.audit`, and as `qsched audit`.
Exit codes: 0 every check passed, against values that were published; 1 a problem was found; 3 the evidence agrees with
itself, but nothing was given that was published in time; 2 bad input.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from qsched.command_line import JSON_OPTION, CommandLine, gave_json, run_app
from qsched.errors import InputError

if TYPE_CHECKING:
    from analysis.auditing.read import Evidence, Head

EXIT_PROBLEM, EXIT_UNANCHORED = 1, 3

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def audit(
    folder: Annotated[Path, typer.Argument(help="Folder that `qsched study evidence` wrote.")],
    preregistration_sha256: Annotated[
        str | None, typer.Option("--preregistration-sha256", help="What was published before the first vote.")
    ] = None,
    seals: Annotated[
        list[Path] | None, typer.Option("--seals", help="A copy of /s/STUDY/seals, taken while the study ran.")
    ] = None,
    evidence_sha256: Annotated[
        str | None, typer.Option("--evidence-sha256", help="Published when the study was opened.")
    ] = None,
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Check that no vote was dropped, changed or added, that design, arms and plan are the preregistered ones, and that
    the report follows from the votes.

    The evidence can only be checked against something that was published in time: a preregistration's sha256, copies of
    the study's seals. Without them a whole study could have been made up, and the exit code is 3.

    Example: qsched audit evidence/demo --preregistration-sha256 9f2c... --seals seals-1.json --seals seals-2.json
    """
    from analysis.auditing import checks, left_out
    from analysis.auditing.looks import LooksAgain, take_looks_again
    from analysis.auditing.read import TRIPLETS, read_evidence
    from analysis.auditing.recompute import REPORT, check_report

    preregistration_sha256 = _sha256_of("--preregistration-sha256", preregistration_sha256)
    evidence_sha256 = _sha256_of("--evidence-sha256", evidence_sha256)
    published, preregistered_hashes = _read_seals(seals or [])
    evidence = read_evidence(folder)
    again = LooksAgain()

    def check_looks() -> list[str]:
        nonlocal again
        again = take_looks_again(evidence)
        return list(again.problems)

    named: list[tuple[str, Callable[[], list[str]]]] = [
        ("files are those of the manifest", lambda: list(evidence.file_problems)),
        ("the chain holds every vote unchanged", lambda: checks.check_chain(evidence, published)),
        ("design, arms and salt are the preregistered ones", lambda: checks.check_preregistration(evidence)),
        (f"{evidence.table} is the votes that count", lambda: checks.check_votes_table(evidence)),
        ("planned looks are what the votes make", check_looks),
        ("what is left out follows the rules", lambda: left_out.check_left_out(evidence)),
        ("sides and probabilities are as stated", lambda: checks.check_chances(evidence)),
    ]
    if preregistration_sha256 or evidence_sha256 or preregistered_hashes:
        check = partial(_check_hashes, evidence, preregistration_sha256, evidence_sha256, preregistered_hashes)
        named.append(("published hashes agree", check))
    sections = [(name, checks.run(check)) for name, check in named]
    untouched = _untouched(folder, fidelity=evidence.table == TRIPLETS)
    if (folder / REPORT).is_dir() and evidence.table != TRIPLETS:
        plan = [str(word) for word in evidence.preregistered.get("plan", [])]
        report = check_report(folder, plan)
        sections.append(("the report is what the plan makes", report.problems))
        untouched += [report.not_compared] if report.not_compared else []
    not_judged = [*checks.run(lambda: left_out.not_judged(evidence)), *again.words]
    missing = _missing_anchors(evidence, preregistration_sha256 or preregistered_hashes, published)
    found = {"checks": dict(sections), "not_checked": untouched, "not_judged": not_judged, "not_shown": missing or None}
    if not gave_json(found, json_file):
        _say(sections, untouched, not_judged)
    if any(problems for _, problems in sections):
        raise typer.Exit(EXIT_PROBLEM)
    if missing:
        typer.secho(f"not shown: {missing}", fg=typer.colors.YELLOW, err=str(json_file) == "-")
        raise typer.Exit(EXIT_UNANCHORED)


def _say(sections: list[tuple[str, list[str]]], untouched: list[str], not_judged: list[str]) -> None:
    for name, problems in sections:
        typer.secho(f"{'FAILED' if problems else 'passed':<7} {name}", fg=typer.colors.RED if problems else None)
        for problem in problems:
            typer.echo(f"        {problem}")
    for what in untouched:
        typer.echo(f"not checked: {what}")
    typer.echo("what no hash can judge:")
    for line in not_judged:
        typer.echo(f"        {line}")


def _untouched(folder: Path, *, fidelity: bool) -> list[str]:
    """What the audit does not check, of what is there."""
    from analysis.auditing.read import TRIPLETS
    from analysis.auditing.recompute import REPORT

    if fidelity:
        return [
            "zoom, flicker and toggles of each vote, which are not sealed",
            f"the certificate: make it again with `qsched certify {folder / TRIPLETS}` and the design's clauses",
        ]
    report = folder / REPORT
    return [] if report.is_dir() else [f"the report: there is none at {report}"]


def _sha256_of(option: str, text: str | None) -> str | None:
    """The digits of a hash; InputError for a part of one, which would look like a forgery."""
    if text is None or re.fullmatch("[0-9a-f]{64}", digits := text.strip().lower()):
        return text and digits
    raise InputError(f"{option} {text!r} is not a SHA-256: give all its 64 hexadecimal digits")


def _read_seals(paths: list[Path]) -> tuple[dict[int, Head], set[str]]:
    """Published heads by number of votes, hashes of preregistrations; InputError if two copies disagree."""
    from analysis.auditing.read import Head

    heads: dict[int, Head] = {}
    hashes: set[str] = set()
    for path in paths:
        try:
            found = json.loads(path.read_bytes())
            marks = {
                int(seal["votes"]): Head(seal["head"], round(datetime.fromisoformat(seal["at"]).timestamp() * 1000))
                for seal in found["seals"]
            }
            if found["preregistration_sha256"] is not None:
                hashes.add(str(found["preregistration_sha256"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a copy of /s/STUDY/seals ({type(error).__name__}: {error})") from error
        for votes, head in marks.items():
            if heads.setdefault(votes, head) != head:
                raise InputError(
                    f"{path}: after {votes} votes another head than in the copies before; one is not genuine"
                )
    return heads, hashes


def _check_hashes(
    evidence: Evidence, preregistration: str | None, opened: str | None, preregistered_hashes: set[str]
) -> list[str]:
    from qsched.records.evidence import sha256

    problems = []
    ours = None if evidence.preregistration is None else sha256(evidence.preregistration)
    for wanted in sorted({*preregistered_hashes, *([preregistration] if preregistration else [])}):
        if ours != wanted:
            problems.append(f"preregistration.json has sha256 {ours}, published was {wanted}")
    if opened is not None and opened != evidence.manifest_sha256:
        problems.append(f"manifest.json has sha256 {evidence.manifest_sha256}, published was {opened}")
    return problems


def _missing_anchors(evidence: Evidence, preregistered: object, published: dict[int, Head]) -> str:
    missing = []
    if evidence.preregistration is None:
        missing.append("the study was not preregistered")
    elif not preregistered:
        missing.append("no preregistration's sha256 was given (--preregistration-sha256 or --seals)")
    if not published:
        missing.append("no copy of the seals was given (--seals), so the votes may have been made up together")
    else:
        last = max(published)
        if last < evidence.votes:
            missing.append(f"the last {evidence.votes - last} votes came after the newest published seal")
    return "; ".join(missing)


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
