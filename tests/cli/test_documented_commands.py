"""Every command line of ours that the documentation, or a command's own help, shows is one that the parser takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from analysis import audit, certify, jnd, metrics, plan, power, price, review, winrates
from analysis.votes.__main__ import app as votes
from qsched.cli.main import app

ROOT = Path(__file__).parents[2]
# docs/reference is made from the code, with help texts in boxes.
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name != "reference")]
SCRIPTS = ("winrates", "review", "plan", "metrics", "power", "certify", "jnd", "price", "audit")
# Typer brings a click of its own, whose classes are private: hence no types below.
COMMANDS: dict[str, Any] = {
    "qsched votes check": typer.main.get_command(votes).commands["check"],
    "qsched votes count": typer.main.get_command(votes).commands["count"],
    "qsched winrates": typer.main.get_command(winrates.app),
    "qsched review": typer.main.get_command(review.app),
    "qsched plan": typer.main.get_command(plan.app),
    "qsched metrics": typer.main.get_command(metrics.app),
    "qsched power": typer.main.get_command(power.app),
    "qsched certify": typer.main.get_command(certify.app),
    "qsched jnd": typer.main.get_command(jnd.app),
    "qsched price": typer.main.get_command(price.app),
    "qsched audit": typer.main.get_command(audit.app),
    "qsched": typer.main.get_command(app),
    "python analysis/votes": typer.main.get_command(votes),
}
# The two names of a script are one command.
COMMANDS |= {f"python analysis/{name}.py": COMMANDS[f"qsched {name}"] for name in SCRIPTS}
OURS = "|".join(map(re.escape, COMMANDS))


def shown_in(page: Path) -> list[str]:
    """The command lines of a page's code blocks, continued lines joined; a synopsis with alternatives is none."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    lines = re.findall(rf"^ *(?:\$ )?((?:{OURS}) [^\n`]*)$", text, flags=re.MULTILINE)
    return [re.split(r"  +(?!--)| \(", line)[0] for line in lines if "|" not in line and "<" not in line]


def examples(command: Any) -> Iterator[str]:
    """The examples in the help of a command and of those below it."""
    yield from re.findall(
        rf"(?:(?:Example|Then): +|\n\n +)((?:{OURS}) [^\n]*(?:\n(?! *\n)[^\n]*)*)", command.help or ""
    )
    for below in getattr(command, "commands", {}).values():
        yield from examples(below)


def parse(line: str) -> None:
    """Find the command and parse its arguments without running it; the parser's error says what is wrong."""
    name = next(name for name in COMMANDS if line.startswith(f"{name} "))
    command, words = COMMANDS[name], shlex.split(line.removeprefix(name).replace("...", "x"), comments=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    context = command.context_class(command)
    _, left, _ = command.make_parser(context).parse_args(words)
    assert not left, f"{left} too many"


LINES = [(page.name, line) for page in PAGES for line in shown_in(page)]
LINES += [("--help", " ".join(line.split())) for command in COMMANDS.values() for line in examples(command)]


def test_there_are_such_lines() -> None:
    assert len(LINES) > 30 and {"README.md", "--help", "calibration.md"} <= {name for name, _ in LINES}
    shown = {id(COMMANDS[name]) for name in COMMANDS if any(line.startswith(f"{name} ") for _, line in LINES)}
    named = {id(command) for name, command in COMMANDS.items() if name != "python analysis/votes"}
    assert shown >= named, "a command is shown by none of its names"


@pytest.mark.parametrize(("where", "line"), LINES, ids=[f"{name}: {line[:60]}" for name, line in LINES])
def test_a_documented_command_line_is_understood(where: str, line: str) -> None:
    parse(line)


def test_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --study"):
        parse("qsched serve runs/flux --study study.yaml")


def test_the_arms_of_the_examples_and_of_the_demo_differ() -> None:
    """Shipped coefficients that are all 1 make a copy of the stock arm: no example for a newcomer."""
    from qsched.backbones import find_spec
    from qsched.cli import demo
    from qsched.generation.arms import shipped_coefficients
    from qsched.scheduling import METHODS

    shown = [re.search(r"generate-pairs.* --backbone (tiny-\w+) --arms (\S+)", line) for _, line in LINES]
    pairs = [(found[1], found[2]) for found in shown if found] + [("tiny-sdxl", demo.ARMS)]
    checked = [
        shipped_coefficients(find_spec(backbone), precision, method=method)[0].is_identity
        for backbone, arms in pairs
        for precision, _, method in (arm.partition("+") for arm in arms.split(","))
        if method in METHODS
    ]
    assert checked and not any(checked)
