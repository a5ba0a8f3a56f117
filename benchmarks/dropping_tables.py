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
            if row["hours_fast"] is not None:
                hours += f" at 24 s, {row['hours_fast']:.0f} at 12 s"
            lines.append(
                f"| {truth} | {name} | {row['studies']} | {hours} | {row['hours_with_arrival']:.0f} | "
                f"{row['people']:.0f} | {row['looks']:.1f} | {100 * row['all_decided']:.1f} % | {_wrong(row)} | "
                f"{100 * row['covered']:.1f} % | {100 * row['covered_together']:.1f} % |"
            )
    fixed = record["fixed"]
    lines += ["", "Fixed designs of pairs, truth H1, at the same level: share that decides all seven, by hours:", ""]
    lines += [f"| hours | {' | '.join(fixed)} |", "|---" * (1 + len(fixed)) + "|"]
    for row in zip(*fixed.values(), strict=True):
        cells = " | ".join(f"{100 * one['all_decided']:.1f} %" for one in row)
        lines.append(f"| {row[0]['hours']} | {cells} |")
    lines += ["", "Hours of tasks with dropping over those of the fixed study that decides all seven as often:", ""]
    lines += [f"| way | hours | all seven decided | {' | '.join(f'over {name}' for name in fixed)} |"]
    lines += ["|---" * (3 + len(fixed)) + "|"]
    rows = record["dropping"]["H1"] | record["alternatives"]
    for name, ratios in record["against_fixed"].items():
        row, fast = rows[name], rows[name]["hours_fast"]
        title = name if name in record["dropping"]["H1"] else f"pairs, but {name}"
        lines.append(_ratio_row(f"{title}{', 24 s each' if fast else ''}", row["hours"], row, ratios))
        if fast:
            less = {design: value and value * fast / row["hours"] for design, value in ratios.items()}
            lines.append(_ratio_row(f"{title}, 12 s each", fast, row, less))
    verdict = f"missed by {'; '.join(record['missed'])}" if record["missed"] else "all met"
    lines += ["", f"Gates (within two standard errors): {verdict}."]
    return "\n".join(lines) + "\n"


def _ratio_row(title: str, hours: float, row: dict[str, Any], ratios: dict[str, float | None]) -> str:
    cells = " | ".join(_ratio(value) for value in ratios.values())
    return f"| {title} | {hours:.0f} | {100 * row['all_decided']:.1f} % | {cells} |"


def _wrong(row: dict[str, Any]) -> str:
    return f"{100 * row['wrong']:.1f} % ({100 * row['wrong_se']:.1f})"


def _ratio(value: float | None) -> str:
    return "decides more than any fixed study tried" if value is None else f"{value:.2f}"
