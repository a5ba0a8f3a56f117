"""The record of benchmarks/dropping.py as markdown."""

from __future__ import annotations

from typing import Any


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where, asked = record["machine"], record["asked"]
    lines = [
        "# What dropping decided arms saves",
        "",
        f"Made by `python benchmarks/dropping.py --studies {asked['studies']}` (commit {where['commit']}, Python "
        f"{where['python']}, numpy {where['versions']['numpy']}). Simulated people; the first lines of the program "
        f"describe the setting. {asked['prompts']:,} prompts.",
        "",
        "| truth | way | studies | hours of tasks (s.e.) | with 180 s a person | people | looks | all seven decided "
        "| a wrong claim (s.e.) | bounds hold, one arm | all seven |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for truth, ways in record["dropping"].items():
        for name, row in ways.items():
            hours = f"{row['hours']:.0f} ({row['hours_se']:.1f})"
            if row["hours_at_12_s"] is not None:
                hours += f" at 24 s, {row['hours_at_12_s']:.0f} at 12 s"
            lines.append(
                f"| {truth} | {name} | {row['studies']} | {hours} | {row['hours_with_arrival']:.0f} | "
                f"{row['people']:.0f} | {row['looks']:.1f} | {row['all_decided']:.1%} | {_wrong(row)} | "
                f"{row['covered']:.1%} | {row['covered_together']:.1%} |"
            )
    lines += ["", "Fixed designs of pairs, truth H1, at the same level, by hours of votes:", ""]
    lines += [
        "| hours | pairs alike: all seven decided | a wrong claim | mixed pairs: all seven decided | a wrong claim |"
    ]
    lines += ["|---|---|---|---|---|"]
    for alike, mixed in zip(record["fixed"]["alike"], record["fixed"]["mixed"], strict=True):
        cells = (f"{each['all_decided']:.1%} | {each['wrong']:.1%}" for each in (alike, mixed))
        lines.append(f"| {alike['hours']} | {' | '.join(cells)} |")
    lines += ["", "Hours of votes with dropping over those of the fixed study that decides all seven as often:", ""]
    lines += ["| way | over pairs alike | over mixed pairs |", "|---|---|---|"]
    for name, ratios in record["against_fixed"].items():
        row = record["dropping"]["H1"][name]
        fast = row["hours_at_12_s"]
        lines.append(
            f"| {name}{', 24 s each' if fast else ''} | {_ratio(ratios['alike'])} | {_ratio(ratios['mixed'])} |"
        )
        if fast:
            less = {design: value and value * fast / row["hours"] for design, value in ratios.items()}
            lines.append(f"| {name}, 12 s each | {_ratio(less['alike'])} | {_ratio(less['mixed'])} |")
    lines += ["", "Other rules, pairs:", ""]
    lines += [
        "| rule | H1: hours | all seven decided | borders: hours | a wrong claim (s.e.) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['H1']['hours']:.0f} | {row['H1']['all_decided']:.1%} | {row['borders']['hours']:.0f} | "
        f"{_wrong(row['borders'])} |"
        for name, row in record["alternatives"].items()
    ]
    verdict = f"missed by {'; '.join(record['missed'])}" if record["missed"] else "all met"
    lines += ["", f"Gates (within two standard errors): {verdict}."]
    return "\n".join(lines) + "\n"


def _wrong(row: dict[str, Any]) -> str:
    return f"{row['wrong']:.1%} ({100 * row['wrong_se']:.1f})"


def _ratio(value: float | None) -> str:
    return "decides more than any fixed study tried" if value is None else f"{value:.2f}"
