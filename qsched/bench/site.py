"""The leaderboard: a folder of static pages with its own pictures and data; nothing is fetched from elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsched.bench.places import Places, file_name
from qsched.bench.results import ArmResult, MetricEstimate, MetricMean, ModelResult, open_folder, read_results
from qsched.bench.scatter import Mark, scatter
from qsched.bench.spec import ModelSpec
from qsched.bench.steps import Options, picture_steps, shown
from qsched.errors import InputError
from qsched.files import link_or_copy, write_atomic
from qsched.generation.sheet import megabytes
from qsched.pages import Cell, Figure, Table, render_page
from qsched.records import ImageRow, iter_rows
from qsched.records.image_set import MANIFEST_NAME

_INDEX = Path(__file__).with_name("site.html.j2")
_PAIRS = Path(__file__).with_name("pairs.html.j2")
PAIRS_PER_PAGE = 60
#: The page that a site is known by.
INDEX_NAME = "index.html"


@dataclass(frozen=True)
class ModelPart:
    """A model on the page."""

    name: str
    words: str
    missing: tuple[str, ...]
    table: Table | None
    confidence: str
    copies: tuple[str, ...]
    figures: tuple[Figure, ...]
    categories: Table | None
    clauses: Table | None
    metrics: Table | None
    links: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class PairPart:
    """Two pictures of one prompt."""

    prompt: str
    place: str
    identical: bool
    pictures: tuple[tuple[str, str], ...]


def write_site(folder: Path, out: Path | None = None) -> Path:
    """Write the leaderboard of a benchmark's folder and return its first page.

    Pictures are linked where the file system can, else copied. InputError for a folder that holds something else.
    """
    places, found = open_folder(folder), read_results(folder)
    site = places.site if out is None else out
    if site.exists() and not (site / INDEX_NAME).is_file() and any(site.iterdir()):
        raise InputError(f"{site} is not empty and no leaderboard; name another folder with --out")
    shutil.rmtree(site / "pairs", ignore_errors=True)
    parts = []
    for model, result in zip(places.benchmark.models, found.models, strict=True):
        links = _write_pairs(places, model, result, site) if result.arms else ()
        parts.append(_part(places, model, result, links, _write_data(places, model, site)))
    shutil.copyfile(places.file, _parent(site / "data" / "benchmark.yaml"))
    write_atomic(site / "data" / "results.json", (json.dumps(found.to_json(), indent=1) + "\n").encode())
    page = render_page(_INDEX, title=found.title, found=found, parts=parts, contents=len(parts) > 1)
    write_atomic(site / INDEX_NAME, page.encode(), parents=True)
    return site / INDEX_NAME


def _part(
    places: Places,
    model: ModelSpec,
    found: ModelResult,
    links: Sequence[tuple[str, str]],
    data: Sequence[tuple[str, str]],
) -> ModelPart:
    baseline = next((arm.arm for arm in found.arms if arm.is_baseline), "")
    words = f"{found.backbone}, {found.pictures:,} pictures" + (f", weights {found.weights}" if found.weights else "")
    return ModelPart(
        name=found.model,
        words=words,
        missing=found.missing,
        table=_leaderboard(found, baseline) if found.arms else None,
        confidence=f"{100 * places.benchmark.report.confidence:.4g} %",
        copies=tuple(_copies(found)),
        figures=tuple(_figures(found, baseline)),
        categories=_categories(found),
        clauses=_clauses(found),
        metrics=_metrics(found, baseline),
        links=tuple(links),
        data=tuple(data),
        commands=tuple(_commands(places, model)),
    )


def _commands(places: Places, model: ModelSpec) -> Iterator[str]:
    """The commands as typed beside the folder, without paths of this machine."""
    beside = Places(Path(places.folder.resolve().name), places.benchmark)
    for step in picture_steps(beside, model, Options()):
        for command in step.commands:
            yield shown(command)


def _copies(found: ModelResult) -> Iterator[str]:
    """Arms whose pictures are those of another: a difference between their results is chance."""
    names = {arm.name: arm.arm for arm in found.arms}
    for arm in found.arms:
        if arm.same_as is not None:
            yield f"{arm.arm} makes the same pictures as {names.get(arm.same_as, arm.same_as)}"


def _leaderboard(found: ModelResult, baseline: str) -> Table:
    studies = list(dict.fromkeys(one.study for arm in found.arms for one in arm.preferences))
    columns = ["arm", "size if packed", "NFE", "s / picture"]
    columns += [f"win rate against {baseline}" + (f" ({study})" if len(studies) > 1 else "") for study in studies]
    columns += ["votes"] if studies else []
    rows = []
    for number, arm in enumerate(_ranked(found.arms), start=1):
        name = f"{number}. {arm.arm}" + (" (baseline)" if arm.is_baseline else "")
        size = "–" if arm.size_bytes is None else megabytes(arm.size_bytes)
        seconds = Cell("–") if arm.seconds is None else _interval(arm.seconds)
        if arm.simulated_arithmetic:
            seconds = Cell("simulated arithmetic", css="quiet")
        cells: list[str | Cell] = [name, size, "–" if arm.nfe is None else f"{arm.nfe:g}", seconds]
        for study in studies:
            one = next((one for one in arm.preferences if one.study == study), None)
            cells.append("–" if one is None else _rate(one.rate))
        if studies:
            cells.append(f"{sum(one.votes for one in arm.preferences):,}" if arm.preferences else "–")
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows), css="stack")


def _ranked(arms: Sequence[ArmResult]) -> list[ArmResult]:
    """The baseline first, then by win rate; arms without one keep their order and come last."""

    def key(place: int) -> tuple[int, float, int]:
        arm = arms[place]
        if arm.is_baseline:
            return 0, 0.0, place
        return (1, -arm.preferences[0].rate.value, place) if arm.preferences else (2, 0.0, place)

    return [arms[place] for place in sorted(range(len(arms)), key=key)]


def _figures(found: ModelResult, baseline: str) -> Iterator[Figure]:
    """Win rate against size, and against latency where arithmetic is the named one."""
    ranked = list(enumerate(_ranked(found.arms), start=1))
    note = "Numbers are those of the table, bars the intervals of the win rate; the line is 50 %. "
    for axis, label, log in (("size", "size if packed (MB)", True), ("seconds", "seconds per picture", False)):
        marks = []
        for number, arm in ranked:
            if arm.is_baseline or not arm.preferences:
                continue
            x = _place(arm, axis)
            rate = arm.preferences[0].rate
            if x is not None:
                marks.append(Mark(str(number), "+" in arm.arm, x, rate.value, rate.low, rate.high))
        base = next((arm for arm in found.arms if arm.is_baseline), None)
        at = None if base is None else _place(base, axis)
        if marks and at is not None:
            marks.append(Mark("1", False, at, 0.5, None, None))
        if len(marks) >= 2:
            y_label = f"win rate against {baseline}"
            drawing = scatter(marks, x_label=label, y_label=y_label, log=log)
            yield Figure(drawing, note + "Squares: with Q-Sched. Circles: without. Arms at one place are side by side.")


def _place(arm: ArmResult, axis: str) -> float | None:
    if axis == "size":
        return None if arm.size_bytes is None else arm.size_bytes / 1e6
    return None if arm.seconds is None or arm.simulated_arithmetic else arm.seconds.value


def _categories(found: ModelResult) -> Table | None:
    arms = [arm for arm in found.arms if arm.preferences and arm.preferences[0].by_category]
    names = list(dict.fromkeys(name for arm in arms for name in arm.preferences[0].by_category))
    if not names:
        return None
    rows = tuple(
        (
            name,
            *("–" if (one := arm.preferences[0].by_category.get(name)) is None else _rate(one) for arm in arms),
        )
        for name in names
    )
    return Table(("category", *(arm.arm for arm in arms)), rows, css="stack")


def _clauses(found: ModelResult) -> Table | None:
    rows = tuple(
        (arm.arm, one.claim, Cell(one.verdict, css="better" if one.verdict == "shown" else ""), one.finding, one.status)
        for arm in found.arms
        for one in arm.clauses
    )
    return Table(("arm", "claim", "verdict", "finding", "status"), rows, css="stack words") if rows else None


def _metrics(found: ModelResult, baseline: str) -> Table | None:
    names = list(dict.fromkeys(one.metric for arm in found.arms for one in arm.metrics))
    if not names:
        return None
    rows: list[tuple[str | Cell, ...]] = []
    for arm in _ranked(found.arms):
        values = {one.metric: one for one in arm.metrics}
        cells = [_metric_cell(values[name]) if name in values else Cell("–") for name in names]
        rows.append((arm.arm, *cells))
    caption = f"Mean, and in brackets the 95 % interval of the difference to {baseline}, or of a distance from it."
    return Table(("arm", *names), tuple(rows), caption=caption, css="stack")


def _metric_cell(one: MetricMean) -> Cell:
    d = one.difference
    return Cell(f"{one.mean:.4g}", "" if d is None or d.low is None else f"[{d.low:+.3g}, {d.high:+.3g}]")


def _interval(one: MetricEstimate) -> Cell:
    return Cell(f"{one.value:.3f}", "" if one.low is None else f"[{one.low:.3f}, {one.high:.3f}]")


def _rate(one: MetricEstimate) -> Cell:
    value, low, high = ("" if share is None else f"{100 * share:.1f} %" for share in (one.value, one.low, one.high))
    return Cell(value, low and f"{low} to {high}")


def _write_pairs(places: Places, model: ModelSpec, found: ModelResult, site: Path) -> tuple[tuple[str, str], ...]:
    """A page, or several, with every pair of an arm and the baseline; returns (words, address) of each first page."""
    images = places.images(model)
    rows: dict[str, dict[tuple[str, int], ImageRow]] = {}
    for row in iter_rows(images):
        rows.setdefault(row.arm, {})[row.prompt_id, row.sample_index] = row
        link_or_copy(images / row.file_name, site / "pictures" / model.name / Path(row.file_name).name)
    base, *others = found.arms
    links = []
    for arm in others:
        pairs = [
            _pair(model, (base.arm, first), (arm.arm, second))
            for key, first in rows.get(base.name, {}).items()
            if (second := rows.get(arm.name, {}).get(key)) is not None
        ]
        cut = [pairs[start : start + PAIRS_PER_PAGE] for start in range(0, len(pairs), PAIRS_PER_PAGE)] or [[]]
        stem = f"{model.name}-{file_name(arm.arm)}"
        names = [f"{stem}-{number}.html" for number in range(1, len(cut) + 1)]
        for number, part in enumerate(cut, start=1):
            title = f"{model.name}: {arm.arm} beside {base.arm}"
            page = render_page(_PAIRS, title=title, pairs=part, names=names, number=number, total=len(pairs))
            write_atomic(site / "pairs" / names[number - 1], page.encode(), parents=True)
        links.append((f"{arm.arm}: {len(pairs):,} pairs", f"pairs/{names[0]}"))
    return tuple(links)


def _pair(model: ModelSpec, first: tuple[str, ImageRow], second: tuple[str, ImageRow]) -> PairPart:
    row = first[1]
    parts = (row.prompt_id, row.category or "", f"sample {row.sample_index}" if row.sample_index else "")
    return PairPart(
        prompt=row.prompt,
        place=" · ".join(part for part in parts if part),
        identical=row.sha256 == second[1].sha256,
        pictures=tuple((arm, f"../pictures/{model.name}/{one.image_id}.png") for arm, one in (first, second)),
    )


def _write_data(places: Places, model: ModelSpec, site: Path) -> tuple[tuple[str, str], ...]:
    """Copies of the small files behind the numbers; returns (words, address). No votes: those are for `submit`."""
    images, folder = places.images(model), site / "data" / model.name
    wanted = [(images / MANIFEST_NAME, MANIFEST_NAME), (images / "metrics.json", "metrics.json")]
    for study in places.benchmark.studies_of(model):
        at = places.study(study, model)
        wanted += [(at.study_yaml, f"{study.name}-study.yaml"), (at.report / "winrates.json", f"{study.name}.json")]
        pages = sorted((at.folder / "certificates").glob("*/certificate.json"))
        for path in pages:
            name = f"{study.name}-{path.parent.name}"
            wanted += [(path.with_suffix(".html"), f"{name}.html"), (path, f"{name}.json")]
    made = []
    for source, name in wanted:
        if source.is_file():
            write_atomic(folder / name, _without_place(source.read_bytes(), places), parents=True)
            made.append((name, f"data/{model.name}/{name}"))
    return tuple(made)


def _without_place(data: bytes, places: Places) -> bytes:
    """A file that names the benchmark's folder (the command of a report does), as beside the folder."""
    place = places.folder.resolve()
    return data.replace(f"{place}/".encode(), f"{place.name}/".encode())


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
