"""`contact_sheet.html`: the whole set on one page, arms side by side. For the researcher: it names the arms.

It links to the pictures relatively, needs no network and is never imported by the study server. Pointing
at a picture flickers it against the first arm; D shows the difference instead.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from qsched.files import write_atomic
from qsched.records import ArmRecord, ImageRow, Manifest, iter_rows, read_manifest

SHEET_NAME = "contact_sheet.html"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 1500px; }
h1 { font-size: 1.35rem; margin: 0 0 .3rem; }
p, dl { margin: .3rem 0; } .quiet { color: var(--quiet); }
table { border-collapse: collapse; }
.arms { margin: 1rem 0; font-variant-numeric: tabular-nums; }
.arms th, .arms td { text-align: right; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); }
.arms th:first-child, .arms td:first-child { text-align: left; }
.pairs thead th { position: sticky; top: 0; background: Canvas; padding: .5rem; text-align: left; z-index: 2;
  border-bottom: 1px solid var(--line); }
.pairs td { padding: .35rem .5rem; vertical-align: top; border-bottom: 1px solid var(--line); }
.pairs .prompt { width: 17rem; min-width: 10rem; }
.id { font: 12px ui-monospace, monospace; color: var(--quiet); overflow-wrap: anywhere; }
.cell { position: relative; display: block; width: var(--side); aspect-ratio: var(--ratio); background: #8882; }
.cell img { position: absolute; inset: 0; width: 100%; height: 100%; display: block; image-rendering: auto; }
.cell .base { visibility: hidden; }
.cell.flick .base { visibility: visible; }
.cell.diff .base { visibility: visible; mix-blend-mode: difference; }
.cell.diff { isolation: isolate; filter: brightness(4); }
.tag { position: absolute; left: 4px; top: 4px; font-size: 11px; background: #000a; color: #fff; padding: 0 5px;
  border-radius: 3px; display: none; z-index: 1; }
.cell.flick .tag { display: block; }
.missing { display: grid; place-items: center; color: var(--quiet); }
kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 .3em; font: inherit; }
"""

_SCRIPT = """
let timer = 0, cell = null, difference = false;
const stop = () => { clearInterval(timer); if (cell) cell.classList.remove('flick', 'diff'); cell = null; };
const start = (next) => {
  stop(); cell = next;
  if (!cell.querySelector('.base')) return;
  if (difference) { cell.classList.add('diff'); return; }
  timer = setInterval(() => cell.classList.toggle('flick'), 450);
};
document.addEventListener('mouseover', (event) => {
  const next = event.target.closest('.cell');
  if (next !== cell) { if (next) start(next); else stop(); }
});
document.addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() === 'd' && !event.ctrlKey && !event.metaKey) {
    difference = !difference;
    for (const hint of document.querySelectorAll('[data-mode]'))
      hint.hidden = (hint.dataset.mode === 'difference') !== difference;
    if (cell) start(cell);
  }
});
"""


def write_contact_sheet(folder: Path) -> Path:
    """Write the sheet of an image set and return its path. Images that are not there yet show as missing."""
    manifest = read_manifest(folder)
    path = folder / SHEET_NAME
    write_atomic(path, contact_sheet(manifest, list(iter_rows(folder))).encode())
    return path


def contact_sheet(manifest: Manifest, rows: list[ImageRow]) -> str:
    """The page as HTML; everything that came from a prompt file is escaped."""
    arms = [arm.name for arm in manifest.arms]
    found = {(row.prompt_id, row.sample_index, row.arm): row for row in rows}
    lines: dict[tuple[str, int], ImageRow] = {}
    for row in rows:
        lines.setdefault((row.prompt_id, row.sample_index), row)
    seconds = {arm: [row.seconds for row in rows if row.arm == arm] for arm in arms}
    side = min(max(manifest.width, 180), 320)
    head = "".join(f"<th>{escape(arm)}</th>" for arm in arms)
    body = "".join(_line(row, [found.get((*key, arm)) for arm in arms], manifest.samples) for key, row in lines.items())
    packed = _packed_bytes(manifest)
    table = "".join(_arm(arm, packed.get(arm.precision), seconds[arm.name]) for arm in manifest.arms)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(manifest.set_id)}</title><style>{_STYLE}</style></head>
<body style="--side: {side}px; --ratio: {manifest.width} / {manifest.height}">
<h1>{escape(manifest.set_id)}</h1>
<p>{escape(manifest.backbone)}, {manifest.steps} step{"s" * (manifest.steps != 1)}, {manifest.width}×{manifest.height},
{manifest.n_prompts} prompts × {manifest.samples} sample{"s" * (manifest.samples != 1)} × {len(arms)} arms:
{len(rows)} of {manifest.n_prompts * manifest.samples * len(arms)} images, set seed {manifest.set_seed}.</p>
<p class="quiet">Every picture of a line starts from the same noise. Point at one:
<span data-mode="flicker">it flickers against {escape(arms[0])}</span><span data-mode="difference" hidden>it shows its
difference from {escape(arms[0])}, four times as bright</span>; <kbd>D</kbd> changes that.
This page names the arms, so keep it from annotators.</p>
<table class="arms"><thead><tr><th>arm</th><th>denoiser in memory</th><th>if packed</th><th>layers converted</th>
<th>kept</th><th>arithmetic</th><th>s / image</th></tr></thead><tbody>
{table}</tbody></table>
<table class="pairs"><thead><tr><th>prompt</th>{head}</tr></thead><tbody>
{body}</tbody></table>
<script>{_SCRIPT}</script></body></html>
"""


def _line(first: ImageRow, rows: list[ImageRow | None], samples: int) -> str:
    base = rows[0]
    place = first.prompt_id if samples == 1 else f"{first.prompt_id} · sample {first.sample_index}"
    category = f" · {escape(first.category)}" if first.category else ""
    cells = "".join(_cell(row, None if row is base else base) for row in rows)
    words = f'{escape(first.prompt)}<div class="id">{escape(place)}{category}</div>'
    return f'<tr><td class="prompt">{words}</td>{cells}</tr>\n'


def _cell(row: ImageRow | None, base: ImageRow | None) -> str:
    if row is None:
        return '<td><span class="cell missing">not made yet</span></td>'
    under = ""
    if base is not None:
        under = f'<img class="base" src="{base.file_name}" alt="" loading="lazy">'
        under += f'<span class="tag">{escape(base.arm)}</span>'
    picture = f'<img src="{row.file_name}" alt="{escape(row.arm)}: {escape(row.prompt)}" loading="lazy">'
    return f'<td><span class="cell">{picture}{under}</span></td>'


def _arm(arm: ArmRecord, packed: int | None, seconds: list[float]) -> str:
    values = [
        escape(arm.name),
        "–" if arm.denoiser_bytes is None else mebibytes(arm.denoiser_bytes),
        "–" if packed is None else mebibytes(packed),
        "–" if arm.layers_converted is None else str(arm.layers_converted),
        str(len(arm.layers_skipped)),
        "simulated" if arm.simulated else "native",
        f"{sum(seconds) / len(seconds):.3f}" if seconds else "–",
    ]
    return f"<tr>{''.join(f'<td>{value}</td>' for value in values)}</tr>\n"


def _packed_bytes(manifest: Manifest) -> dict[str, int]:
    """Precision -> bytes if its codes were packed, for the simulated precisions that were measured."""
    told = manifest.provenance.get("arms")
    reports = told.items() if isinstance(told, dict) else ()
    return {name: report["packed_bytes"] for name, report in reports if report.get("packed_bytes") is not None}


def mebibytes(count: int) -> str:
    """'12.3 MiB', or GiB from 1024 MiB on."""
    size = count / 2**20
    return f"{size:.2f} MiB" if size < 1024 else f"{size / 1024:.2f} GiB"
