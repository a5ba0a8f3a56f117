"""Every measured (candidate, prompt) on disk the moment it is known, so that a killed search goes on.

JSON lines: a header that says what the values belong to, then one line a value. Lines are appended whole,
flushed and synced a batch at a time; a half-written last line is cut off and measured again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from qsched.calibration.errors import CalibrationError
from qsched.calibration.families import Point


@dataclass(frozen=True)
class Measured:
    """The scores of one candidate's picture for one prompt."""

    point: Point
    prompt_id: str
    tc: float
    iq: float
    jaq: float


class Journal:
    """The values of one search. `spent` is what the runs so far took, killed ones included."""

    def __init__(self, path: Path, identity: dict[str, object]) -> None:
        self.path = path
        self.values: dict[tuple[Point, str], Measured] = {}
        self.spent_nfe = 0
        self.spent_seconds = 0.0
        header = json.dumps({"journal": 1, "identity": identity}, sort_keys=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            self._read(header)
        else:
            self._append([header])

    def append(self, measured: list[Measured], *, nfe: int, seconds: float) -> None:
        """Store values; `nfe` and `seconds` are the totals of all runs so far."""
        self.spent_nfe, self.spent_seconds = nfe, seconds
        spent = {"nfe": nfe, "seconds": round(seconds, 3)}
        lines = []
        for one in measured:
            self.values[one.point, one.prompt_id] = one
            record = {"point": one.point, "prompt": one.prompt_id, "tc": one.tc, "iq": one.iq, "jaq": one.jaq}
            lines.append(json.dumps({**record, **spent}))
        self._append(lines)

    def _append(self, lines: list[str]) -> None:
        with self.path.open("ab") as file:
            file.write("".join(line + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def _read(self, header: str) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.decode().splitlines()
        if not lines:
            self._append([header])
            return
        if lines[0] != header:
            raise CalibrationError(
                f"{self.path} holds the values of another calibration ({_difference(lines[0], header)}); "
                "give another --out, or delete that journal to start afresh"
            )
        for number, line in enumerate(lines[1:], start=2):
            try:
                r = json.loads(line)
                measured = Measured(tuple(r["point"]), r["prompt"], r["tc"], r["iq"], r["jaq"])
                self.spent_nfe, self.spent_seconds = int(r["nfe"]), float(r["seconds"])
            except (ValueError, KeyError, TypeError) as error:
                raise CalibrationError(
                    f"{self.path}:{number}: not a journal line ({error}); delete the file"
                ) from error
            self.values[measured.point, measured.prompt_id] = measured


def _difference(stored: str, wanted: str) -> str:
    try:
        old, new = json.loads(stored)["identity"], json.loads(wanted)["identity"]
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    except (ValueError, KeyError, AttributeError, TypeError):
        return "its first line is no header"
    return "other " + ", ".join(names)
