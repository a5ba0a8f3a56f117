"""What a fidelity study shows: `python analysis/certify.py triplets.parquet --registration plan.yaml`.

Runs as a plain script from any folder, as `qsched certify`, and as `analysis.certify:main`.
Exit codes: 0 every clause is shown; 3 some clause is not; 2 bad input or option, nothing is written.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from qsched.command_line import CommandLine, run_app
from qsched.records import InputError

EXIT_NOT_SHOWN = 3

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def certify(
    votes: Annotated[
        list[str], typer.Argument(help="Triplet votes: .parquet, .csv or .jsonl files.", show_default=False)
    ],
    registration: Annotated[
        Path | None, typer.Option(help="What was registered before the first vote (YAML). Without it: exploratory.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="The arm to look at when there is no registration.")] = None,
    preference: Annotated[
        list[str] | None, typer.Option(help="Preference votes for the preference clause; repeat for more files.")
    ] = None,
    content: Annotated[
        str | None, typer.Option(help="Table with prompt_id, arm, changed, for the content clause.")
    ] = None,
    open_prompts: Annotated[
        Path | None, typer.Option(help="Write the prompts that the share clause has not cleared, for a second stage.")
    ] = None,
    min_traps: Annotated[
        int, typer.Option(min=0, help="Without a registration: people with fewer traps are left out.")
    ] = 10,
    out: Annotated[Path, typer.Option(help="Folder for certificate.html and certificate.json.")] = Path("certificate"),
) -> None:
    """Judge each registered clause: shown, or not shown and about how many votes that would take.

    [bold]Examples[/]

      qsched certify triplets.parquet --registration plan.yaml

      qsched certify triplets.parquet --arm w4a4-qsched

    Exit code 0: every clause is shown. 3: some clause is not. 2: bad input.
    """
    from analysis.certificate import certify_votes, default_registration, read_registration, write_certificate
    from analysis.report.kit.escape import visible_text
    from analysis.triplets import read_triplets

    registered = None if registration is None else read_registration(registration)
    table = read_triplets(votes)
    if registered is None:
        arms = sorted({*table.values("left_arm"), *table.values("right_arm")} - {table.reference})
        if arm is None and len(arms) != 1:
            listed = ", ".join(arms)
            raise InputError(f"Give --registration FILE, or --arm NAME for an exploratory look. The arms are {listed}.")
        studies = table.values("study") or ("unnamed",)
        registered = default_registration(
            study=studies[0], arm=arm or arms[0], registered_at=datetime.now(UTC), least_traps=min_traps
        )
    elif arm is not None and arm != registered.plan.arm:
        raise InputError(f"--arm {arm!r} is not the registered arm {registered.plan.arm!r}. Leave the option out.")
    if open_prompts is not None and registered.plan.share is None:
        raise InputError("--open-prompts: the registration has no share clause, so no prompt is cleared or open")
    certificate = certify_votes(table, registered, preference=preference, content=content)
    page, _ = write_certificate(certificate, out)
    for clause in certificate.clauses:
        typer.echo(f"  {clause.name:<11} {clause.verdict}")
        typer.echo(f"  {'':<11} {visible_text(clause.finding)}")
    if open_prompts is not None:
        from qsched.files import write_atomic

        names = [name for clause in certificate.clauses for name in clause.open_prompts]
        write_atomic(open_prompts, f"  prompts: {json.dumps(names, ensure_ascii=False)}\n".encode(), parents=True)
        typer.echo(f"{len(names)} prompts to ask more votes about: {open_prompts} (for `fidelity:` in a study.yaml)")
    for reason in certificate.exploratory:
        typer.secho(f"  exploratory: {visible_text(reason)}", fg=typer.colors.YELLOW, err=True)
    if certificate.simulated:
        words = f"  {certificate.simulated:,} votes are simulated: nothing about human perception follows from them"
        typer.secho(words, fg=typer.colors.YELLOW, err=True)
    typer.echo(f"the certificate is {page}")
    if not all(clause.shown for clause in certificate.clauses):
        raise typer.Exit(EXIT_NOT_SHOWN)


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
