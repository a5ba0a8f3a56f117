"""`qsched study`: design a study, check its cost, put it into the server, open and close it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from qsched.cli import (
    study_audit,
    study_estimate,
    study_fidelity,
    study_life,
    study_look,
    study_people,
    study_prolific,
    study_publish,
)
from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.cli.owner_at import SERVER_HELP, owner_at
from qsched.cli.study_price import price_lines
from qsched.command_line import JSON_OPTION, CommandLine, counted, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.locations import Location
    from qsched.records import ImageRow
    from study_server.studies.design import StudyDesign
    from study_server.studies.estimate import StudyEstimate

# Expected share of votes for the baseline below which the check says so in words.
HARDLY_SEEN = 0.52


def register(app: typer.Typer) -> None:
    """Add the group to `qsched`."""
    group = CommandLine(no_args_is_help=True, help="Design, create and manage studies.")
    first: tuple[Callable[..., None], ...] = (init, check, create, pairs)
    for command in first:
        group.command()(command)
    study_life.add_to(group)
    group.command()(study_look.look)
    group.command()(study_estimate.estimate)
    group.command()(study_fidelity.register)
    study_people.add_to(group)
    study_prolific.add_to(group)
    group.command()(study_publish.publish)
    study_audit.add_to(group)
    app.add_typer(group, name="study")


def init(
    images: Path = typer.Argument(help="Folder of the image set."),
    out: Path = typer.Option(Path("study.yaml"), "--out", help="File to write."),
    design: Literal["preference", "fidelity", "ranking"] = typer.Option(
        "preference",
        "--design",
        help="Ask which of two pictures is better, which differs more from the reference, or put several in order.",
    ),
) -> None:
    """Write a commented study.yaml for an image set; every key with its default.

    Example: qsched study init runs/demo --out demo.yaml
    """
    import os

    from qsched.files import write_atomic
    from qsched.locations import read_location
    from qsched.records import read_manifest
    from study_server.resources import PACKAGE
    from study_server.studies.design import slug_of

    location = read_location(images)
    read_manifest(location)
    if out.exists():
        raise InputError(f"{out} exists; name another file with --out")
    folder = location.resolve()
    relative = os.path.relpath(folder, out.resolve().parent) if isinstance(folder, Path) else str(folder)
    name = "template.yaml" if design == "preference" else f"template_{design}.yaml"
    template = (PACKAGE / "studies" / name).read_text(encoding="utf-8")
    text = template.format(slug=slug_of(folder.name), images=_quoted(relative))
    write_atomic(out, text.encode())
    typer.echo(f"wrote {out}; next: qsched study check {out}")


def check(
    file: Path = typer.Argument(help="The study.yaml."),
    annotator_sd: float = typer.Option(
        0.5, "--annotator-sd", min=0, max=5, help="Assumed: how much people's tastes differ (log-odds, each arm)."
    ),
    prompt_sd: float = typer.Option(0.5, "--prompt-sd", min=0, max=5, help="Assumed: how much prompts differ."),
    tie_rate: float = typer.Option(0.2, "--tie-rate", min=0, max=0.9, help="Assumed: share of ties."),
    half_width: float | None = typer.Option(
        None, "--half-width", min=0.001, max=0.49, help="Price this precision of every contrast: 0.03 is +-3 points."
    ),
    find: float | None = typer.Option(
        None, "--find", min=0.501, max=0.999, help="Or price finding this win rate; default: what the study can show."
    ),
    gain: float = typer.Option(2.2, "--gain", min=1, max=20, help="Fidelity, assumed: what boosting gains."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Validate a study.yaml against its image set and print pairs, votes, people, time, cost and power.

    What the study can show depends on assumptions, which are printed; docs/study-design.md explains them. Of a fidelity
    study: the votes that each clause takes beside those it gets (docs/certificate.md).

    Example: qsched study check study.yaml
    """
    from qsched.planning import Assumptions, measured_losses
    from qsched.records import iter_rows, read_manifest, refuse_faulty
    from qsched.records.curation import PAIRS_NAME
    from study_server.owner import read_design
    from study_server.studies.curated import keep_curated
    from study_server.studies.estimate import estimate_study
    from study_server.studies.identical import leave_out_identical
    from study_server.studies.languages import language_notes
    from study_server.studies.picture_sizes import measure_pairs
    from study_server.studies.triplets import plan_study
    from study_server.studies.yaml_file import lines_of

    _must_exist(file)
    design, folder = read_design(file)
    manifest = read_manifest(folder)
    rows = list(iter_rows(folder))
    refuse_faulty(folder, manifest, rows)
    with lines_of(file):
        looks = {(row.prompt_id, row.sample_index, row.arm): row.sha256 for row in rows}
        planned = plan_study(design, arms=[arm.name for arm in manifest.arms], images=looks)
        curated = keep_curated(planned, design=design, folder=folder)
        to_show = leave_out_identical(curated.pairs, looks=looks, design=design)
    shown = {arm for pair in to_show.pairs for arm in pair.all_arms}
    assumed = Assumptions(annotator_sd=annotator_sd, prompt_sd=prompt_sd, tie_rate=tie_rate)
    found = estimate_study(design, to_show.pairs, assumed)
    if gave_json({"file": str(file), "set_id": manifest.set_id, "images": len(rows), **asdict(found)}, json_file):
        return
    typer.echo(f"{file}: valid; image set {manifest.set_id} with {len(rows)} images")
    if design.fidelity is None:
        lines = _check_lines(design, found)
        lines += price_lines(design, found, arms=len(shown), half_width=half_width, win_rate=find)
    else:
        losses, _ = measured_losses(folder, set_id=manifest.set_id)
        predicted = {one.arm: one.loss for one in losses}
        lines = study_fidelity.check_lines(
            design, design.fidelity, to_show.pairs, found, gain=gain, predicted=predicted
        )
    for name, text in (*lines, *_visibility_lines(folder, manifest.set_id, shown, forecast=design.fidelity is None)):
        typer.echo(f"  {name:<20} {text}")
    sizes = measure_pairs(to_show.pairs, _file_sizes(folder, rows))
    if sizes is not None:
        typer.echo(
            f"  {'a pair to load':<20} {sizes.median_bytes / 1e6:.2f} MB, at most {sizes.largest_bytes / 1e6:.2f} MB; "
            f"{sizes.slow_seconds:.1f} s on a slow line (1.6 Mbit/s)"
        )
    if curated.words:
        typer.echo(f"  {'left out':<20} {curated.words} pairs, as pairs.csv says")
    elif design.pairs == "all" and (folder / PAIRS_NAME).exists():
        typer.echo(f"  {'not used':<20} pairs.csv of the image set (pairs: curated uses it)")
    if to_show.identical:
        typer.echo(
            f"  {'left out':<20} {counted(to_show.identical, 'pair')} of two identical pictures (show_identical: true)"
        )
    warnings = filter(None, (manifest.pairing_note, *found.warnings, sizes.warning if sizes is not None else None))
    for line in (*(f"note: {line}" for line in language_notes(design)), *(f"warning: {words}" for words in warnings)):
        typer.secho(f"  {line}", fg=typer.colors.YELLOW, err=True)


def _file_sizes(folder: Location, rows: list[ImageRow]) -> dict[tuple[str, int, str], int]:
    """Bytes of each picture; IntegrityError if some are missing."""
    from qsched.errors import IntegrityError
    from qsched.locations import file_sizes
    from qsched.records.image_set import IMAGES_FOLDER

    there = file_sizes(folder / IMAGES_FOLDER)
    missing = [row.file_name for row in rows if f"{row.image_id}.png" not in there]
    if missing:
        raise IntegrityError(
            f"{folder}: {len(missing)} of {len(rows)} pictures are missing, the first {missing[0]}; run the same "
            "generate-pairs command again to mend the set"
        )
    return {(row.prompt_id, row.sample_index, row.arm): there[f"{row.image_id}.png"] for row in rows}


def _check_lines(design: StudyDesign, found: StudyEstimate) -> list[tuple[str, str]]:
    each = f"{found.pairs} x {design.votes_per_pair}"
    what, vote = ("pairs", "votes") if design.ranking is None else ("sets", "rankings")
    of = "" if design.ranking is None else f" of {design.ranking.pictures} pictures"
    dropping = design.ranking is not None and design.stopping is not None
    best, assumed = found.weakest, found.assumed
    where = "" if found.comparisons == 1 else f" in its weakest comparison ({' against '.join(best.pair)})"
    return [
        ("comparisons of arms", f"{found.comparisons}" + (", drawn adaptively" if design.adaptivity else "")),
        (
            f"{what}{of}",
            f"{each} {vote} = {found.valid_votes} valid {vote}"
            if design.votes_total is None and not dropping
            else f"{found.pairs} with at most {design.votes_per_pair} {vote}, "
            f"{'at most ' * dropping}{found.valid_votes} valid {vote} together",
        ),
        ("annotators", f"{found.annotators} with {counted(found.trials_per_annotator, 'trial')} each"),
        ("time", f"about {found.minutes_per_annotator:.0f} min each, {found.hours:.1f} h together"),
        (
            "cost",
            "unknown; add pay: {per_hour: ...}"
            if found.cost is None
            else f"{found.cost:.2f} {found.currency} with the platform's fee",
        ),
        (
            "can show",
            (
                f"a win rate of {100 * best.win_rate:.1f} % or more{where}, with {100 * assumed.power:.0f} % power"
                if best.win_rate is not None
                else f"nothing{where}: no win rate is found with {100 * assumed.power:.0f} % power"
            )
            + f"; {found.votes_per_comparison} votes per comparison, design effect {best.design_effect:.1f}",
        ),
        (
            "if",
            f"tastes differ by sd {assumed.annotator_sd:g} between people and {assumed.prompt_sd:g} between the "
            f"{found.prompts} prompts (log-odds, each arm), {100 * assumed.tie_rate:.0f} % are ties"
            + (", votes are spread evenly" if design.votes_total is not None or design.adaptivity else ""),
        ),
        *_stopping_lines(design),
        *_ranking_lines(design),
        (
            "tested",
            f"two-sided at {100 * (1 - assumed.confidence):.0f} %"
            + (f" over {found.comparisons} comparisons (Holm's first step)" if found.comparisons > 1 else "")
            + f", t with {max(min(found.annotators, found.prompts) - 1, 1)} degrees of freedom",
        ),
    ]


def _ranking_lines(design: StudyDesign) -> list[tuple[str, str]]:
    """What a ranking is taken to be worth, and from how many seconds on pairs are cheaper."""
    from study_server.studies.ranking import WORTH

    if design.ranking is None:
        return []
    worth = WORTH[design.ranking.pictures]
    return [
        (
            "a ranking",
            f"of {design.ranking.pictures} pictures is taken to be worth {worth:g} votes on pairs, {worth * 8:.0f} s "
            f"of them at 8 s; here it takes {design.seconds_per_vote:g} s, an assumption until it is measured",
        )
    ]


def _stopping_lines(design: StudyDesign) -> list[tuple[str, str]]:
    """The looks, and how far an arm must be from even to be decided at the first and the last of them."""
    rule = design.stopping
    if rule is None:
        return []
    when = [f"{rule.votes_at(look):,}" for look in range(1, rule.looks + 1)]
    if len(when) > 4:
        when[3:-1] = ["..."]
    return [
        (
            "stops asking",
            f"about arms decided against {rule.baseline} (better, worse, within {100 * rule.margin:g} points), "
            f"{rule.bounds} bounds, {100 * rule.level:.0f} % chance of any wrong claim",
        ),
        (
            "looks",
            f"{rule.looks}, at {', '.join(when)} votes of each open arm; the votes, time and cost above are the most",
        ),
    ]


def _visibility_lines(folder: Location, set_id: str, arms: set[str], *, forecast: bool) -> list[tuple[str, str]]:
    """What cvvdp says of the arms' differences, if the set was scored with it; `forecast` votes about preference."""
    from qsched.planning import measured_losses

    losses, made_by = measured_losses(folder, set_id=set_id)
    if not losses:
        return [("visible difference", f"not measured; qsched score {folder} --metrics cvvdp")]
    lines = [
        (
            "visible difference",
            f"{one.baseline} against {one.arm}: {one.loss:.3f} JOD"
            + (": people can hardly see it" if one.preferred < HARDLY_SEEN else "")
            + (f"; {100 * one.preferred:.1f} % of votes expected for {one.baseline}" if forecast else ""),
        )
        for one in losses
        if {one.baseline, one.arm} <= arms
    ]
    return [*lines, ("measured by", f"{made_by}; a prediction, not votes")] if lines else []


def create(
    file: Path = typer.Argument(help="The study.yaml."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    data: Path | None = typer.Option(None, "--data", help="Folder for picture copies; default: beside the database."),
) -> None:
    """Put a study into the server's database and open it; the server may be running.

    Example: qsched study create study.yaml --db sqlite:///runs/study.db
    """
    from qsched.locations import read_location
    from study_server.owner import add_study, default_database
    from study_server.studies.yaml_file import lines_of

    _must_exist(file)
    location = None if data is None else read_location(data)
    with lines_of(file):
        line = add_study(file, database_url=db or default_database(), data=location, note=typer.echo)
    typer.echo(line)


def pairs(
    slug: str = typer.Argument(help=SLUG_HELP),
    enable: bool = typer.Option(False, "--enable", help="Hand out the pairs again that were taken out."),
    pair: list[str] = typer.Option([], "--pair", help="With --enable: only this pair; may be repeated."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Pairs that annotators reported as not visible, and those that were taken out because several people did.

    Example: qsched study pairs demo --enable
    """
    if pair and not enable:
        raise InputError("--pair names pairs to hand out again; add --enable")
    with owner_at(db, server) as owner:
        if enable:
            count = owner.enable_pairs(slug, pair or None)
            typer.echo(f"{count} pairs of study {slug} are handed out again")
            return
        rows = list(owner.reported_pairs(slug))
    if gave_json(rows, json_file):
        return
    for row in rows:
        state = "taken out" if row.taken_out else "shown"
        typer.echo(f"{row.pair}  prompt {row.prompt}  {row.reports} reports  {state}")
    if not rows:
        typer.echo(f"nobody reported a missing picture in study {slug}")


def _must_exist(file: Path) -> None:
    if not file.exists():
        raise InputError(f"{file} does not exist; `qsched study init FOLDER --out {file}` writes one")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
