"""What the benchmarks of simulated studies share: the options that all have, and how a result is written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from qsched.files import write_atomic

RESULTS = Path(__file__).parent / "results"


def studies_parser(description: str | None) -> argparse.ArgumentParser:
    """--studies and --results, under the first lines of the program."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="simulated studies of each case")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    return parser


def publish(folder: Path, name: str, record: dict[str, Any], text: str) -> None:
    """Print the text; write it as NAME.md and the record as NAME.json."""
    print(text)
    write_atomic(folder / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode(), parents=True)
    write_atomic(folder / f"{name}.md", text.encode(), parents=True)
