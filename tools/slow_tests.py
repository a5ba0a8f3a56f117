"""Which tests `make check` leaves out: tests/slow_tests.txt, made from measured processor seconds.

    pytest --cpu-times times.jsonl -m "not (browser or load)"
    python tools/slow_tests.py times.jsonl

A test is listed if it takes more than LIMIT processor seconds. If a file's first test pays for fixtures that the rest
share, leaving out that test alone would only move the cost, so such a file is listed whole.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

LIMIT = 0.2
#: A file with shared fixtures is listed whole if its tests, without those that are slow by mark, take more than this.
FILE_LIMIT = 2.0
LISTED = Path(__file__).parents[1] / "tests" / "slow_tests.txt"
HEAD = """\
# Tests and files that `make check` leaves out because they take long. Made by tools/slow_tests.py from measured times;
# a name that no longer exists fails tests/test_required.py.
"""


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
    """Write the list."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    names = slow([(row["test"], row["seconds"], row["marked"]) for row in rows])
    LISTED.write_text(HEAD + "".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} names in {LISTED}")


if __name__ == "__main__":
    main()
