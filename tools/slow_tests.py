"""Which tests `make check` leaves out, and which files begin first: two lists, made from measured processor seconds.

    pytest --cpu-times times.jsonl -m "not (browser or load)"
    python tools/slow_tests.py times.jsonl

A test is listed if it takes more than LIMIT processor seconds. If a file's first test pays for fixtures that the rest
share, leaving out that test alone would only move the cost, so such a file is listed whole (tests/slow_tests.txt).

Of several processes each takes file after file. If the last one were long, the others would wait for it, so the long
files come first, in the order of tests/long_files.txt.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

LIMIT = 0.15
#: A file with shared fixtures is listed whole if its tests, without those that are slow by mark, take more than this.
FILE_LIMIT = 2.0
#: Files that take more than this begin first.
LONG_FILE = 4.0
LISTED = Path(__file__).parents[1] / "tests" / "slow_tests.txt"
LONG = LISTED.with_name("long_files.txt")
HEAD = """\
# Tests and files that `make check` leaves out because they take long. Made by tools/slow_tests.py from measured times;
# a name that no longer exists fails tests/test_required.py.
"""
LONG_HEAD = """\
# Test files in the order in which several processes take them, longest first; the rest follows by number of tests.
# Made by tools/slow_tests.py from measured times.
"""


def longest(times: list[tuple[str, float, bool]]) -> list[str]:
    """Files that take more than LONG_FILE seconds, longest first."""
    files: dict[str, float] = defaultdict(float)
    for node, seconds, _ in times:
        files[node.partition("::")[0]] += seconds
    return [file for file in sorted(files, key=lambda name: -files[name]) if files[file] > LONG_FILE]


def slow(times: list[tuple[str, float, bool]]) -> list[str]:
    """Names to list, from (node id, seconds, whether a mark of its own leaves the test out) in the order they ran."""
    files: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for node, seconds, marked in times:
        if not marked:
            file, _, test = node.partition("::")
            files[file].append((test.partition("[")[0], seconds))
    found = []
    for file, tests in files.items():
        each = [seconds for _, seconds in tests]
        if sum(each) > FILE_LIMIT and each[0] > max(LIMIT, 5 * median(each[1:] or [0.0])):
            found.append(file)
            continue
        found += sorted({f"{file}::{test}" for test, seconds in tests if seconds > LIMIT})
    return sorted(found)


def main() -> None:
    """Write the lists."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    times = [(row["test"], row["seconds"], row["marked"]) for row in rows]
    files = longest(times)
    LONG.write_text(LONG_HEAD + "".join(f"{name}\n" for name in files), encoding="utf-8")
    names = slow(times)
    LISTED.write_text(HEAD + "".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} names in {LISTED}, {len(files)} in {LONG}")


if __name__ == "__main__":
    main()
