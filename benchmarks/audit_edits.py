"""`python benchmarks/audit_edits.py FOLDER...`: random edits of studies' evidence, each of which an audit must detect.

The forger changes one thing in the evidence (export, design, plan, looks) and then writes the manifest anew, so that no
file betrays itself. What cannot be changed was published in time: the preregistration's SHA-256 and the seals. Edits
that change nothing (a line of pairs.jsonl moved) are not counted. Not edited is what nothing fixes, as the audit says:
who was excluded and why, when after its votes a look was taken, and the zoom and flicker of a triplet. FOLDER is what
`qsched study evidence` wrote of a preregistered study.
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
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.auditing import checks, left_out
from analysis.auditing.looks import take_looks_again
from analysis.auditing.read import LOOKS, TRIPLETS, VOTES, Head, read_evidence
from benchmarks.machine import machine
from qsched.errors import InputError
from qsched.records.evidence import MANIFEST, sha256

LINES = ("rows.jsonl", "pairs.jsonl", "designs.jsonl", "seals.jsonl")
OBJECTS = ("preregistration.json", "chain.json", LOOKS)
#: What nothing fixes: the moment of a look, as long as it is after its votes, and what the page reports of a triplet.
UNFIXED_KEY = "at"
UNSEALED = ("zoom", "rate_hz", "toggles")


def edit(folder: Path, rng: random.Random) -> str:
    """Change one thing in one file; returns what was done."""
    table = TRIPLETS if (folder / TRIPLETS).is_file() else VOTES
    name = rng.choice([*LINES, *(one for one in OBJECTS if (folder / one).is_file()), table])
    if name == table:
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
        key = rng.choice(
            [one for one in inside if one != UNFIXED_KEY] if isinstance(inside, dict) else range(len(inside))
        )
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
        name = rng.choice([one for one in frame.columns if one not in UNSEALED])
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
    return f"{path.name}: {kind}"


def forge_manifest(folder: Path) -> None:
    """Let the manifest list the files as they are now."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["files"] = {name: sha256((folder / name).read_bytes()) for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def detect(folder: Path, *, preregistration: str, published: dict[int, Head]) -> list[str]:
    """What the first check of an audit that fails finds, with the published preregistration's hash and heads."""
    try:
        evidence = read_evidence(folder)
    except InputError as error:
        return [str(error)]
    if evidence.file_problems:
        return list(evidence.file_problems)
    if evidence.preregistration is None or sha256(evidence.preregistration) != preregistration:
        return ["the preregistration is not the published one"]
    for check in (
        partial(checks.check_chain, evidence, published),
        partial(checks.check_preregistration, evidence),
        partial(left_out.check_left_out, evidence),
        partial(checks.check_chances, evidence),
        partial(checks.check_votes_table, evidence),
        lambda: list(take_looks_again(evidence).problems),
    ):
        problems = checks.run(check)
        if problems:
            return problems
    return []


def changes_nothing(before: Path, after: Path) -> bool:
    """Whether an edit left every value and every order that has a meaning as it was."""
    for path in before.iterdir():
        a, b = path.read_bytes(), (after / path.name).read_bytes()
        if path.suffix == ".parquet":
            same = a == b or pl.read_parquet(path).equals(pl.read_parquet(after / path.name))
        elif path.name in ("pairs.jsonl", "seals.jsonl"):
            same = Counter(a.splitlines()) == Counter(b.splitlines())
        else:
            same = a == b or (path.name in OBJECTS[1:] and json.loads(a) == json.loads(b))
        if not same:
            return False
    return True


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
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--edits", type=int, default=10_000, help="of each study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    studies = {}
    for folder in options.folders:
        evidence = read_evidence(folder)
        made, missed = attack(folder, options.edits, seed=options.seed)
        studies[folder.name] = {
            "design": evidence.design["design"],
            "votes": evidence.votes,
            "deleted": sum(line.row is None for line in evidence.lines),
            "excluded": sum(line.excluded for line in evidence.lines),
            "surplus": sum(line.surplus is not None for line in evidence.lines),
            "looks": (folder / LOOKS).is_file(),
            "edits": made,
            "missed": len(missed),
            "kinds_missed": dict(Counter(missed)),
        }
    found = {"studies": studies, "seed": options.seed, "machine": machine("polars")}
    print(json.dumps(found, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
