"""`python benchmarks/audit_edits.py FOLDER`: random edits of a study's evidence, each of which an audit must detect.

The forger changes one thing in the evidence and then writes the manifest anew, so that no file betrays itself. What
cannot be changed was published in time: the preregistration's SHA-256 and the seals. Edits that change nothing (a line
of pairs.jsonl moved) are not counted. FOLDER is what `qsched study evidence` wrote of a preregistered study.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.auditing import checks
from analysis.auditing.read import Head, read_evidence
from qsched.errors import InputError
from qsched.records.evidence import MANIFEST, sha256

LINES = ("rows.jsonl", "pairs.jsonl", "designs.jsonl", "seals.jsonl")
OBJECTS = ("preregistration.json", "chain.json")
TABLE = "votes.parquet"


def edit(folder: Path, rng: random.Random) -> str:
    """Change one thing in one file; returns what was done."""
    name = rng.choice((*LINES, *OBJECTS, TABLE))
    if name == TABLE:
        return _edit_table(folder / name, rng)
    path = folder / name
    text = path.read_text("utf-8")
    if name in OBJECTS:
        document = json.loads(text)
        what = _change(document, rng)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return f"{name}: {what}"
    lines = [json.loads(line) for line in text.splitlines()]
    kind = rng.choice(("change", "change", "drop", "double", "swap") if len(lines) > 1 else ("change",))
    place = rng.randrange(len(lines))
    if kind == "change":
        kind = _change(lines[place], rng)
    elif kind == "drop":
        del lines[place]
    elif kind == "double":
        lines.insert(place, copy.deepcopy(lines[place]))
    else:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return f"{name}: {kind}"


def _change(document: dict[str, Any], rng: random.Random) -> str:
    """Another value in one field, at any depth."""
    inside: Any = document
    key: Any = rng.choice(list(document))
    while isinstance(inside[key], dict | list) and inside[key]:
        inside = inside[key]
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
    old = inside[key]
    if isinstance(old, bool):
        inside[key] = not old
    elif isinstance(old, int):
        inside[key] = old + rng.choice((-1, 1, 10**6))
    elif isinstance(old, float):
        inside[key] = old * 1.01 + 0.001
    elif isinstance(old, str) and old:
        place = rng.randrange(len(old))
        inside[key] = old[:place] + rng.choice([c for c in "0123456789abcdef" if c != old[place]]) + old[place + 1 :]
    else:
        inside[key] = "forged" if old != "forged" else None
    return f"change {key}"


def _edit_table(path: Path, rng: random.Random) -> str:
    frame = pl.read_parquet(path)
    kind = rng.choice(("cell", "cell", "drop", "double"))
    row = rng.randrange(frame.height)
    if kind == "drop":
        frame = pl.concat([frame[:row], frame[row + 1 :]])
    elif kind == "double":
        frame = pl.concat([frame, frame[row : row + 1]])
    else:
        name = rng.choice(frame.columns)
        values = frame[name].to_list()
        others = [value for value in set(values) if value != values[row]]
        if others:
            values[row] = rng.choice(others)
        elif frame.schema[name] == pl.String:
            values[row] = "forged"
        elif frame.schema[name] == pl.Boolean:
            values[row] = not values[row]
        else:
            values[row] = 1
        frame = frame.with_columns(pl.Series(name, values, dtype=frame.schema[name]))
        kind = f"cell of {name}"
    frame.write_parquet(path)
    return f"{TABLE}: {kind}"


def forge_manifest(folder: Path) -> None:
    """Let the manifest list the files as they are now."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["files"] = {name: sha256((folder / name).read_bytes()) for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def detect(folder: Path, *, preregistration: str, published: dict[int, Head]) -> list[str]:
    """What an audit finds, with the preregistration's hash and the heads that were published."""
    try:
        evidence = read_evidence(folder)
    except InputError as error:
        return [str(error)]
    problems = list(evidence.file_problems)
    if evidence.preregistration is None or sha256(evidence.preregistration) != preregistration:
        problems.append("the preregistration is not the published one")
    for check in (
        lambda: checks.check_chain(evidence, published),
        lambda: checks.check_preregistration(evidence),
        lambda: checks.check_votes_table(evidence),
        lambda: checks.check_left_out(evidence),
        lambda: checks.check_chances(evidence),
    ):
        problems += checks.run(check)
    return problems


def changes_nothing(before: Path, after: Path) -> bool:
    """Whether an edit left every value and every order that has a meaning as it was."""
    for name in (*LINES, *OBJECTS):
        a, b = ((folder / name).read_text("utf-8") for folder in (before, after))
        if name in ("pairs.jsonl", "seals.jsonl"):
            same = Counter(a.splitlines()) == Counter(b.splitlines()) or set(a.splitlines()) == set(b.splitlines())
        else:
            same = a == b or (name in OBJECTS and json.loads(a) == json.loads(b) and name != "preregistration.json")
        if not same:
            return False
    return pl.read_parquet(before / TABLE).equals(pl.read_parquet(after / TABLE))


def attack(folder: Path, edits: int, *, seed: int) -> tuple[int, list[str]]:
    """(edits that changed something, those that no check found)."""
    preregistration = sha256((folder / "preregistration.json").read_bytes())
    published = {
        int(seal["votes"]): Head(seal["head"], seal["sealed_ms"])
        for seal in map(json.loads, (folder / "seals.jsonl").read_text("utf-8").splitlines())
    }
    rng = random.Random(seed)
    made, missed = 0, []
    with tempfile.TemporaryDirectory(prefix="qsched-forged-") as name:
        forged = Path(name) / "forged"
        while made < edits:
            shutil.rmtree(forged, ignore_errors=True)
            shutil.copytree(folder, forged)
            what = edit(forged, rng)
            if changes_nothing(folder, forged):
                continue
            made += 1
            forge_manifest(forged)
            if not detect(forged, preregistration=preregistration, published=published):
                missed.append(what)
    return made, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made, missed = attack(options.folder, options.edits, seed=options.seed)
    found = {"edits": made, "missed": len(missed), "kinds_missed": dict(Counter(missed)), "seed": options.seed}
    print(json.dumps(found, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
