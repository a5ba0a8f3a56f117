"""Make again what README, docs and their tables say, as far as that is cheap; name the command of what is not.

    python tools/paper.py            `make paper`: pages from stored results, cheap figures, the list of expensive ones
    python tools/paper.py --check    write nothing; exit code 1 if a page or a figure comes out differently

Cheap: pages that are a function of a stored result, and commands of seconds whose figures the docs quote (`RUNS`, by
their entry in quoted.json). Expensive: every other file of benchmarks/results (`MEASURED`): hours, or a quiet machine;
the stored result is used, and tools/quoted_numbers.py sees to it that the text agrees with it.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from fnmatch import fnmatch
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.quoted_numbers import QUOTED, RESULTS, ROOT, faults, stamp_all

Runs = tuple[tuple[str, tuple[str, ...]], ...]
_PRICE = "analysis/price.py --damage 0.25 --gain 4 --people 40 --prompts 100"
_ALIKE = "--people-sd 0 --prompt-sd 0 --registered-prompt-sd 0"
#: By entry of quoted.json: command lines, and the figures of the entry that each of them prints.
RUNS: dict[str, Runs] = {
    "power": (
        ("analysis/power.py --annotators 40 --prompts 100 --votes-per-pair 3", ("1.56", "59.3")),
        ("analysis/power.py --annotators 10 --prompts 100 --votes-per-pair 3", ("2.90", "63.9")),
        ("analysis/power.py --annotators 100 --prompts 300 --votes-per-pair 1", ("1.13", "57.8")),
    ),
    "plan": (
        (
            "analysis/plan.py --half-width 0.03 --arms 8 --comparisons baseline",
            ("3.3", "457", "70", "2.3", "225", "34", "1.3", "192", "29", "0.7"),
        ),
    ),
    "price": (
        (f"{_PRICE} --arms 1", ("355", "349", "2,620")),
        (f"{_PRICE} --arms 8", ("954",)),
        (f"{_PRICE} --arms 1 {_ALIKE}", ("329", "192", "1,781")),
        (f"{_PRICE} --arms 8 {_ALIKE}", ("588",)),
        ("analysis/price.py --damage 0.25 --prompts 200", ("5,592", "3,091")),
    ),
}
#: The other files of benchmarks/results, by pattern: what makes them.
MEASURED: dict[str, str] = {
    "adapter-*": "python benchmarks/adapter.py",
    "analysis_speed.*": "make bench (peers in .venv-peers): python benchmarks/analysis_speed.py",
    "anytime.*": "python benchmarks/anytime.py",
    "audit-edits.json": "python benchmarks/audit_edits.py",
    "calibration-*": "python benchmarks/calibration.py --backbone BACKBONE",
    "calibration_arms.*": "python benchmarks/calibration_arms.py --work FOLDER --publish calibration_arms",
    "calibration_arms_nvfp4.*": "python benchmarks/calibration_arms.py --work FOLDER --models tiny-sdxl "
    "--precisions nvfp4 --steps 4, then --work FOLDER --publish calibration_arms_nvfp4",
    "calibration_arms_one_step.*": "python benchmarks/calibration_arms.py --work FOLDER --models tiny-sdxl "
    "--precisions w4a4 --steps 1 --pairs benchmarks/results/calibration_arms.json, two of its three seeds, then "
    "--work FOLDER --publish calibration_arms_one_step",
    "calibration_choice.md": "python benchmarks/calibration_choice.py",
    "calibration_range-*": "python benchmarks/calibration_studies.py --backbone BACKBONE",
    "calibration_studies-*": "python benchmarks/calibration_studies.py --backbone BACKBONE",
    "calibration_transfer.md": "python benchmarks/calibration_transfer.py --n-prompts 25",
    "certificate.json": "python -m benchmarks.certificate",
    "choice-*": "python benchmarks/calibration_choice.py",
    "closed_form.*": "python benchmarks/closed_form.py",
    "coverage.json": "python -m benchmarks.coverage",
    "dropping.*": "python benchmarks/dropping.py --studies 100 --work FILE",
    "human_hours.*": "python benchmarks/human_hours.py --studies 200",
    "generation_pipeline.json": "python -m benchmarks.generation_pipeline",
    "image_sets.json": "python benchmarks/image_sets.py",
    "image_sets_ray.json": "python benchmarks/image_sets.py --ray 96",
    "interval_coverage.md": "python benchmarks/interval_coverage.py",
    "metric_assisted.*": "python benchmarks/metric_assisted.py --studies 300",
    "rankings_dropped.*": "python benchmarks/rankings_dropped.py",
    "rankings.*": "python benchmarks/rankings.py",
    "server.json": "python benchmarks/server.py",
    "server_owner.json": "python benchmarks/server_owner.py --seconds 25 --add, three times",
    "server_scale.*": "python benchmarks/server_scale.py",
}


def _coverage() -> str:
    from benchmarks import coverage

    return coverage.document(json.loads((RESULTS / "coverage.json").read_text("utf-8")))


def _certificate() -> str:
    from benchmarks import certificate

    stored = json.loads((RESULTS / "certificate.json").read_text("utf-8"))
    return certificate.document(stored["cells"], stored)


#: Pages that a stored result makes.
PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "coverage.md": _coverage,
    RESULTS / "certificate.md": _certificate,
}


def _unstamped(text: str) -> str:
    return re.sub(r"; [0-9a-f]{8} -->", " -->", text)


def changed_pages() -> Iterator[tuple[Path, str]]:
    """Pages that would come out differently, with their new text."""
    for path, make in PAGES.items():
        text = make()
        if _unstamped(path.read_text("utf-8")) != text:
            yield path, text


def printed_by(line: str) -> str:
    """What a script prints. It runs in this process: a process of its own would mostly import."""
    file, *words = line.split()
    path, given, printed = sys.path[:], sys.argv, io.StringIO()
    sys.argv = [file, *words]
    try:
        with redirect_stdout(printed):
            runpy.run_path(str(ROOT / file), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"python {line} ended with exit code {end.code}; it must end with 0") from end
    finally:
        sys.path[:], sys.argv = path, given
    return printed.getvalue()


def run_faults(name: str) -> list[str]:
    """What the commands of an entry print no more, and what the entry does not have."""
    quoted = " ".join(map(str, json.loads(QUOTED.read_text("utf-8"))[name]["numbers"]))
    found = []
    for line, figures in RUNS[name]:
        printed = printed_by(line)
        for figure in figures:
            whole = re.compile(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)")
            found += [f"run:{name} does not have {figure}"] if not whole.search(quoted) else []
            found += (
                [f"python {line} does not print {figure}, which run:{name} has"] if not whole.search(printed) else []
            )
    return found


def command_of(name: str) -> str | None:
    """The command that makes a file of benchmarks/results; None if nothing is known."""
    return next((command for pattern, command in MEASURED.items() if fnmatch(name, pattern)), None)


def main() -> int:
    """Make or check; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wrong = []
    for path, text in changed_pages():
        wrong += [f"{path.relative_to(ROOT)} is not what its result makes"] if check else []
        if not check:
            path.write_text(text, "utf-8")
            print(f"written     {path.relative_to(ROOT)}")
    for name in RUNS:
        wrong += run_faults(name)
        print(f"calculated  run:{name}, {len(RUNS[name])} commands")
    if not check:
        stamp_all()
    wrong += faults()
    print("\nnot made again; the stored results are used. To make them:")
    for path in sorted(RESULTS.iterdir()):
        if path not in PAGES and path != QUOTED:
            print(f"  {path.name:<38} {command_of(path.name)}")
    runs = json.loads(QUOTED.read_text("utf-8"))
    for name in sorted(set(runs) - set(RUNS)):
        print(f"  {'run:' + name:<38} {runs[name]['command']}")
    print("".join(f"\n{line}" for line in wrong) or "\nEverything that is cheap comes out as it is quoted.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
